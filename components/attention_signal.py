"""Attention as a signal: a few numbers of many alignments, in training and in evaluation, and whether it collapsed.

weights [[0.9, 0.1], [0.1, 0.9]] of one row, and others -> {"attention_entropy": 0.3, "attention_evenness": 0.5,
"attention_coverage": 0.9, "attention_coverage_gap": 0.0, "attention_diagonality": 0.8, "attention_peak": 0.5}
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

import numpy as np

from components import alignment_quality

ENTROPY, COVERAGE = "attention_entropy", "attention_coverage"
EVENNESS, GAP = "attention_evenness", "attention_coverage_gap"
DIAGONALITY, PEAK = "attention_diagonality", "attention_peak"
NAMES = (ENTROPY, EVENNESS, COVERAGE, GAP, DIAGONALITY, PEAK)

# A short row cannot tell attention that collapsed from attention with little to choose from.
LEAST_TARGET, LEAST_SOURCE = 4, 4
EVEN, ONE_PLACE = 0.95, 0.9


@dataclasses.dataclass
class Signal:
    """Sums over rows: [of the measure, of what it is a mean over] each."""

    entropy: np.ndarray = dataclasses.field(default_factory=lambda: np.zeros(2))  # nats, target pieces
    evenness: np.ndarray = dataclasses.field(default_factory=lambda: np.zeros(2))  # shares, target pieces
    coverage: np.ndarray = dataclasses.field(default_factory=lambda: np.zeros(2))  # covered, source tokens
    gaps: np.ndarray = dataclasses.field(default_factory=lambda: np.zeros(2))  # without attention, source tokens
    diagonality: np.ndarray = dataclasses.field(default_factory=lambda: np.zeros(2))  # correlations, rows
    peak: np.ndarray = dataclasses.field(default_factory=lambda: np.zeros(2))  # shares, rows

    def add(self, attention: np.ndarray, looked: np.ndarray | None = None) -> None:
        """Add a row.

        Args:
            attention: [target pieces, source pieces], END among them.
            looked: [target pieces, source tokens and END], where tokens are more than a piece.
        """
        if not attention.any():
            return
        tokens = attention if looked is None else looked
        self.entropy += _sum(alignment_quality.entropy(attention))
        self.coverage += _sum(alignment_quality.coverage(tokens))
        self.gaps += _sum(alignment_quality.gaps(tokens))
        diagonality = alignment_quality.diagonality(attention)
        if not np.isnan(diagonality):
            self.diagonality += diagonality, 1
        if attention.shape[0] >= LEAST_TARGET and attention.shape[1] >= LEAST_SOURCE:
            self.evenness += _sum(alignment_quality.evenness(attention))
            self.peak += alignment_quality.peak(attention), 1

    def metrics(self) -> dict[str, float]:
        """Means, of what there is any of: nothing for a model without attention."""
        sums = (self.entropy, self.evenness, self.coverage, self.gaps, self.diagonality, self.peak)
        return {name: float(total / number) for name, (total, number) in zip(NAMES, sums, strict=True) if number}


def _sum(values: np.ndarray) -> tuple[float, int]:
    return float(values.sum()), len(values)


def collapsed(metrics: Mapping[str, float]) -> tuple[str, ...]:
    """What to warn of: attention that says nothing of where answers come from."""
    found = []
    if metrics.get(EVENNESS, 0) > EVEN:
        found.append(
            f"attention is spread evenly over the source: its entropy is {metrics[EVENNESS]:.0%} of the greatest"
        )
    if metrics.get(PEAK, 0) > ONE_PLACE:
        found.append(f"attention has collapsed: {metrics[PEAK]:.0%} of it is on one piece of the source")
    return tuple(found)
