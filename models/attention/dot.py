"""Dot attention: Luong 2015."""

from __future__ import annotations

from typing import Any

import tensorflow as tf

from models.attention import Scored, require_equal_depths


class Dot(Scored):
    """score = query . key: Luong 2015, eq. 8, "dot"."""

    def __init__(self, depth: int, value_depth: int, config: Any = None, **kwargs: Any) -> None:
        require_equal_depths("dot", depth, value_depth, otherwise="general")
        super().__init__(depth, value_depth, config, **kwargs)

    def project_keys(self, values: tf.Tensor) -> tf.Tensor:
        return values

    def score(self, query: tf.Tensor, keys: tf.Tensor) -> tf.Tensor:
        return tf.matmul(query, keys, transpose_b=True)
