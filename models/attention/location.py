"""Location-aware attention: Chorowski 2015."""

from __future__ import annotations

import dataclasses
from typing import Annotated, Any, ClassVar

import tensorflow as tf
from annotated_types import Gt

from models.attention import Attended, Attention, Keys, masked_softmax, mix, no_weights, query_mask
from models.attention.additive import Additive
from models.contract import Nest
from models.layers import Dense


@dataclasses.dataclass(frozen=True)
class Config:
    """What is seen of the weights before: so many filters, each over so many positions (speech: 10 of 201)."""

    __pydantic_config__: ClassVar[dict[str, str]] = {"extra": "forbid"}

    filters: Annotated[int, Gt(0)] = 10
    width: Annotated[int, Gt(0)] = 15

    def __post_init__(self) -> None:
        if self.width % 2 == 0:
            raise ValueError(
                f"the filters of location attention need a middle: expected an odd width, got {self.width}"
            )


class Location(Attention):
    """score = w . tanh(W query + V key + U f + b), f = F * the weights before: Chorowski 2015, eq. 8 and 9.

    The state is the weights of the query before, zero before the first: there is nothing yet to move on from. They
    are zero at padding too, as the convolution's own padding is, so a longer batch changes nothing.
    """

    Config = Config
    recurrent = True

    def __init__(self, depth: int, value_depth: int, config: Any = None, **kwargs: Any) -> None:
        super().__init__(depth, value_depth, config, **kwargs)
        filters, width = self.config.filters, self.config.width
        self.additive = Additive(depth, value_depth, use_bias=True, name="additive")
        self.filters = self.add_weight(
            shape=(width, 1, filters), initializer="glorot_uniform", name="filters", autocast=False
        )
        self.locations = Dense(filters, depth, use_bias=False, name="locations")

    def prepare(self, values: tf.Tensor, mask: tf.Tensor) -> Keys:
        return self.additive.prepare(values, mask)

    def begin(self, keys: Keys, queries: int | tf.Tensor = 1) -> Nest:
        return no_weights(keys.mask)

    def call(self, query: tf.Tensor, keys: Keys, state: Nest = (), training: bool = False) -> Attended:
        located = self.locations(self._convolve(state))
        weights = masked_softmax(self.additive.score(query, keys.keys, located), query_mask(keys.mask))
        return Attended(mix(weights, keys.values), weights, weights)

    def _convolve(self, weights: tf.Tensor) -> tf.Tensor:
        """Every filter over the source: float32 [batch, query, source] -> [batch, query, source, filters]."""
        batch, query, source = tf.unstack(tf.shape(weights))
        features = tf.nn.conv1d(tf.reshape(weights, [batch * query, source, 1]), self.filters, 1, "SAME")
        return tf.reshape(features, [batch, query, source, self.config.filters])
