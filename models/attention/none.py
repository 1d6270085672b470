"""No attention: Cho 2014."""

from __future__ import annotations

from typing import Any

import tensorflow as tf

from models.attention import Attended, Attention, Keys, lengths, mix, query_mask
from models.contract import Nest


class NoAttention(Attention):
    """The same context for every query, where the encoder ends: Cho 2014, section 2.2. It shows what attention buys.

    The forward half of the values where the source ends, the backward half where it begins: values
    [[1., 2.], [3., 4.], [7., 7.]], the last of them padding -> context [3., 2.]. The weights are zero. Of a
    listener whose last layer projects, or joins pairs, the halves are of what that gives, not one direction each.
    """

    mixes_values = False

    def __init__(self, depth: int, value_depth: int, config: Any = None, **kwargs: Any) -> None:
        if value_depth % 2:
            raise ValueError(
                f"none attention takes one half of the values from where each direction ends: "
                f"expected an even value depth, got {value_depth}"
            )
        super().__init__(depth, value_depth, config, **kwargs)

    def prepare(self, values: tf.Tensor, mask: tf.Tensor) -> Keys:
        return Keys((), values, mask)

    def call(self, query: tf.Tensor, keys: Keys, state: Nest = (), training: bool = False) -> Attended:
        mask = query_mask(keys.mask)
        source = tf.shape(mask)[-1]
        last = tf.one_hot(lengths(mask) - 1, source)  # of no position where there is none: zeros
        first = tf.one_hot(source - lengths(mask[..., ::-1]), source)
        forward, backward = tf.split(keys.values, 2, axis=-1)
        summary = tf.concat([mix(last, forward), mix(first, backward)], axis=-1)  # [batch, 1 or query, value_depth]
        nothing = tf.zeros_like(query[..., :1])
        # A sum and not tf.broadcast_to, whose gradient in a loop does not compile with XLA.
        return Attended(summary + nothing, tf.zeros_like(nothing + tf.zeros([source], query.dtype), tf.float32))
