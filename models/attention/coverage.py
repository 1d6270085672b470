"""Attention with coverage: See 2017."""

from __future__ import annotations

import dataclasses
from typing import Annotated, Any, ClassVar

import tensorflow as tf
from annotated_types import Ge

from models.attention import Attended, Attention, Keys, masked_softmax, mix, query_mask
from models.contract import Nest
from models.layers import Dense


@dataclasses.dataclass(frozen=True)
class Config:
    """What looking twice costs: lambda of eq. 13."""

    __pydantic_config__: ClassVar[dict[str, str]] = {"extra": "forbid"}

    loss_weight: Annotated[float, Ge(0)] = 1.0


class Coverage(Attention):
    """score = v . tanh(W query + U key + w c + b), c the sum of all weights before: See 2017, eq. 10 and 11.

    A source of two positions, queries that look at the first, the first, the second: c is [0, 0], [1, 0], [2, 0], and
    the loss is 0, 1, 0.
    """

    Config = Config
    recurrent = True

    def __init__(self, depth: int, value_depth: int, config: Any = None, **kwargs: Any) -> None:
        super().__init__(depth, value_depth, config, **kwargs)
        self.queries = Dense(depth, depth, use_bias=False, name="queries")
        self.keys = Dense(value_depth, depth, name="keys")  # its bias is b
        self.covered = self.add_weight(shape=(depth,), initializer="glorot_uniform", name="covered")
        self.energy = Dense(depth, 1, use_bias=False, name="energy")

    def prepare(self, values: tf.Tensor, mask: tf.Tensor) -> Keys:
        return Keys(self.keys(values), values, mask)

    def begin(self, keys: Keys, queries: int | tf.Tensor = 1) -> Nest:
        return tf.zeros_like(query_mask(keys.mask)[:, :1], tf.float32)

    def call(self, query: tf.Tensor, keys: Keys, state: Nest = (), training: bool = False) -> Attended:
        covered = tf.cast(state, query.dtype)[..., None] * tf.cast(self.covered, query.dtype)
        hidden = tf.tanh(self.queries(query)[:, :, None, :] + keys.keys[:, None, :, :] + covered)
        weights = masked_softmax(self.energy(hidden)[..., 0], query_mask(keys.mask))
        return Attended(mix(weights, keys.values), weights, state + weights)

    def loss(
        self, weights: tf.Tensor, log_choice: tf.Tensor | None, log_likelihood: tf.Tensor, real: tf.Tensor
    ) -> tf.Tensor:
        before = tf.cumsum(weights, axis=1, exclusive=True)
        twice = tf.reduce_sum(tf.minimum(weights, before), axis=-1)  # See 2017, eq. 12
        return self.config.loss_weight * tf.reduce_sum(tf.where(real, twice, 0.0))
