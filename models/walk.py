"""The loop of every search: step by step, until no row of the batch goes on."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import Generic, Literal, Protocol, TypeVar

import tensorflow as tf

from models.contract import Length, Nest
from models.states import keep_shapes, take

R = TypeVar("R", bound="HasRows")

Leaving = Literal["any", "halves", "none"]  # how rows that are done leave a batch: all of them; under XLA; not at all
ROOM = 16  # steps that a state has room for at first
STAGES = 3  # that XLA compiles, each for half the rows of the one before and with more room


class HasRows(Protocol):
    """What a loop knows of the rows of a batch."""

    def take(self: R, rows: tf.Tensor) -> R:
        """Some of them: numbers, int32 [some]."""


@dataclasses.dataclass(frozen=True)
class Walk(Generic[R]):
    """Steps, what is to be done at each, and what is wanted in the end.

    Rows end one after the other, and a batch takes as long as its longest: those that are done may leave it. And what
    was said is moved at every step, with the room that there is for more: a state begins with little and grows.

    Attributes:
        going: (rows, state) -> which rows go on, bool [batch]. One that does not must never go on again.
        step: (time, counted from 0, rows, state) -> the state after one more step. No row may depend on another.
        result: what is wanted of a state, leaves [batch, ...].
        first: (rows, room) -> the state before the first step, leaves [batch, ...], with room for so many steps. One of
            more room is the same with zeros at the end of an axis.
        length: steps at most.
    """

    going: Callable[[R, Nest], tf.Tensor]
    step: Callable[[tf.Tensor, R, Nest], Nest]
    result: Callable[[Nest], Nest]
    first: Callable[[R, Length], Nest]
    length: Length

    def to_the_end(self, rows: R, leaving: Leaving) -> Nest:
        """The result of every row."""
        if leaving == "none":
            return self.result(self._steps(tf.constant(0), rows, self.first(rows, self.length), 0, self.length)[1])
        return self._by_halves(rows) if leaving == "halves" else self._freely(rows)

    def _freely(self, rows: R) -> Nest:
        """Rows that are done leave as soon as they are a quarter: 32 words take three quarters of the time."""

        def fewer(
            time: tf.Tensor, room: tf.Tensor, here: tf.Tensor, state: Nest, found: Nest
        ) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor, Nest, Nest]:
            """On, until some of the rows that are here, int32 [here], leave, or there is no more room."""
            these = rows.take(here)
            time, state = self._steps(time, these, state, 3 * tf.size(here) // 4, room)
            found = _put(found, here, self.result(state))
            stay = tf.where(self.going(these, state))[:, 0]
            room = tf.where(time < room, room, tf.minimum(2 * room, self.length))
            grown = self._grown(these.take(stay), take(state, stay), room)
            state = tf.nest.map_structure(lambda leaf, old: tf.ensure_shape(leaf, old), grown, shapes[0])
            return time, room, tf.gather(here, stay), state, found

        room = tf.minimum(ROOM, self.length)
        state, longest = self.first(rows, room), self.first(rows, self.length)
        shapes = tf.nest.map_structure(_shape, (state, self.result(state)), (longest, self.result(longest)))
        return tf.while_loop(
            lambda time, room, here, *_: (time < self.length) & (tf.size(here) > 0),
            fewer,
            (tf.constant(0), room, tf.range(_size(state)), state, self.result(state)),
            (tf.TensorShape([]), tf.TensorShape([]), tf.TensorShape([None]), *shapes),
        )[-1]

    def _by_halves(self, rows: R) -> Nest:
        """For XLA, where shapes are static, and every shape costs time to compile: a stage is one of them.

        First all rows, with a third of the room, until half of them are done; then half as many at a time, with two
        thirds, and in the end a quarter, with all of it.
        """
        rooms = [(self.length * stage + STAGES - 1) // STAGES for stage in range(1, STAGES + 1)]
        return self._in_stages(tf.constant(0), rows, self.first(rows, rooms[0]), rooms)

    def _in_stages(self, time: tf.Tensor, rows: R, state: Nest, rooms: Sequence[Length]) -> Nest:
        """The result of rows that have the first of these rooms."""
        room, *more = rooms
        if not more:
            return self.result(self._steps(time, rows, state, 0, room)[1])
        count = _size(state)
        time, state = self._steps(time, rows, state, count // 2, room)

        def some(left: tf.Tensor, found: Nest) -> tuple[tf.Tensor, Nest]:
            """To the end of some of those that are left, bool [batch]."""
            here = tf.math.top_k(tf.cast(left, tf.int32), (count + 1) // 2)[1]
            these = rows.take(here)
            ended = self._in_stages(time, these, self._grown(these, take(state, here), more[0]), more)
            left = tf.tensor_scatter_nd_update(left, here[:, None], tf.zeros_like(here, tf.bool))
            return left, _put(found, here, ended)

        left = self.going(rows, state)
        return tf.while_loop(lambda left, _: tf.reduce_any(left), some, (left, self.result(state)))[1]

    def _steps(
        self, time: tf.Tensor, rows: R, state: Nest, most: tf.Tensor | int, end: Length
    ) -> tuple[tf.Tensor, Nest]:
        """On, until at most so many rows go on, or to a time."""
        return tf.while_loop(
            lambda time, state: (time < end) & (tf.math.count_nonzero(self.going(rows, state), dtype=tf.int32) > most),
            lambda time, state: (time + 1, keep_shapes(self.step(time, rows, state), state)),
            (time, state),
        )

    def _grown(self, rows: R, state: Nest, room: Length) -> Nest:
        """The state with room for so many steps."""
        return tf.nest.map_structure(_pad, state, self.first(rows, room))


def _size(state: Nest) -> tf.Tensor:
    """How many rows it has."""
    return tf.shape(tf.nest.flatten(state)[0])[0]


def _put(found: Nest, here: tf.Tensor, now: Nest) -> Nest:
    """What is known now of some rows, int32 [here], in its place among all."""
    return tf.nest.map_structure(lambda old, new: tf.tensor_scatter_nd_update(old, here[:, None], new), found, now)


def _pad(leaf: tf.Tensor, longer: tf.Tensor) -> tf.Tensor:
    """Zeros at the end of the axes in which another is longer."""
    more = tf.shape(longer) - tf.shape(leaf)
    return tf.ensure_shape(tf.pad(leaf, tf.stack([tf.zeros_like(more), more], axis=1)), longer.shape)


def _shape(leaf: tf.Tensor, longer: tf.Tensor) -> tf.TensorShape:
    """What is static of both, for any number of rows."""
    axes = zip(leaf.shape[1:], longer.shape[1:], strict=True)
    return tf.TensorShape([None, *(size if size == other else None for size, other in axes)])
