"""General attention: Luong 2015."""

from __future__ import annotations

from typing import Any

import tensorflow as tf

from models.attention import Scored
from models.layers import Dense


class General(Scored):
    """score = query . W key: Luong 2015, eq. 8, "general". W is on the keys' side, so it is done once."""

    def __init__(self, depth: int, value_depth: int, config: Any = None, **kwargs: Any) -> None:
        super().__init__(depth, value_depth, config, **kwargs)
        self.keys = Dense(value_depth, depth, use_bias=False, name="keys")

    def project_keys(self, values: tf.Tensor) -> tf.Tensor:
        return self.keys(values)

    def score(self, query: tf.Tensor, keys: tf.Tensor) -> tf.Tensor:
        return tf.matmul(query, keys, transpose_b=True)
