"""Additive attention: Bahdanau 2015."""

from __future__ import annotations

from typing import Any

import tensorflow as tf

from models.attention import Scored, every_pair
from models.layers import Dense


class Additive(Scored):
    """score = v . tanh(W query + U key): Bahdanau 2015, A.1.2; `use_bias` adds one, where others have theirs."""

    def __init__(self, depth: int, value_depth: int, config: Any = None, use_bias: bool = False, **kwargs: Any) -> None:
        super().__init__(depth, value_depth, config, **kwargs)
        self.queries = Dense(depth, depth, use_bias=use_bias, name="queries")
        self.keys = Dense(value_depth, depth, use_bias=False, name="keys")
        self.energy = Dense(depth, 1, use_bias=False, name="energy")

    def project_keys(self, values: tf.Tensor) -> tf.Tensor:
        return self.keys(values)

    def score(self, query: tf.Tensor, keys: tf.Tensor, more: tf.Tensor | None = None) -> tf.Tensor:
        """As in Scored; `more`, [batch, query, source, depth], is what other mechanisms add inside the tanh."""
        within = every_pair(self.queries(query), keys)
        hidden = tf.tanh(within if more is None else within + more)
        return tf.squeeze(self.energy(hidden), -1)
