"""Hard attention: Xu 2015."""

from __future__ import annotations

import dataclasses
from typing import Annotated, Any, ClassVar

import keras
import numpy as np
import tensorflow as tf
from annotated_types import Ge, Le, Lt

from models.attention import Attended, Attention, Keys, masked_softmax, mix, query_mask
from models.attention.additive import Additive
from models.contract import Nest

_TINY = float(np.finfo(np.float32).tiny)
_UNDECIDED, _DRAWN, _SOFT = 0, 1, 2  # what the state says of a row


@dataclasses.dataclass(frozen=True)
class Config:
    """What training adds to the cross-entropy, in the paper's terms."""

    __pydantic_config__: ClassVar[dict[str, str]] = {"extra": "forbid"}

    reinforce_weight: Annotated[float, Ge(0)] = 1.0  # lambda_r
    entropy_weight: Annotated[float, Ge(0)] = 0.002  # lambda_e
    soft_share: Annotated[float, Ge(0), Le(1)] = 0.5  # of the rows, whose context is the expected one
    baseline_decay: Annotated[float, Ge(0), Lt(1)] = 0.9


class Hard(Attention):
    """A query looks at one position, drawn with the weights of additive attention: Xu 2015, section 4.1.

    In training the position is drawn (eq. 8) and the context is its value (eq. 9), or, for a share of the rows, the
    expected value; the weights are the probabilities. At test it is the likeliest position, and the weights are
    one-hot: scores [1., 3., 2.] -> context values[1], weights [0, 1, 0].

    No gradient goes through a draw. What teaches the scores is `loss` (REINFORCE: Williams 1992), the entropy, and the
    rows with an expected context. The state says which rows those are: a row is decided at its first query.
    """

    Config = Config

    def __init__(self, depth: int, value_depth: int, config: Any = None, **kwargs: Any) -> None:
        super().__init__(depth, value_depth, config, **kwargs)
        self.additive = Additive(depth, value_depth, name="additive")
        self.baseline = self.add_weight(
            shape=(), initializer="zeros", trainable=False, autocast=False, aggregation="mean", name="baseline"
        )
        self.seed_generator = keras.random.SeedGenerator()

    def prepare(self, values: tf.Tensor, mask: tf.Tensor) -> Keys:
        return self.additive.prepare(values, mask)

    def begin(self, keys: Keys, queries: int | tf.Tensor = 1) -> Nest:
        return tf.fill([tf.shape(keys.values)[0], queries], _UNDECIDED)

    def call(self, query: tf.Tensor, keys: Keys, state: Nest = (), training: bool = False) -> Attended:
        mask = query_mask(keys.mask)
        scores = tf.cast(self.additive.score(query, keys.keys), tf.float32)
        if not training:
            weights = _pick(scores, mask)
            return Attended(mix(weights, keys.values), weights, state, tf.zeros(tf.shape(weights)[:2]))
        # Gumbel 1954: the largest of log p + noise is a draw from p.
        drawn = _pick(scores - tf.math.log(-tf.math.log(self._uniform(tf.shape(scores)))), mask)
        decided = tf.where(self._uniform([tf.shape(scores)[0], 1]) < self.config.soft_share, _SOFT, _DRAWN)
        state = tf.where(state == _UNDECIDED, decided, state)
        soft = state == _SOFT
        weights = masked_softmax(scores, mask)
        context = mix(tf.where(soft[..., None], weights, drawn), keys.values)
        chance = tf.reduce_sum(drawn * weights, axis=-1)  # 0 where there is nothing to draw
        return Attended(context, weights, state, tf.math.log(tf.where(soft | (chance == 0.0), 1.0, chance)))

    def loss(
        self, weights: tf.Tensor, log_choice: tf.Tensor | None, log_likelihood: tf.Tensor, real: tf.Tensor
    ) -> tf.Tensor:
        """Xu 2015, section 4.1: lambda_r (log p - b) log s + lambda_e H(s), to be made large, so with a minus sign.

        The paper rewards every position of a sentence with the log-likelihood of all of it, which is right whatever a
        position changes later, and noisy. Here each is rewarded with that of its own piece: the same expectation where
        a context only goes into the prediction of its piece (attend after, no input feeding), and far less noise.
        """
        reward = tf.stop_gradient(log_likelihood) - self.baseline
        likely = tf.maximum(weights, _TINY)
        entropy = -tf.reduce_sum(weights * tf.math.log(likely), axis=-1)
        gained = self.config.reinforce_weight * reward * log_choice + self.config.entropy_weight * entropy
        loss = -tf.reduce_sum(tf.where(real, gained, 0.0))
        seen = tf.reduce_sum(tf.where(real, tf.stop_gradient(log_likelihood), 0.0))
        mean = tf.math.divide_no_nan(seen, tf.reduce_sum(tf.cast(real, tf.float32)))
        self.baseline.assign(self.baseline + (1.0 - self.config.baseline_decay) * (mean - self.baseline))
        return loss

    def _uniform(self, shape: Any) -> tf.Tensor:
        """Numbers between 0 and 1, float32. Philox by name: models/layers.py, Dropout."""
        seed = tf.cast(self.seed_generator.next(), tf.int32)
        return tf.random.stateless_uniform(shape, seed, minval=_TINY, alg="philox")


def _pick(scores: tf.Tensor, mask: tf.Tensor) -> tf.Tensor:
    """One-hot at the best score where the mask is True, zeros where it never is: float32 [batch, query, source]."""
    best = tf.argmax(tf.where(mask, scores, scores.dtype.min), axis=-1)
    return tf.where(mask, tf.one_hot(best, tf.shape(scores)[-1]), 0.0)
