"""Monotonic attention: Raffel 2017."""

from __future__ import annotations

import dataclasses
from typing import Annotated, Any, ClassVar

import keras
import numpy as np
import tensorflow as tf
from annotated_types import Ge

from models.attention import Attended, Attention, Keys, every_pair, mix, query_mask
from models.contract import Nest
from models.layers import Dense, multiply

# log(1 - p) where 1 - p is less than float32 can tell from 0: bounds the sums below, whose differences are exact then.
_SURE = float(np.log(np.finfo(np.float32).eps))


@dataclasses.dataclass(frozen=True)
class Config:
    """Options of section 2.4 and 2.5."""

    __pydantic_config__: ClassVar[dict[str, str]] = {"extra": "forbid"}

    initial_bias: float = -1.0  # r; the lower, the farther a query looks at first: -4 for long sources
    noise: Annotated[float, Ge(0)] = 1.0  # standard deviation of what is added to the energies in training


class Monotonic(Attention):
    """From where the query before stopped, go on until a position says stop, and take its value.

    A position stops with p = sigmoid(g v / |v| . tanh(W query + V key + b) + r): Raffel 2017, section 2.4. In training
    the weights are the probabilities of stopping there, expected over every way to stop before (eq. 9), with noise
    before the sigmoid so that p learns to be 0 or 1 (section 2.5). At test a position stops where p >= 0.5, and the
    weights are one-hot. p is [.1, .9, .2] and the query before stopped at the first: in training [.1, .81, .018], at
    test [0, 1, 0].

    Weights sum to at most 1: the rest is the chance to run past the end, where the context is zero, and whoever is
    there stays there (section 2.2). The state is the weights of the query before; the first starts at position 0.
    """

    Config = Config
    recurrent = True

    def __init__(self, depth: int, value_depth: int, config: Any = None, **kwargs: Any) -> None:
        super().__init__(depth, value_depth, config, **kwargs)
        self.queries = Dense(depth, depth, use_bias=False, name="queries")
        self.keys = Dense(value_depth, depth, name="keys")  # its bias is b
        self.direction = self.add_weight(shape=(depth, 1), initializer="glorot_uniform", name="direction")
        constant = keras.initializers.Constant
        self.gain = self.add_weight(shape=(), initializer=constant(depth**-0.5), name="gain", autocast=False)
        self.bias = self.add_weight(
            shape=(), initializer=constant(self.config.initial_bias), name="bias", autocast=False
        )
        self.seed_generator = keras.random.SeedGenerator()

    def prepare(self, values: tf.Tensor, mask: tf.Tensor) -> Keys:
        return Keys(self.keys(values), values, mask)

    def begin(self, keys: Keys, queries: int | tf.Tensor = 1) -> Nest:
        batch, source = tf.unstack(tf.shape(keys.values)[:2])
        return tf.one_hot(tf.zeros([batch, 1], tf.int32), source)

    def call(self, query: tf.Tensor, keys: Keys, state: Nest = (), training: bool = False) -> Attended:
        energy, mask = self._energy(query, keys.keys), query_mask(keys.mask)
        if training and self.config.noise:
            # Philox by name: models/layers.py, Dropout.
            seed = tf.cast(self.seed_generator.next(), tf.int32)
            energy += self.config.noise * tf.random.stateless_normal(tf.shape(energy), seed, alg="philox")
        weights = expected(energy, mask, state) if training else first_stop(energy, mask, state)
        return Attended(mix(weights, keys.values), weights, weights)

    def _energy(self, query: tf.Tensor, keys: tf.Tensor) -> tf.Tensor:
        """[batch, query, depth], [batch, source, depth] -> float32 [batch, query, source]."""
        hidden = tf.tanh(every_pair(self.queries(query), keys))
        direction = tf.cast(self.direction, tf.float32)
        unit = tf.cast(direction / tf.norm(direction), hidden.dtype)
        return self.gain * tf.cast(tf.squeeze(multiply(hidden, unit), -1), tf.float32) + self.bias


def expected(energy: tf.Tensor, mask: tf.Tensor, before: tf.Tensor) -> tf.Tensor:
    """Raffel 2017, eq. 9: weights_j = p_j sum_{k <= j} before_k prod_{k <= l < j} (1 - p_l); [batch, query, source].

    Written as that sum, over a matrix of source by source, and not as the quotient of cumulative products of appendix
    C.1: there the product underflows after some sure positions, and what is left of the weights is wrong.
    """
    stop = tf.where(mask, tf.sigmoid(energy), 0.0)
    go_on = tf.where(mask, tf.maximum(-tf.nn.softplus(energy), _SURE), 0.0)  # log(1 - p)
    passed = tf.cumsum(go_on, axis=-1, exclusive=True)
    source = tf.range(tf.shape(energy)[-1])
    ahead = source[:, None] <= source[None, :]  # [from, to]
    walk = tf.exp(tf.where(ahead, passed[..., None, :] - passed[..., :, None], -1e30))  # [batch, query, from, to]
    return stop * tf.matmul(before[..., None, :], walk)[..., 0, :]


def first_stop(energy: tf.Tensor, mask: tf.Tensor, before: tf.Tensor) -> tf.Tensor:
    """One-hot at the first position from `before` (one-hot) on with p >= 0.5, or zeros; all [batch, query, source]."""
    stops = mask & (energy >= 0.0) & (tf.cumsum(before, axis=-1) > 0.0)
    return tf.cast(stops & (tf.cumsum(tf.cast(stops, tf.int32), axis=-1) == 1), tf.float32)
