"""Recurrent cells, a bidirectional encoder and the stack of layers of a decoder.

Written out and not taken from Keras for two reasons, both measured: what does not depend on the state leaves the loop
(Keras multiplies the inputs step by step), and the same cell serves whole sequences (`models/recurrence.py`), a
decoder's loop and one step of a beam. Nothing here is cuDNN's, so an export from a GPU runs on a CPU.
"""

from __future__ import annotations

import abc
import dataclasses
from typing import Literal

import keras
import tensorflow as tf

from models.layers import Dense, Dropout, LayerList, multiply
from models.recurrence import Recurrence, State, Tensors, recur


class Norm(keras.layers.Layer):
    """Layer normalisation of every gate apart (Ba 2016, eq. 4), with a gain and without a shift: the gates have one."""

    def __init__(self, gates: int, units: int, **kwargs: object) -> None:
        super().__init__(**kwargs)
        self.gates, self.units = gates, units
        self.gain = self.add_weight(shape=(gates * units,), initializer="ones", name="gain")
        self.built = True

    def call(self, inputs: tf.Tensor, gain: tf.Tensor | None = None) -> tf.Tensor:
        """[..., gates * units] -> the same shape. In a loop the gain is read once and given."""
        shape = tf.shape(inputs)
        apart = tf.cast(tf.reshape(inputs, tf.concat([shape[:-1], [self.gates, self.units]], 0)), tf.float32)
        centred = apart - tf.reduce_mean(apart, axis=-1, keepdims=True)
        scale = tf.math.rsqrt(tf.reduce_mean(centred**2, axis=-1, keepdims=True) + 1e-5)
        normal = tf.ensure_shape(tf.reshape(centred * scale, shape), inputs.shape)
        return tf.cast(normal, inputs.dtype) * (tf.cast(self.gain, inputs.dtype) if gain is None else gain)


class Cell(keras.layers.Layer, abc.ABC):
    """One step of a recurrence, cut in two: `project` (every step at once) and `advance` (step by step)."""

    gates: int  # how many blocks of `units` the inputs are projected to
    parts: int  # how many tensors the state is
    adds: bool  # what is projected and what comes from the state are read as a sum

    def __init__(self, depth: int, units: int, layer_norm: bool = False, **kwargs: object) -> None:
        super().__init__(**kwargs)
        self.units = units
        self.inputs = Dense(depth, self.gates * units, use_bias=False, name="inputs")
        self.bias = self.add_weight(shape=(self.gates * units,), initializer="zeros", name="bias")
        self.recurrent_kernel = self.add_weight(
            shape=(units, self.gates * units), initializer="orthogonal", name="recurrent_kernel"
        )
        # Ba 2016, section 3.1 and appendix: what comes from the inputs and what comes from the state, each normalised.
        # Ours differs: a gate by itself, where the appendix takes all together, and an LSTM's memory stays as it is.
        self.input_norm = Norm(self.gates, units, name="input_norm") if layer_norm else None
        self.state_norm = Norm(self.gates, units, name="state_norm") if layer_norm else None
        self.built = True  # every weight is made in a constructor

    def project(self, inputs: tf.Tensor) -> tf.Tensor:
        """The part of the gates that does not depend on the state: [..., depth] -> [..., gates * units]."""
        projected = self.inputs(inputs)
        return (self.input_norm(projected) if self.input_norm else projected) + tf.cast(self.bias, self.compute_dtype)

    def zeros(self, rows: tf.Tensor) -> State:
        """The state before the first step, leaves [rows, units]."""
        return (tf.zeros([rows, self.units], self.compute_dtype),) * self.parts

    def recurrence(self) -> Recurrence:
        """What a step does, its weights read once for a loop."""
        kernel, *small = (tf.cast(weight, self.compute_dtype) for weight in (self.recurrent_kernel, *self.small()))
        return Recurrence(self._rule, kernel, tuple(small), self.adds and not self.state_norm)

    def run(
        self,
        inputs: tf.Tensor,
        state: State,
        mask: tf.Tensor | None = None,
        reverse: bool = False,
        training: bool = False,
    ) -> tuple[tf.Tensor, State]:
        """Over a sequence: [time, batch, depth] -> ([time, batch, units], the last state).

        Where the mask (bool [time, batch]) is False the state stays what it was.
        """
        return recur(self.recurrence(), self.project(inputs), state, mask, reverse, training)

    def advance(self, projected: tf.Tensor, state: State) -> State:
        """One step: projected inputs and leaves [..., units] -> the next state."""
        each = self.recurrence()
        return each.rule(projected, multiply(state[0], each.kernel), state, each.small)

    def small(self) -> tuple[keras.Variable, ...]:
        """The weights that a step reads beside the kernel."""
        return (self.state_norm.gain,) if self.state_norm else ()

    def _rule(self, projected: tf.Tensor, recurrent: tf.Tensor, state: State, small: Tensors) -> State:
        if self.state_norm:
            recurrent, small = self.state_norm(recurrent, small[0]), small[1:]
        return self.next_state(projected, recurrent, state, *small)

    @abc.abstractmethod
    def next_state(self, projected: tf.Tensor, recurrent: tf.Tensor, state: State, *small: tf.Tensor) -> State:
        """(gates from the inputs, gates from the output, state, weights of the cell's own) -> the next state."""


