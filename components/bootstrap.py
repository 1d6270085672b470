"""Is one model better than another, or did these rows only happen to say so? Paired bootstrap (Koehn 2004). Pure NumPy.

    statistics of 4 rows, right or not: champion 1 0 1 0, candidate 1 1 1 0
    -> Difference(champion=0.5, candidate=0.75, low=0.0, high=0.75): equal, for all that 4 rows can say

Rows are drawn again, with replacement and the same ones for both models, as if other rows had been held out; the
middle 95 % of the differences are the interval.
"""

from __future__ import annotations

import dataclasses
from typing import Literal

import numpy as np

from components.metrics import Metric

_ROWS_AT_ONCE = 10_000_000  # rows times resamples that are drawn together: 80 MB


@dataclasses.dataclass(frozen=True)
class Difference:
    """What a metric says of two models on the same rows.

    Attributes:
        champion: the metric of the one.
        candidate: the metric of the other.
        low: of the interval of the candidate's gain, which is positive where the candidate is better, whatever
            direction the metric has.
        high: the other end.
        confidence: of the interval.
    """

    champion: float
    candidate: float
    low: float
    high: float
    confidence: float

    @property
    def verdict(self) -> Literal["better", "worse", "equal"]:
        """Equal: zero is in the interval."""
        return "better" if self.low > 0 else "worse" if self.high < 0 else "equal"

    def words(self) -> str:
        """0.312 -> 0.298, better by 0.014 ±0.006 (95 %)."""
        around = f"±{(self.high - self.low) / 2:.2g} ({100 * self.confidence:g} %)"
        change = f"{self.champion:.4g} -> {self.candidate:.4g}"
        if self.verdict == "equal":
            return f"{change}, no difference that these rows could show, {around}"
        return f"{change}, {self.verdict} by {abs(self.candidate - self.champion):.2g} {around}"


def compare(
    metric: Metric,
    champion: np.ndarray,
    candidate: np.ndarray,
    confidence: float = 0.95,
    resamples: int = 1000,
    seed: int = 1,
) -> Difference:
    """Compare by a metric's statistics of the same rows: float64 [rows, k] of each model."""
    if champion.shape != candidate.shape or not len(champion):
        raise ValueError(f"expected statistics of the same rows, got {champion.shape} and {candidate.shape}")
    sign = 1.0 if metric.higher_is_better else -1.0
    both = np.concatenate([champion, candidate], axis=1)
    gains = []
    for sums in _resampled(both, resamples, np.random.default_rng(seed)):
        old, new = np.split(sums, 2)
        gains.append(sign * (metric.score(new) - metric.score(old)))
    tail = 100 * (1 - confidence) / 2
    low, high = np.percentile(gains, [tail, 100 - tail])
    old, new = np.split(both.sum(axis=0), 2)
    return Difference(metric.score(old), metric.score(new), float(low), float(high), confidence)


def _resampled(statistics: np.ndarray, resamples: int, draw: np.random.Generator) -> np.ndarray:
    """Sums over as many rows as there are, drawn with replacement: [rows, k] -> [resamples, k]."""
    rows = len(statistics)
    parts = []
    at_once = max(1, _ROWS_AT_ONCE // rows)
    for first in range(0, resamples, at_once):
        size = min(at_once, resamples - first)
        drawn = draw.integers(rows, size=(size, rows)) + rows * np.arange(size)[:, None]
        counts = np.bincount(drawn.ravel(), minlength=size * rows).reshape(size, rows)
        parts.append(counts @ statistics)
    return np.concatenate(parts)
