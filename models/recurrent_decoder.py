"""Recurrent decoders with attention: from pieces and the source to the vectors that predict the pieces that come next.

Where a decoder attends is a choice. "before" (Bahdanau 2015): the state before a step asks, and the context goes into
the step. "after" (Luong 2015): the state after a step asks, and the context goes into the prediction; with input
feeding, into the next step, too. Where nothing is fed back, training asks for all steps at once: one batched call of
the attention beside the loop over the cells.

A search folds matrices into the values: W (sum_i a_i v_i) is sum_i a_i (W v_i), and a source has fewer values than its
hypotheses have steps.
"""

from __future__ import annotations

import abc
import functools
from collections.abc import Callable
from typing import Any, NamedTuple, TypeAlias

import keras
import tensorflow as tf

from models.attention import Attended, Attention, Keys
from models.contract import Nest
from models.layers import Dense, Dropout, multiply
from models.recurrence import State as CellState
from models.recurrence import scan
from models.recurrent import Layers, Stack
from models.states import add_beam

Cells: TypeAlias = tuple[CellState, ...]  # a state a layer
# (projected pieces [batch, 1, gates * units], State) -> (hidden, Attended, State), leaves [batch, 1, ...].
Advance = Callable[[tf.Tensor, "State"], tuple[tf.Tensor, Attended, "State"]]


class State(NamedTuple):
    """A decoder between two steps; leaves [batch, ...], in decoding [batch, beam, ...]."""

    cells: Cells
    attention: Nest = ()  # of the mechanism
    vector: Nest = ()  # of the step before, where it is fed


class Said(NamedTuple):
    """What a decoder says of one step ([batch, beam, ...]) or of all ([batch, target, ...])."""

    vector: tf.Tensor  # [batch, target, depth], from which a piece is predicted
    hidden: tf.Tensor  # [batch, target, units], the state of the highest layer
    attended: Attended


class Decoder(keras.layers.Layer, abc.ABC):
    """A stack of cells, attention, and the attentional vector of `depth`.

    `folds`: the contexts of its steps are what its matrices make of them, for nobody asks for anything else.
    """

    folds: bool

    def __init__(self, shape: Layers, attention: Attention, embedding: int, depth: int, **kwargs: Any) -> None:
        super().__init__(autocast=False, **kwargs)  # the state of an attention stays float32
        self.depth = depth
        self.attention = attention
        self.bottom = shape.cells(embedding, shape.units, 1)[0]
        self.dropout = Dropout(shape.dropout)
        self.attentional = Dense(attention.value_depth + shape.units, depth, "tanh", use_bias=False, name="attentional")
        self.built = True

    def start(self, cells: Cells, keys: Keys) -> State:
        """The state before the first step, leaves [batch, ...]."""
        return State(cells, tf.nest.map_structure(lambda leaf: leaf[:, 0], self.attention.begin(keys)))

    @abc.abstractmethod
    def call(self, inputs: tf.Tensor, state: State, keys: Keys, training: bool = False) -> Said:
        """All steps: [batch, target, embedding], leaves [batch, ...] -> Said."""

    def fold(self, values: tf.Tensor) -> tf.Tensor:
        """The values for `step`: where it `folds`, what the matrices make of them, [batch, source, any]."""
        return multiply(values, tf.concat(self._of_context(values.dtype), axis=1)) if self.folds else values

    @abc.abstractmethod
    def step(self, projected: tf.Tensor, state: State, keys: Keys) -> tuple[Said, State]:
        """One step: (Said, the next state) from what `bottom.project` makes of the inputs, [batch, beam, ...].

        The values of the keys are those of `fold`, and `attended.context` is a mean of these.
        """

    def say(self, hidden: tf.Tensor, attended: Attended, folded: bool = False) -> Said:
        """Luong 2015, eq. 5: tanh(W [context; hidden]); for "before" too, in place of Bahdanau's maxout (A.2.2)."""
        if not folded:
            return Said(self.attentional(tf.concat([attended.context, hidden], axis=-1)), hidden, attended)
        kernel = tf.cast(self.attentional.kernel[self.attention.value_depth :], hidden.dtype)
        return Said(tf.tanh(attended.context[..., -self.depth :] + multiply(hidden, kernel)), hidden, attended)

    def _of_context(self, dtype: tf.DType) -> list[tf.Tensor]:
        """The matrices that a context is multiplied by, [value_depth, ...]; that of `say` is the last."""
        return [tf.cast(self.attentional.kernel[: self.attention.value_depth], dtype)]

    def unroll(self, advance: Advance, projected: tf.Tensor, state: State) -> tuple[tf.Tensor, Attended]:
        """Steps one after the other, for training, where each needs the attention of the one before.

        Args:
            advance: makes one step.
            projected: what every step is given, [batch, target, gates * units].
            state: before the first step, leaves [batch, ...].

        Returns:
            (hidden [batch, target, units], Attended [batch, target, ...]; its log_choice is 0 where nothing is drawn).
        """

        def step(now: tuple[tf.Tensor, ...], state: State) -> tuple[tuple[tf.Tensor, ...], State]:
            hidden, attended, after = advance(now[0], state)
            choice = tf.zeros_like(attended.weights[..., 0]) if attended.log_choice is None else attended.log_choice
            return (hidden, attended.context, attended.weights, choice), after

        hidden = state.cells[0][0]
        specs = (
            tf.TensorSpec([None, 1, hidden.shape[-1]], hidden.dtype),
            tf.TensorSpec([None, 1, self.attention.value_depth], hidden.dtype),
            tf.TensorSpec([None, 1, None], tf.float32),
            tf.TensorSpec([None, 1], tf.float32),
        )
        stacked, _ = scan(step, (tf.transpose(projected, [1, 0, 2])[:, :, None],), add_beam(state), specs)
        hidden, context, weights, choice = (
            tf.transpose(part[:, :, 0], [1, 0, 2][: part.shape.rank - 1]) for part in stacked
        )
        return hidden, Attended(context, weights, (), choice)


