"""Recurrent cells, a bidirectional encoder and the stack of layers of a decoder.

Written out and not taken from Keras for two reasons, both measured: what does not depend on the state leaves the loop
(Keras multiplies the inputs step by step), and the same cell serves whole sequences, a decoder's loop and one step of
a beam. Nothing here is cuDNN's, so an export from a GPU runs on a CPU.
"""

from __future__ import annotations

import abc
from collections.abc import Callable
from typing import Literal

import keras
import tensorflow as tf

from models.layers import Dense, Dropout, LayerList, multiply

State = tuple[tf.Tensor, ...]  # leaves [rows, units] or [batch, beam, units]; the first is the output
Advance = Callable[[tf.Tensor, State], State]


class Cell(keras.layers.Layer, abc.ABC):
    """One step of a recurrence, cut in two: `project` (every step at once) and `bind` (step by step)."""

    gates: int  # how many blocks of `units` the inputs are projected to
    parts: int  # how many tensors the state is

    def __init__(self, depth: int, units: int, **kwargs: object) -> None:
        super().__init__(**kwargs)
        self.units = units
        self.inputs = Dense(depth, self.gates * units, name="inputs")
        self.recurrent_kernel = self.add_weight(
            shape=(units, self.gates * units), initializer="orthogonal", name="recurrent_kernel"
        )
        self.built = True  # every weight is made in a constructor

    def project(self, inputs: tf.Tensor) -> tf.Tensor:
        """The part of the gates that does not depend on the state: [..., depth] -> [..., gates * units]."""
        return self.inputs(inputs)

    def zeros(self, rows: tf.Tensor) -> State:
        """The state before the first step, leaves [rows, units]."""
        return (tf.zeros([rows, self.units], self.compute_dtype),) * self.parts

    @abc.abstractmethod
    def bind(self) -> Advance:
        """Read the weights once -> a function of (projected inputs of a step, state) that gives the next state."""


class GRU(Cell):
    """Cho 2014, eq. 5 to 8, with the reset gate after the product, so that one product serves all three gates."""

    gates, parts = 3, 1

    def __init__(self, depth: int, units: int, **kwargs: object) -> None:
        super().__init__(depth, units, **kwargs)
        self.candidate_bias = self.add_weight(shape=(units,), initializer="zeros", name="candidate_bias")

    def bind(self) -> Advance:
        kernel = tf.cast(self.recurrent_kernel, self.compute_dtype)
        bias = tf.cast(self.candidate_bias, self.compute_dtype)

        def advance(projected: tf.Tensor, state: State) -> State:
            (hidden,) = state
            update, reset, candidate = tf.split(projected, 3, axis=-1)
            from_update, from_reset, from_candidate = tf.split(multiply(hidden, kernel), 3, axis=-1)
            update, reset = tf.sigmoid(update + from_update), tf.sigmoid(reset + from_reset)
            candidate = tf.tanh(candidate + reset * (from_candidate + bias))
            return (candidate + update * (hidden - candidate),)

        return advance


class LSTM(Cell):
    """Gers 2000: Hochreiter 1997 with a forget gate, whose bias starts at one (Jozefowicz 2015)."""

    gates, parts = 4, 2

    def __init__(self, depth: int, units: int, **kwargs: object) -> None:
        super().__init__(depth, units, **kwargs)
        self.inputs.bias.assign([0.0] * units + [1.0] * units + [0.0] * 2 * units)

    def bind(self) -> Advance:
        kernel = tf.cast(self.recurrent_kernel, self.compute_dtype)

        def advance(projected: tf.Tensor, state: State) -> State:
            hidden, memory = state
            write, forget, candidate, read = tf.split(projected + multiply(hidden, kernel), 4, axis=-1)
            memory = tf.sigmoid(forget) * memory + tf.sigmoid(write) * tf.tanh(candidate)
            return tf.sigmoid(read) * tf.tanh(memory), memory

        return advance


CellName = Literal["gru", "lstm"]
CELLS: dict[CellName, type[Cell]] = {"gru": GRU, "lstm": LSTM}


def scan(
    step: Callable[[tuple[tf.Tensor, ...], State], State],
    inputs: tuple[tf.Tensor, ...],
    state: State,
    keep: int = 1,
    reverse: bool = False,
) -> tuple[State, State]:
    """Run `step` over the first axis of the inputs -> (the first `keep` parts of every state, stacked, the last state).

    Inputs [time, ...] and a state -> outputs [time, ...]. The time may be unknown until the graph runs.
    """
    steps = tf.shape(inputs[0])[0]
    arrays = [tf.TensorArray(x.dtype, steps, element_shape=x.shape[1:]).unstack(x) for x in inputs]
    outputs = tuple(tf.TensorArray(part.dtype, steps, element_shape=part.shape) for part in state[:keep])

    def body(done: tf.Tensor, state: State, outputs: State) -> tuple[tf.Tensor, State, State]:
        time = steps - 1 - done if reverse else done
        after = step(tuple(array.read(time) for array in arrays), state)
        after = tuple(tf.ensure_shape(new, old.shape) for new, old in zip(after, state, strict=True))
        return (
            done + 1,
            after,
            tuple(array.write(time, part) for array, part in zip(outputs, after[:keep], strict=True)),
        )

    _, state, outputs = tf.while_loop(
        lambda done, *_: done < steps, body, (0, state, outputs), maximum_iterations=steps
    )
    return tuple(array.stack() for array in outputs), state


