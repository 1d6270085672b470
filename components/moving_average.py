"""A moving average of the weights, which is what is validated and kept while training goes on from the weights."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence

import tensorflow as tf


class MovingAverage:
    """average <- d average + (1 - d) weights after each update (Polyak 1992; Szegedy 2016, section 8).

    d is min(decay, (1 + t) / (10 + t)) at update t, counted from 0: the weights at the start, which are random, are
    soon forgotten. With a decay of 0 there is no average and the weights stand for themselves.
    """

    def __init__(self, weights: Sequence[tf.Variable], decay: float) -> None:
        self._weights = list(weights) if decay else []
        self._decay = decay
        self.averages = [tf.Variable(weight, trainable=False) for weight in self._weights]

    def update(self, number: tf.Tensor) -> None:
        """Take in the weights after update `number`, int64 []; it may run in a graph."""
        if not self._weights:
            return
        time = tf.cast(number, tf.float32)
        share = 1.0 - tf.minimum(self._decay, (1.0 + time) / (10.0 + time))
        for average, weight in zip(self.averages, self._weights, strict=True):
            average.assign_add(share * (weight - average))

    @contextlib.contextmanager
    def in_place(self) -> Iterator[None]:
        """Within the body, the weights are their averages."""
        self._swap()
        try:
            yield
        finally:
            self._swap()

    def _swap(self) -> None:
        for average, weight in zip(self.averages, self._weights, strict=True):
            kept = tf.identity(weight)
            weight.assign(average)
            average.assign(kept)