class SimpleRNN(Cell):
    """Elman 1990: tanh(W x + U h)."""

    gates, parts, adds = 1, 1, True

    def next_state(self, projected: tf.Tensor, recurrent: tf.Tensor, state: State, *small: tf.Tensor) -> State:
        return (tf.tanh(projected + recurrent),)


class GRU(Cell):
    """Cho 2014, eq. 5 to 8, with the reset gate after the product, so that one product serves all three gates."""

    gates, parts, adds = 3, 1, False

    def __init__(self, depth: int, units: int, layer_norm: bool = False, **kwargs: object) -> None:
        super().__init__(depth, units, layer_norm, **kwargs)
        self.candidate_bias = self.add_weight(shape=(units,), initializer="zeros", name="candidate_bias")

    def small(self) -> tuple[keras.Variable, ...]:
        return (*super().small(), self.candidate_bias)

    def next_state(self, projected: tf.Tensor, recurrent: tf.Tensor, state: State, *small: tf.Tensor) -> State:
        (hidden,), (bias,) = state, small
        update, reset, candidate = tf.split(projected, 3, axis=-1)
        from_update, from_reset, from_candidate = tf.split(recurrent, 3, axis=-1)
        update, reset = tf.sigmoid(update + from_update), tf.sigmoid(reset + from_reset)
        candidate = tf.tanh(candidate + reset * (from_candidate + bias))
        return (candidate + update * (hidden - candidate),)


class LSTM(Cell):
    """Gers 2000: Hochreiter 1997 with a forget gate, whose bias starts at one (Jozefowicz 2015)."""

    gates, parts, adds = 4, 2, True

    def __init__(self, depth: int, units: int, layer_norm: bool = False, **kwargs: object) -> None:
        super().__init__(depth, units, layer_norm, **kwargs)
        self.bias.assign([0.0] * units + [1.0] * units + [0.0] * 2 * units)

    def next_state(self, projected: tf.Tensor, recurrent: tf.Tensor, state: State, *small: tf.Tensor) -> State:
        _, memory = state
        write, forget, candidate, read = tf.split(projected + recurrent, 4, axis=-1)
        memory = tf.sigmoid(forget) * memory + tf.sigmoid(write) * tf.tanh(candidate)
        return tf.sigmoid(read) * tf.tanh(memory), memory


CellName = Literal["simple", "gru", "lstm"]
CELLS: dict[CellName, type[Cell]] = {"simple": SimpleRNN, "gru": GRU, "lstm": LSTM}


