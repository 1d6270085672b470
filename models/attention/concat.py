"""Concat attention: Luong 2015."""

from __future__ import annotations

from typing import Any

import tensorflow as tf

from models.attention import Scored, every_pair
from models.layers import Dense, multiply


class Concat(Scored):
    """score = v . tanh(W [query; key]): Luong 2015, eq. 8, "concat".

    One W, so one initialisation over both, and its two halves are multiplied apart: the keys' half is done once.
    """

    def __init__(self, depth: int, value_depth: int, config: Any = None, **kwargs: Any) -> None:
        super().__init__(depth, value_depth, config, **kwargs)
        self.kernel = self.add_weight(shape=(depth + value_depth, depth), initializer="glorot_uniform", name="kernel")
        self.energy = Dense(depth, 1, use_bias=False, name="energy")

    def project_keys(self, values: tf.Tensor) -> tf.Tensor:
        return multiply(values, tf.cast(self.kernel, values.dtype)[self.depth :])

    def score(self, query: tf.Tensor, keys: tf.Tensor) -> tf.Tensor:
        queries = multiply(query, tf.cast(self.kernel, query.dtype)[: self.depth])
        return tf.squeeze(self.energy(tf.tanh(every_pair(queries, keys))), -1)
