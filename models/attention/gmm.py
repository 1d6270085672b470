"""Attention by a mixture of Gaussians that moves over the source: Graves 2013."""

from __future__ import annotations

import dataclasses
import math
from typing import Annotated, Any, ClassVar

import tensorflow as tf
from annotated_types import Gt

from models.attention import Attended, Attention, Keys, masked_softmax, mix, query_mask
from models.contract import Nest
from models.layers import Dense

_NARROWEST = 0.1  # positions: all of such a Gaussian is on one


@dataclasses.dataclass(frozen=True)
class Config:
    """K: how many Gaussians.

    Attributes:
        components: K.
        width: sigma with a query of zeros, in positions: about as much as a query reads at once.
    """

    __pydantic_config__: ClassVar[dict[str, str]] = {"extra": "forbid"}

    components: Annotated[int, Gt(0)] = 5
    width: Annotated[float, Gt(_NARROWEST)] = 1.0


class Gmm(Attention):
    """Gaussians over the positions, each of which moves on by what the query and the last reading say: Graves 2013.

    w, D, s = U [query_i; read_{i-1}] + b;  mean_i = mean_{i-1} + softplus(D);  sigma = softplus(s)
    weight_ij ~ sum_k softmax(w)_k N(j; mean_ik, sigma_ik);  read_i = sum_j weight_ij key_j

    Equations 46 to 52, where the window read last is an input of the layer that moves it. Here a key is an encoder's
    output, whatever the context mixes. No position is scored: one that was not looked at is never read.

    In the form of Battenberg 2020 (section 2.2, "V2"): softplus where Graves has exp, and Gaussians of area 1; told
    zeros they move by one position and are `width` wide. The means never go back. Our deviation: a row is normalised
    over the source, so that it is a distribution, as with every other mechanism, even where all means are behind its
    end. The state is the means and what was read; the first query starts at -1, with zeros.
    """

    Config = Config
    recurrent = True

    def __init__(self, depth: int, value_depth: int, config: Any = None, **kwargs: Any) -> None:
        super().__init__(depth, value_depth, config, **kwargs)
        self.mixture = Dense(depth + value_depth, 3 * self.config.components, name="mixture")

    def prepare(self, values: tf.Tensor, mask: tf.Tensor) -> Keys:
        return Keys(values, values, mask)

    def begin(self, keys: Keys, queries: int | tf.Tensor = 1) -> Nest:
        batch = tf.shape(keys.values)[0]
        return tf.fill([batch, 1, self.config.components], -1.0), tf.zeros([batch, 1, self.value_depth])

    def call(self, query: tf.Tensor, keys: Keys, state: Nest = (), training: bool = False) -> Attended:
        mask = query_mask(keys.mask)
        means, read = state
        said = self.mixture(tf.concat([query, tf.cast(read, query.dtype)], axis=-1))
        share, step, width = tf.split(tf.cast(said, tf.float32), 3, axis=-1)  # [batch, query, K]
        means += tf.nn.softplus(step + _inverse_softplus(1.0))
        sigma = tf.maximum(tf.nn.softplus(width + _inverse_softplus(self.config.width)), _NARROWEST)
        distance = tf.range(tf.cast(tf.shape(mask)[-1], tf.float32)) - means[..., None]  # [batch, query, K, source]
        parts = (tf.nn.log_softmax(share) - tf.math.log(sigma))[..., None] - 0.5 * (distance / sigma[..., None]) ** 2
        weights = masked_softmax(tf.reduce_logsumexp(parts, axis=-2), mask)
        return Attended(mix(weights, keys.values), weights, (means, tf.cast(mix(weights, keys.keys), tf.float32)))


def _inverse_softplus(value: float) -> float:
    """1.0 -> 0.5413, whose softplus is 1."""
    return value + math.log(-math.expm1(-value))