@dataclasses.dataclass(frozen=True)
class Layers:
    """What the layers of an encoder or a decoder have in common."""

    cell: CellName
    units: int
    layers: int
    dropout: float
    residual: bool  # a layer adds its inputs to its outputs where their depths are equal (He 2016; Wu 2016, eq. 6)
    layer_norm: bool

    def cells(self, depth: int, units: int, layers: int) -> LayerList:
        """So many cells of these units, the lowest on inputs of `depth`, the others on those of `self.units`."""
        depths = ([depth] + [self.units] * (layers - 1))[:layers]  # no layers: nothing
        return LayerList([CELLS[self.cell](below, units, self.layer_norm) for below in depths])

    def add(self, inputs: tf.Tensor, outputs: tf.Tensor) -> tf.Tensor:
        """The residual connection of a layer, where it has one."""
        return outputs + inputs if self.residual and inputs.shape[-1] == outputs.shape[-1] else outputs


class Encoder(keras.layers.Layer):
    """Bidirectional layers (Schuster 1997), `units // 2` a direction, so that the depth of the output is `units`."""

    def __init__(self, shape: Layers, depth: int, **kwargs: object) -> None:
        super().__init__(**kwargs)
        if shape.units % 2:
            raise ValueError(
                f"units of a bidirectional encoder are shared by two directions: got the odd {shape.units}"
            )
        self.shape = shape
        self.forwards = shape.cells(depth, shape.units // 2, shape.layers)
        self.backwards = shape.cells(depth, shape.units // 2, shape.layers)
        self.dropout = Dropout(shape.dropout)
        self.built = True

    def call(self, inputs: tf.Tensor, mask: tf.Tensor, training: bool = False) -> tuple[tf.Tensor, tf.Tensor]:
        """[batch, source, depth] and bool [batch, source] -> ([batch, source, units], [batch, units]).

        The second is where each direction ends: the last state of the forward cell, the first of the backward one.
        """
        outputs = tf.transpose(inputs, [1, 0, 2])
        mask = tf.transpose(mask)
        rows = tf.shape(mask)[1]
        for number, (forward, backward) in enumerate(zip(self.forwards, self.backwards, strict=True)):
            below = self.dropout(outputs, training=training) if number else outputs
            ahead, last = forward.run(below, forward.zeros(rows), mask, training=training)
            behind, first = backward.run(below, backward.zeros(rows), mask, reverse=True, training=training)
            outputs = self.shape.add(below, tf.concat([ahead, behind], axis=-1))
        return tf.transpose(outputs, [1, 0, 2]), tf.concat([last[0], first[0]], axis=-1)


class Stack(keras.layers.Layer):
    """Layers of one direction, for a decoder: whole sequences in training, one step in decoding, the same weights."""

    def __init__(self, shape: Layers, depth: int, layers: int, **kwargs: object) -> None:
        super().__init__(**kwargs)
        self.shape = shape
        self.cells = shape.cells(depth, shape.units, layers)
        self.dropout = Dropout(shape.dropout)
        self.built = True

    def call(self, inputs: tf.Tensor, states: tuple[State, ...], training: bool = False) -> tf.Tensor:
        """[batch, target, depth], a state a layer with leaves [batch, units] -> [batch, target, units]."""
        outputs = tf.transpose(inputs, [1, 0, 2])
        for number, (cell, state) in enumerate(zip(self.cells, states, strict=True)):
            below = self.dropout(outputs, training=training) if number else outputs
            outputs = self.shape.add(below, cell.run(below, state, training=training)[0])
        return tf.transpose(outputs, [1, 0, 2])

    def step(
        self, inputs: tf.Tensor, states: tuple[State, ...], training: bool = False
    ) -> tuple[tf.Tensor, tuple[State, ...]]:
        """[batch, beam, depth], leaves [batch, beam, units] -> ([batch, beam, units], the next states)."""
        after = []
        for number, (cell, state) in enumerate(zip(self.cells, states, strict=True)):
            below = self.dropout(inputs, training=training) if number else inputs
            after.append(cell.advance(cell.project(below), state))
            inputs = self.shape.add(below, after[-1][0])
        return inputs, tuple(after)
