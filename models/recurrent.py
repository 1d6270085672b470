"""Recurrent cells, a bidirectional encoder and the stack of layers of a decoder.

Written out and not taken from Keras for two reasons, both measured: what does not depend on the state leaves the loop
(Keras multiplies the inputs step by step), and the same cell serves whole sequences, a decoder's loop and one step of
a beam. Nothing here is cuDNN's, so an export from a GPU runs on a CPU.
"""

from __future__ import annotations

import abc
import dataclasses
from collections.abc import Callable
from typing import Literal

import keras
import tensorflow as tf

from models.contract import Nest
from models.layers import Dense, Dropout, LayerList, multiply
from models.states import keep_shapes

State = tuple[tf.Tensor, ...]  # leaves [rows, units] or [batch, beam, units]; the first is the output
Advance = Callable[[tf.Tensor, State], State]


class Norm(keras.layers.Layer):
    """Layer normalisation of every gate apart (Ba 2016, eq. 4), with a gain and without a shift: the gates have one."""

    def __init__(self, gates: int, units: int, **kwargs: object) -> None:
        super().__init__(**kwargs)
        self.gates, self.units = gates, units
        self.gain = self.add_weight(shape=(gates * units,), initializer="ones", name="gain")
        self.built = True

    def call(self, inputs: tf.Tensor) -> tf.Tensor:
        """[..., gates * units] -> the same shape."""
        shape = tf.shape(inputs)
        apart = tf.cast(tf.reshape(inputs, tf.concat([shape[:-1], [self.gates, self.units]], 0)), tf.float32)
        centred = apart - tf.reduce_mean(apart, axis=-1, keepdims=True)
        scale = tf.math.rsqrt(tf.reduce_mean(centred**2, axis=-1, keepdims=True) + 1e-5)
        normal = tf.ensure_shape(tf.reshape(centred * scale, shape), inputs.shape)
        return tf.cast(normal, inputs.dtype) * tf.cast(self.gain, inputs.dtype)


class Cell(keras.layers.Layer, abc.ABC):
    """One step of a recurrence, cut in two: `project` (every step at once) and `bind` (step by step)."""

    gates: int  # how many blocks of `units` the inputs are projected to
    parts: int  # how many tensors the state is

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

    def bind(self) -> Advance:
        """Read the weights once -> a function of (projected inputs of a step, state) that gives the next state."""
        kernel = tf.cast(self.recurrent_kernel, self.compute_dtype)
        rule = self.rule()

        def advance(projected: tf.Tensor, state: State) -> State:
            recurrent = multiply(state[0], kernel)
            return rule(projected, self.state_norm(recurrent) if self.state_norm else recurrent, state)

        return advance

    @abc.abstractmethod
    def rule(self) -> Callable[[tf.Tensor, tf.Tensor, State], State]:
        """(gates from the inputs, gates from the output, state) -> the next state."""


class SimpleRNN(Cell):
    """Elman 1990: tanh(W x + U h)."""

    gates, parts = 1, 1

    def rule(self) -> Callable[[tf.Tensor, tf.Tensor, State], State]:
        return lambda projected, recurrent, state: (tf.tanh(projected + recurrent),)


class GRU(Cell):
    """Cho 2014, eq. 5 to 8, with the reset gate after the product, so that one product serves all three gates."""

    gates, parts = 3, 1

    def __init__(self, depth: int, units: int, layer_norm: bool = False, **kwargs: object) -> None:
        super().__init__(depth, units, layer_norm, **kwargs)
        self.candidate_bias = self.add_weight(shape=(units,), initializer="zeros", name="candidate_bias")

    def rule(self) -> Callable[[tf.Tensor, tf.Tensor, State], State]:
        bias = tf.cast(self.candidate_bias, self.compute_dtype)

        def next_state(projected: tf.Tensor, recurrent: tf.Tensor, state: State) -> State:
            (hidden,) = state
            update, reset, candidate = tf.split(projected, 3, axis=-1)
            from_update, from_reset, from_candidate = tf.split(recurrent, 3, axis=-1)
            update, reset = tf.sigmoid(update + from_update), tf.sigmoid(reset + from_reset)
            candidate = tf.tanh(candidate + reset * (from_candidate + bias))
            return (candidate + update * (hidden - candidate),)

        return next_state


