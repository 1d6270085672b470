"""What a loop does with a decoder's state, whatever a mechanism and a cell keep in it."""

from __future__ import annotations

import tensorflow as tf

from models.contract import Nest


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