def run(
    cell: Cell, inputs: tf.Tensor, state: State, mask: tf.Tensor | None = None, reverse: bool = False
) -> tuple[tf.Tensor, State]:
    """A cell over a sequence: [time, batch, depth] -> ([time, batch, units], the last state).

    Where the mask (bool [time, batch]) is False the state stays what it was.
    """
    advance = cell.bind()
    projected = cell.project(inputs)
    if mask is None:
        (outputs,), state = scan(lambda now, state: advance(now[0], state), (projected,), state, reverse=reverse)
        return outputs, state

    def masked(now: tuple[tf.Tensor, ...], state: State) -> State:
        return tuple(tf.where(now[1], new, old) for new, old in zip(advance(now[0], state), state, strict=True))

    (outputs,), state = scan(masked, (projected, mask[:, :, None]), state, reverse=reverse)
    return outputs, state


class Encoder(keras.layers.Layer):
    """Bidirectional layers (Schuster 1997), `units // 2` a direction, so that the depth of the output is `units`."""

    def __init__(self, cell: CellName, depth: int, units: int, layers: int, dropout: float, **kwargs: object) -> None:
        super().__init__(**kwargs)
        if units % 2:
            raise ValueError(f"units of a bidirectional encoder are shared by two directions: got the odd {units}")
        depths = [depth] + [units] * (layers - 1)
        self.forwards = LayerList([CELLS[cell](below, units // 2) for below in depths])
        self.backwards = LayerList([CELLS[cell](below, units // 2) for below in depths])
        self.dropout = Dropout(dropout)
        self.built = True

    def call(self, inputs: tf.Tensor, mask: tf.Tensor, training: bool = False) -> tuple[tf.Tensor, tf.Tensor]:
        """[batch, source, depth] and bool [batch, source] -> ([batch, source, units], [batch, units]).

        The second is where each direction ends: the last state of the forward cell, the first of the backward one.
        """
        outputs = tf.transpose(inputs, [1, 0, 2])
        mask = tf.transpose(mask)
        rows = tf.shape(mask)[1]
        for number, (forward, backward) in enumerate(zip(self.forwards, self.backwards, strict=True)):
            if number:
                outputs = self.dropout(outputs, training=training)
            ahead, last = run(forward, outputs, forward.zeros(rows), mask)
            behind, first = run(backward, outputs, backward.zeros(rows), mask, reverse=True)
            outputs = tf.concat([ahead, behind], axis=-1)
        return tf.transpose(outputs, [1, 0, 2]), tf.concat([last[0], first[0]], axis=-1)


class Stack(keras.layers.Layer):
    """Layers of one direction, for a decoder: whole sequences in training, one step in decoding, the same weights."""

    def __init__(self, cell: CellName, depth: int, units: int, layers: int, dropout: float, **kwargs: object) -> None:
        super().__init__(**kwargs)
        depths = ([depth] + [units] * (layers - 1))[:layers]  # no layers: nothing
        self.cells = LayerList([CELLS[cell](below, units) for below in depths])
        self.dropout = Dropout(dropout)
        self.built = True

    def call(self, inputs: tf.Tensor, states: tuple[State, ...], training: bool = False) -> tf.Tensor:
        """[batch, target, depth], a state a layer with leaves [batch, units] -> [batch, target, units]."""
        outputs = tf.transpose(inputs, [1, 0, 2])
        for number, (cell, state) in enumerate(zip(self.cells, states, strict=True)):
            if number:
                outputs = self.dropout(outputs, training=training)
            outputs, _ = run(cell, outputs, state)
        return tf.transpose(outputs, [1, 0, 2])

    def step(self, inputs: tf.Tensor, states: tuple[State, ...]) -> tuple[tf.Tensor, tuple[State, ...]]:
        """[batch, beam, depth], leaves [batch, beam, units] -> ([batch, beam, units], the next states)."""
        after = []
        for cell, state in zip(self.cells, states, strict=True):
            after.append(cell.bind()(cell.project(inputs), state))
            inputs = after[-1][0]
        return inputs, tuple(after)
