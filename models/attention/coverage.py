"""Attention with coverage: See 2017."""

from __future__ import annotations

import dataclasses
from typing import Annotated, Any, ClassVar

import tensorflow as tf
from annotated_types import Ge

from models.attention import Attended, Attention, Keys, masked_softmax, mix, no_weights, query_mask
from models.attention.additive import Additive
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
        self.additive = Additive(depth, value_depth, use_bias=True, name="additive")
        self.covered = Dense(1, depth, use_bias=False, name="covered")

    def prepare(self, values: tf.Tensor, mask: tf.Tensor) -> Keys:
        return self.additive.prepare(values, mask)

    def begin(self, keys: Keys, queries: int | tf.Tensor = 1) -> Nest:
        return no_weights(keys.mask)

    def call(self, query: tf.Tensor, keys: Keys, state: Nest = (), training: bool = False) -> Attended:
        covered = self.covered(tf.cast(state, query.dtype)[..., None])
        weights = masked_softmax(self.additive.score(query, keys.keys, covered), query_mask(keys.mask))
        return Attended(mix(weights, keys.values), weights, state + weights)

    def loss(
        self, weights: tf.Tensor, log_choice: tf.Tensor | None, log_likelihood: tf.Tensor, real: tf.Tensor
    ) -> tf.Tensor:
        before = tf.cumsum(weights, axis=1, exclusive=True)
        twice = tf.reduce_sum(tf.minimum(weights, before), axis=-1)  # See 2017, eq. 12
        return self.config.loss_weight * tf.reduce_sum(tf.where(real, twice, 0.0))
