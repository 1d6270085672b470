"""Attention mechanisms, found by name: a query looks at the keys and takes away a weighted mean of the values.

One row, a query that agrees with the second of three keys, the third of which is padding::

    query [[4., 0.]], values [[0., 1.], [1., 0.], [7., 7.]], mask [True, True, False]
    -> weights [[0.02, 0.98, 0.]], context [[0.98, 0.02]]
"""

from __future__ import annotations

import abc
from typing import NamedTuple

import keras
import tensorflow as tf

from models.layers import Dense

# The score of a position that must not be attended: finite, so that a row without any key gives zeros and not NaN.
_NEVER = -1e30


class Keys(NamedTuple):
    """What is attended to, prepared once for every query that will come."""

    keys: tf.Tensor  # [batch, source, depth], what a query is scored against
    values: tf.Tensor  # [batch, source, depth], what the context is made of
    mask: tf.Tensor  # bool [batch, source], True = attend


class Attended(NamedTuple):
    """What a query takes away."""

    context: tf.Tensor  # [batch, query, depth]
    weights: tf.Tensor  # float32 [batch, query, source], rows sum to 1 (to 0 where the mask is all False)


def masked_softmax(scores: tf.Tensor, mask: tf.Tensor) -> tf.Tensor:
    """Softmax over the last axis where the mask (bool, broadcast to the scores) is True, zero elsewhere; in float32."""
    weights = tf.nn.softmax(tf.where(mask, tf.cast(scores, tf.float32), _NEVER))
    return tf.where(mask, weights, 0.0)


class Attention(keras.layers.Layer, abc.ABC):
    """Scores, softmax, weighted mean. A subclass says how a query is scored, and what of that can be done beforehand.

    `depth` is that of the queries and of the space in which they are scored, `value_depth` that of the values.
    """

    def __init__(self, depth: int, value_depth: int, **kwargs: object) -> None:
        super().__init__(**kwargs)
        self.depth = depth
        self.value_depth = value_depth
        self.built = True  # every weight is made in a constructor

    def prepare(self, values: tf.Tensor, mask: tf.Tensor) -> Keys:
        """Do once what depends on no query: values [batch, source, value_depth], bool [batch, source] -> Keys."""
        return Keys(self.project_keys(values), values, mask)

    @abc.abstractmethod
    def project_keys(self, values: tf.Tensor) -> tf.Tensor:
        """[batch, source, value_depth] -> what `score` takes as its keys, [batch, source, depth]."""

    @abc.abstractmethod
    def score(self, query: tf.Tensor, keys: tf.Tensor) -> tf.Tensor:
        """[batch, query, depth] and [batch, source, depth] -> [batch, query, source], any real number."""

    def call(self, query: tf.Tensor, keys: Keys) -> Attended:
        """[batch, query, depth] -> Attended. The query axis is time in training and the beam in decoding."""
        weights = masked_softmax(self.score(query, keys.keys), keys.mask[:, None, :])
        return Attended(tf.matmul(tf.cast(weights, keys.values.dtype), keys.values), weights)


class Additive(Attention):
    """score = v . tanh(W query + U key): Bahdanau 2015, A.1.2; Luong 2015, eq. 8, "concat".

    Luong's W [query; key] is the same function as the sum of two projections: the papers differ in when they ask
    (before or after the decoder's step), not in what.
    """

    def __init__(self, depth: int, value_depth: int, **kwargs: object) -> None:
        super().__init__(depth, value_depth, **kwargs)
        self.queries = Dense(depth, depth, use_bias=False, name="queries")
        self.keys = Dense(value_depth, depth, use_bias=False, name="keys")
        self.energy = Dense(depth, 1, use_bias=False, name="energy")

    def project_keys(self, values: tf.Tensor) -> tf.Tensor:
        return self.keys(values)

    def score(self, query: tf.Tensor, keys: tf.Tensor) -> tf.Tensor:
        hidden = tf.tanh(self.queries(query)[:, :, None, :] + keys[:, None, :, :])  # [batch, query, source, depth]
        return self.energy(hidden)[..., 0]


class Dot(Attention):
    """score = query . key: Luong 2015, eq. 8, "dot"."""

    def __init__(self, depth: int, value_depth: int, **kwargs: object) -> None:
        if depth != value_depth:
            raise ValueError(
                f"dot attention compares queries and values as they are: their depths must be equal, "
                f"got {depth} and {value_depth}; general attention takes any"
            )
        super().__init__(depth, value_depth, **kwargs)

    def project_keys(self, values: tf.Tensor) -> tf.Tensor:
        return values

    def score(self, query: tf.Tensor, keys: tf.Tensor) -> tf.Tensor:
        return tf.matmul(query, keys, transpose_b=True)


class General(Attention):
    """score = query . W key: Luong 2015, eq. 8, "general". W is on the keys' side, so it is done once."""

    def __init__(self, depth: int, value_depth: int, **kwargs: object) -> None:
        super().__init__(depth, value_depth, **kwargs)
        self.keys = Dense(value_depth, depth, use_bias=False, name="keys")

    def project_keys(self, values: tf.Tensor) -> tf.Tensor:
        return self.keys(values)

    def score(self, query: tf.Tensor, keys: tf.Tensor) -> tf.Tensor:
        return tf.matmul(query, keys, transpose_b=True)


ATTENTIONS: dict[str, type[Attention]] = {"additive": Additive, "concat": Additive, "dot": Dot, "general": General}
