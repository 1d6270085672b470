"""A source as one vector, for a model that says one thing about all of it, and what each position had to do with it.

values [1, 3, depth], mask [[True, True, False]] -> Pooled(vector [1, depth], weights [[[0.9, 0.1, 0.]]])
"""

from __future__ import annotations

import abc
from typing import Literal, NamedTuple

import keras
import tensorflow as tf

from models.attention import masked_softmax, mix
from models.layers import Dense

_LOWEST = -1e30


class Pooled(NamedTuple):
    """A source in short."""

    vector: tf.Tensor  # [batch, depth of the pooling]
    weights: tf.Tensor  # float32 [batch, hops, source], rows sum to 1, to 0 where there is no position


class Pooling(keras.layers.Layer, abc.ABC):
    """Values of `value_depth` in, one vector of `depth` out."""

    def __init__(self, value_depth: int, hops: int = 1, **kwargs: object) -> None:
        super().__init__(**kwargs)
        self.value_depth, self.hops = value_depth, hops
        self.depth = value_depth * hops
        self.built = True  # every weight is made in a constructor

    @abc.abstractmethod
    def call(self, values: tf.Tensor, mask: tf.Tensor) -> Pooled:
        """[batch, source, value_depth] and bool [batch, source] -> Pooled."""

    def penalty(self, weights: tf.Tensor) -> tf.Tensor:
        """What a row's weights cost: float32 [batch, hops, source] -> float32 [batch]."""
        return tf.zeros_like(weights[:, 0, 0])


class Attentive(Pooling):
    """Zhou 2016, eq. 9 to 12: h* = tanh(r), r = sum_i alpha_i h_i, alpha = softmax(w . tanh(h))."""

    def __init__(self, value_depth: int, hops: int = 1, **kwargs: object) -> None:
        super().__init__(value_depth, hops, **kwargs)
        self.energy = Dense(value_depth, 1, use_bias=False, name="energy")

    def call(self, values: tf.Tensor, mask: tf.Tensor) -> Pooled:
        pooled = _weighted(self.energy(tf.tanh(values)), values, mask)
        return pooled._replace(vector=tf.tanh(pooled.vector))


class Structured(Pooling):
    """Lin 2017, eq. 5 to 7: several hops, each with an eye for something else: A = softmax(W2 tanh(W1 H))."""

    def __init__(self, value_depth: int, hops: int = 1, **kwargs: object) -> None:
        super().__init__(value_depth, hops, **kwargs)
        self.hidden = Dense(value_depth, value_depth, "tanh", use_bias=False, name="hidden")
        self.energy = Dense(value_depth, hops, use_bias=False, name="energy")

    def call(self, values: tf.Tensor, mask: tf.Tensor) -> Pooled:
        return _weighted(self.energy(self.hidden(values)), values, mask)

    def penalty(self, weights: tf.Tensor) -> tf.Tensor:
        """Eq. 8: ||A A^T - I||^2 (Frobenius), the less the fewer positions two hops share and a hop spreads over."""
        alike = tf.matmul(weights, weights, transpose_b=True) - tf.eye(self.hops)
        return tf.reduce_sum(alike**2, axis=[1, 2])


class Gated(Pooling):
    """Ilse 2018, eq. 9: alpha = softmax(w . (tanh(V h) * sigmoid(U h))), * by element."""

    def __init__(self, value_depth: int, hops: int = 1, **kwargs: object) -> None:
        super().__init__(value_depth, hops, **kwargs)
        self.content = Dense(value_depth, value_depth, "tanh", use_bias=False, name="content")
        self.gate = Dense(value_depth, value_depth, "sigmoid", use_bias=False, name="gate")
        self.energy = Dense(value_depth, 1, use_bias=False, name="energy")

    def call(self, values: tf.Tensor, mask: tf.Tensor) -> Pooled:
        return _weighted(self.energy(self.content(values) * self.gate(values)), values, mask)


class Highest(Pooling):
    """The maximum of each unit over the positions (Collobert 2011, eq. 7).

    As weight a position has its share of the units that have their maximum there: its saliency.
    """

    def call(self, values: tf.Tensor, mask: tf.Tensor) -> Pooled:
        real = tf.where(mask[..., None], tf.cast(values, tf.float32), _LOWEST)
        places = tf.argmax(real, axis=1, output_type=tf.int32)  # [batch, value_depth]
        shares = tf.reduce_mean(tf.one_hot(places, tf.shape(mask)[1]), axis=1)
        vector = tf.where(tf.reduce_any(mask, axis=1, keepdims=True), tf.reduce_max(real, axis=1), 0.0)
        return Pooled(tf.cast(vector, values.dtype), tf.where(mask, shares, 0.0)[:, None])


PoolingName = Literal["attention", "structured", "gated", "max"]
POOLINGS: dict[PoolingName, type[Pooling]] = {
    "attention": Attentive,
    "structured": Structured,
    "gated": Gated,
    "max": Highest,
}


def _weighted(scores: tf.Tensor, values: tf.Tensor, mask: tf.Tensor) -> Pooled:
    """[batch, source, hops] -> the weighted means of the hops beside each other, and the weights."""
    weights = masked_softmax(tf.transpose(scores, [0, 2, 1]), mask[:, None])
    means = mix(weights, values)
    return Pooled(tf.reshape(means, [tf.shape(means)[0], means.shape[1] * means.shape[2]]), weights)
