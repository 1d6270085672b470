"""Local attention with a predicted alignment: Luong 2015."""

from __future__ import annotations

import dataclasses
from typing import Annotated, Any, ClassVar

import tensorflow as tf
from annotated_types import Gt

from models.attention import Attended, Attention, Keys, lengths, masked_softmax, mix, query_mask
from models.attention.general import General
from models.contract import Nest
from models.layers import Dense


@dataclasses.dataclass(frozen=True)
class Config:
    """How far the window reaches to either side of its centre: D, two standard deviations of the Gaussian."""

    __pydantic_config__: ClassVar[dict[str, str]] = {"extra": "forbid"}

    window: Annotated[int, Gt(0)] = 10


class LocalP(Attention):
    """General attention around a position that the query predicts: Luong 2015, eq. 9 and 10, "local-p".

    p = S sigmoid(v . tanh(W query)), S the length of the source without its padding; the weights of "general" within
    [p - D, p + D] are multiplied by exp(-(position - p)^2 / (2 sigma^2)), sigma = D / 2.

    Both of the paper's bounds hold: nothing outside the window has a weight. Our deviation: the product is normalised
    again. In the paper its rows sum to less than 1, by as much as the content disagrees with p, so the size of a
    context depends on how sure the two are; here a row is a distribution, as with every other mechanism, and that is
    the softmax of score - (position - p)^2 / (2 sigma^2), which cannot vanish.
    """

    Config = Config

    def __init__(self, depth: int, value_depth: int, config: Any = None, **kwargs: Any) -> None:
        super().__init__(depth, value_depth, config, **kwargs)
        self.general = General(depth, value_depth, name="general")
        self.hidden = Dense(depth, depth, "tanh", use_bias=False, name="hidden")
        self.centre = Dense(depth, 1, use_bias=False, name="centre")

    def prepare(self, values: tf.Tensor, mask: tf.Tensor) -> Keys:
        return Keys(self.general.project_keys(values), values, mask)

    def call(self, query: tf.Tensor, keys: Keys, state: Nest = (), training: bool = False) -> Attended:
        mask = query_mask(keys.mask)
        share = tf.sigmoid(tf.cast(self.centre(self.hidden(query)), tf.float32))  # [batch, query, 1]
        centre = tf.cast(lengths(mask), tf.float32)[..., None] * share
        distance = tf.range(tf.cast(tf.shape(mask)[-1], tf.float32)) - centre  # [batch, query, source]
        # -distance^2 / (2 (D / 2)^2)
        scores = tf.cast(self.general.score(query, keys.keys), tf.float32) - 2.0 * (distance / self.config.window) ** 2
        weights = masked_softmax(scores, mask & (tf.abs(distance) <= self.config.window))
        return Attended(mix(weights, keys.values), weights)