class LSTM(Cell):
    """Gers 2000: Hochreiter 1997 with a forget gate, whose bias starts at one (Jozefowicz 2015)."""

    gates, parts = 4, 2

    def __init__(self, depth: int, units: int, layer_norm: bool = False, **kwargs: object) -> None:
        super().__init__(depth, units, layer_norm, **kwargs)
        self.bias.assign([0.0] * units + [1.0] * units + [0.0] * 2 * units)

    def rule(self) -> Callable[[tf.Tensor, tf.Tensor, State], State]:
        def next_state(projected: tf.Tensor, recurrent: tf.Tensor, state: State) -> State:
            _, memory = state
            write, forget, candidate, read = tf.split(projected + recurrent, 4, axis=-1)
            memory = tf.sigmoid(forget) * memory + tf.sigmoid(write) * tf.tanh(candidate)
            return tf.sigmoid(read) * tf.tanh(memory), memory

        return next_state


CellName = Literal["simple", "gru", "lstm"]
CELLS: dict[CellName, type[Cell]] = {"simple": SimpleRNN, "gru": GRU, "lstm": LSTM}


def scan(
    step: Callable[[tuple[tf.Tensor, ...], Nest], tuple[tuple[tf.Tensor, ...], Nest]],
    inputs: tuple[tf.Tensor, ...],
    state: Nest,
    outputs: tuple[tf.TensorSpec, ...],
    reverse: bool = False,
) -> tuple[tuple[tf.Tensor, ...], Nest]:
    """Run `step(inputs of a time, state) -> (outputs, state)` over the first axis -> (outputs, stacked; last state).

    Inputs [time, ...] -> outputs [time, ...], each time's as its spec says. The time may be unknown until the graph
    runs.
    """
    steps = tf.shape(inputs[0])[0]
    arrays = [tf.TensorArray(x.dtype, steps, element_shape=x.shape[1:]).unstack(x) for x in inputs]
    written = tuple(tf.TensorArray(spec.dtype, steps, element_shape=spec.shape) for spec in outputs)

    def body(done: tf.Tensor, state: Nest, written: tuple[tf.TensorArray, ...]) -> tuple[tf.Tensor, Nest, Nest]:
        time = steps - 1 - done if reverse else done
        here, after = step(tuple(array.read(time) for array in arrays), state)
        arrays_after = tuple(array.write(time, part) for array, part in zip(written, here, strict=True))
        return done + 1, keep_shapes(after, state), arrays_after

    _, state, written = tf.while_loop(
        lambda done, *_: done < steps, body, (0, state, written), maximum_iterations=steps
    )
    return tuple(array.stack() for array in written), state


def run(
    cell: Cell, inputs: tf.Tensor, state: State, mask: tf.Tensor | None = None, reverse: bool = False
) -> tuple[tf.Tensor, State]:
    """A cell over a sequence: [time, batch, depth] -> ([time, batch, units], the last state).

    Where the mask (bool [time, batch]) is False the state stays what it was.
    """
    advance = cell.bind()

    def step(now: tuple[tf.Tensor, ...], state: State) -> tuple[tuple[tf.Tensor, ...], State]:
        after = advance(now[0], state)
        if mask is not None:
            after = tuple(tf.where(now[1], new, old) for new, old in zip(after, state, strict=True))
        return after[:1], after

    inputs = (cell.project(inputs),) if mask is None else (cell.project(inputs), mask[:, :, None])
    spec = tf.TensorSpec(state[0].shape, state[0].dtype)
    (outputs,), state = scan(step, inputs, state, (spec,), reverse=reverse)
    return outputs, state


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
            ahead, last = run(forward, below, forward.zeros(rows), mask)
            behind, first = run(backward, below, backward.zeros(rows), mask, reverse=True)
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
            outputs = self.shape.add(below, run(cell, below, state)[0])
        return tf.transpose(outputs, [1, 0, 2])

    def step(
        self, inputs: tf.Tensor, states: tuple[State, ...], training: bool = False
    ) -> tuple[tf.Tensor, tuple[State, ...]]:
        """[batch, beam, depth], leaves [batch, beam, units] -> ([batch, beam, units], the next states)."""
        after = []
        for number, (cell, state) in enumerate(zip(self.cells, states, strict=True)):
            below = self.dropout(inputs, training=training) if number else inputs
            after.append(cell.bind()(cell.project(below), state))
            inputs = self.shape.add(below, after[-1][0])
        return inputs, tuple(after)