class AttendAfter(Decoder):
    """The state after a step asks (Luong 2015, section 3), with input feeding (section 3.3) on demand."""

    def __init__(
        self, shape: Layers, attention: Attention, embedding: int, depth: int, input_feeding: bool, **kwargs: Any
    ) -> None:
        super().__init__(shape, attention, embedding, depth, **kwargs)
        self.feed = (
            Dense(depth, self.bottom.gates * shape.units, use_bias=False, name="feed") if input_feeding else None
        )
        self.upper = Stack(shape, shape.units, shape.layers - 1, name="upper")
        self.folds = attention.mixes_values

    def start(self, cells: Cells, keys: Keys) -> State:
        state = super().start(cells, keys)
        nothing = tf.zeros([tf.shape(keys.values)[0], self.depth], keys.values.dtype)
        return state._replace(vector=nothing) if self.feed else state

    def call(self, inputs: tf.Tensor, state: State, keys: Keys, training: bool = False) -> Said:
        if self.feed or self.attention.recurrent:
            advance = functools.partial(self._advance, keys=keys, training=training)
            return self.say(*self.unroll(advance, self.bottom.project(inputs), state))
        hidden, _ = self.bottom.run(tf.transpose(inputs, [1, 0, 2]), state.cells[0], training=training)
        hidden = tf.transpose(hidden, [1, 0, 2])
        if self.upper.cells:
            hidden = self.upper(self.dropout(hidden, training=training), state.cells[1:], training=training)
        questions = self.attention.begin(keys, tf.shape(inputs)[1])
        return self.say(hidden, self.attention(hidden, keys, questions, training=training))

    def step(self, projected: tf.Tensor, state: State, keys: Keys) -> tuple[Said, State]:
        hidden, attended, state = self._advance(projected, state, keys, folded=self.folds)
        return self.say(hidden, attended, folded=self.folds), state

    def _advance(
        self, projected: tf.Tensor, state: State, keys: Keys, training: bool = False, folded: bool = False
    ) -> tuple[tf.Tensor, Attended, State]:
        if self.feed:
            projected += self.feed(state.vector)
        bottom = self.bottom.advance(projected, state.cells[0])
        hidden = self.dropout(bottom[0], training=training) if self.upper.cells else bottom[0]
        hidden, upper = self.upper.step(hidden, state.cells[1:], training)
        attended = self.attention(hidden, keys, state.attention, training=training)
        vector = self.say(hidden, attended, folded).vector if self.feed else ()
        return hidden, attended, State((bottom, *upper), attended.state, vector)


class AttendBefore(Decoder):
    """The state before a step asks, and the context goes into the step (Bahdanau 2015, A.2.2).

    In a deep decoder the lowest layer attends (Wu 2016, section 3.2), so that only that layer has to run step by step.
    The layer above takes its context, too; the paper gives it to every one.
    """

    def __init__(self, shape: Layers, attention: Attention, embedding: int, depth: int, **kwargs: Any) -> None:
        super().__init__(shape, attention, embedding, depth, **kwargs)
        context = attention.value_depth
        self.context = Dense(context, self.bottom.gates * shape.units, use_bias=False, name="context")
        self.upper = Stack(shape, shape.units + context, shape.layers - 1, name="upper")
        self.folds = attention.mixes_values and not self.upper.cells

    def call(self, inputs: tf.Tensor, state: State, keys: Keys, training: bool = False) -> Said:
        advance = functools.partial(self._advance, keys=keys, training=training)
        lowest = state._replace(cells=state.cells[:1])
        hidden, attended = self.unroll(advance, self.bottom.project(inputs), lowest)
        if self.upper.cells:
            below = tf.concat([self.dropout(hidden, training=training), attended.context], axis=-1)
            hidden = self.upper(below, state.cells[1:], training=training)
        return self.say(hidden, attended)

    def step(self, projected: tf.Tensor, state: State, keys: Keys) -> tuple[Said, State]:
        hidden, attended, after = self._advance(projected, state, keys, folded=self.folds)
        if not self.upper.cells:
            return self.say(hidden, attended, folded=self.folds), after
        below = tf.concat([hidden, attended.context], axis=-1)
        hidden, upper = self.upper.step(below, state.cells[1:])
        return self.say(hidden, attended), after._replace(cells=(*after.cells, *upper))

    def _advance(
        self, projected: tf.Tensor, state: State, keys: Keys, training: bool = False, folded: bool = False
    ) -> tuple[tf.Tensor, Attended, State]:
        """The lowest layer alone."""
        attended = self.attention(state.cells[0][0], keys, state.attention, training=training)
        context = attended.context[..., : -self.depth] if folded else self.context(attended.context)
        bottom = self.bottom.advance(projected + context, state.cells[0])
        return bottom[0], attended, State((bottom,), attended.state)

    def _of_context(self, dtype: tf.DType) -> list[tf.Tensor]:
        return [tf.cast(self.context.kernel, dtype), *super()._of_context(dtype)]
