"""Scaled dot attention: Vaswani 2017."""

from __future__ import annotations

from typing import Any

import tensorflow as tf

from models.attention import Scored, require_equal_depths


class ScaledDot(Scored):
    """score = query . key / sqrt(depth): Vaswani 2017, eq. 1, of queries and values as they are.

    The scale keeps the variance of the scores that of one product, so that the softmax of deep queries does not start
    where its gradient is zero (section 3.2.1).
    """

    def __init__(self, depth: int, value_depth: int, config: Any = None, **kwargs: Any) -> None:
        require_equal_depths("scaled_dot", depth, value_depth, otherwise="multi_head")
        super().__init__(depth, value_depth, config, **kwargs)

    def project_keys(self, values: tf.Tensor) -> tf.Tensor:
        return values

    def score(self, query: tf.Tensor, keys: tf.Tensor) -> tf.Tensor:
        return tf.matmul(query * self.depth**-0.5, keys, transpose_b=True)
