"""What a loop does with a decoder's state, whatever a mechanism and a cell keep in it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol, TypeVar

import tensorflow as tf

from models.contract import Length, Nest

R = TypeVar("R", bound="HasRows")


class HasRows(Protocol):
    """What a loop knows of the rows of a batch."""

    def take(self: R, rows: tf.Tensor) -> R:
        """Some of them: numbers, int32 [some]."""


def add_beam(state: Nest, beam_size: int = 1) -> Nest:
    """Leaves [batch, ...] -> [batch, beam, ...], the same for every hypothesis."""
    return tf.nest.map_structure(
        lambda leaf: tf.tile(leaf[:, None], [1, beam_size, *[1] * (leaf.shape.rank - 1)]), state
    )


def keep_shapes(after: Nest, before: Nest) -> Nest:
    """The static shapes of the loop's variables before a step for those after it: a loop wants them to be the same."""
    return tf.nest.map_structure(lambda new, old: tf.ensure_shape(new, old.shape), after, before)


def take(nest: Nest, rows: tf.Tensor) -> Nest:
    """Some rows, int32 [some]: leaves [batch, ...] -> [some, ...]."""
    return tf.nest.map_structure(lambda leaf: tf.gather(leaf, rows), nest)


def each_to_its_end(
    going: Callable[[R, Nest], tf.Tensor],
    step: Callable[[tf.Tensor, R, Nest], Nest],
    result: Callable[[Nest], Nest],
    rows: R,
    state: Nest,
    length: Length,
    leave: bool,
) -> Nest:
    """Steps until no row goes on or there were `length`: the `result` of the last state, leaves [batch, ...].

    Rows end one after the other, and a batch takes as long as its longest. With `leave` those that are done leave it as
    soon as they are a quarter of it: 32 words are pronounced in three quarters of the time. Under XLA, where shapes are
    static, none may leave.

    Args:
        going: (rows, state) -> which rows go on, bool [batch]. One that does not must never go on again.
        step: (time, counted from 0, rows, state) -> the state after one more step. No row may depend on another.
        result: what is wanted of a state.
        rows: all of them.
        state: before the first step, leaves [batch, ...].
        length: steps at most.
        leave: whether rows leave.
    """

    def steps(time: tf.Tensor, rows: R, state: Nest, most: tf.Tensor | int) -> tuple[tf.Tensor, Nest]:
        """On, until at most so many rows go on."""
        return tf.while_loop(
            lambda time, state: (time < length) & (tf.math.count_nonzero(going(rows, state), dtype=tf.int32) > most),
            lambda time, state: (time + 1, keep_shapes(step(time, rows, state), state)),
            (time, state),
        )

    if not leave:
        return result(steps(tf.constant(0), rows, state, 0)[1])

    def fewer(time: tf.Tensor, here: tf.Tensor, state: Nest, found: Nest) -> tuple[tf.Tensor, tf.Tensor, Nest, Nest]:
        """On, until some of the rows that are here, int32 [here], leave."""
        these = rows.take(here)
        time, state = steps(time, these, state, 3 * tf.size(here) // 4)
        found = tf.nest.map_structure(
            lambda all_rows, now: tf.tensor_scatter_nd_update(all_rows, here[:, None], now), found, result(state)
        )
        stay = tf.where(going(these, state))[:, 0]
        return time, tf.gather(here, stay), take(state, stay), found

    first = (tf.constant(0), tf.range(tf.shape(tf.nest.flatten(state)[0])[0]), state, result(state))
    shapes = (first[0].shape, *tf.nest.map_structure(lambda leaf: tf.TensorShape([None, *leaf.shape[1:]]), first[1:]))
    return tf.while_loop(lambda time, here, *_: (time < length) & (tf.size(here) > 0), fewer, first, shapes)[3]
