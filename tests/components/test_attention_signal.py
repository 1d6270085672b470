"""What attention looks like in a few numbers, and how one sees that it collapsed."""

from __future__ import annotations

import numpy as np
import pytest

from components import alignment_quality, attention_signal
from components.attention_signal import Signal


def of(*rows: np.ndarray) -> dict[str, float]:
    signal = Signal()
    for row in rows:
        signal.add(row)
    return signal.metrics()


def test_attention_on_the_diagonal() -> None:
    metrics = of(np.eye(7))
    assert metrics == pytest.approx(
        {
            "attention_entropy": 0, "attention_evenness": 0, "attention_coverage": 1, "attention_coverage_gap": 0,
            "attention_diagonality": 1, "attention_peak": 1 / 7,
        }
    )  # fmt: skip
    assert attention_signal.collapsed(metrics) == ()
    assert of(np.eye(7)[::-1])["attention_diagonality"] == pytest.approx(-1)


def test_attention_that_is_spread_evenly_is_warned_of() -> None:
    metrics = of(np.full((5, 11), 1 / 11))
    assert metrics["attention_evenness"] == pytest.approx(1) and metrics["attention_diagonality"] == pytest.approx(0)
    assert metrics["attention_coverage"] == pytest.approx(5 / 11) and metrics["attention_coverage_gap"] == 0
    (warning,) = attention_signal.collapsed(metrics)
    assert warning == "attention is spread evenly over the source: its entropy is 100% of the greatest"


def test_attention_on_one_place_is_warned_of() -> None:
    weights = np.zeros((5, 11))
    weights[:, 3] = 1
    metrics = of(weights)
    assert metrics["attention_peak"] == 1 and metrics["attention_diagonality"] == 0
    assert metrics["attention_coverage_gap"] == pytest.approx(9 / 10)  # END is no token
    assert attention_signal.collapsed(metrics) == ("attention has collapsed: 100% of it is on one piece of the source",)


def test_a_short_row_has_little_to_choose_from() -> None:
    metrics = of(np.full((2, 3), 1 / 3), np.ones((3, 1)))
    assert "attention_evenness" not in metrics and "attention_peak" not in metrics
    assert attention_signal.collapsed(metrics) == ()


def test_no_attention_is_no_number() -> None:
    assert of(np.zeros((5, 7))) == {} and of() == {}


def test_measures_by_hand() -> None:
    weights = np.array([[0.5, 0.5, 0.0], [0.0, 0.0, 1.0]])
    assert alignment_quality.evenness(weights) == pytest.approx([np.log(2) / np.log(3), 0])
    assert alignment_quality.gaps(np.array([[0.5, 0.0, 0.5]])).tolist() == [False, True]
    # Target places 0 and 1, source places 0, 1, 2 with masses 1/4, 1/4, 1/2: r = cov / (0.5 * sqrt(11/16)).
    assert alignment_quality.diagonality(weights) == pytest.approx(0.375 / (0.5 * np.sqrt(11 / 16)))
    assert np.isnan(alignment_quality.diagonality(np.array([[0.5, 0.5]])))
    assert alignment_quality.peak(np.array([[0.5, 0.5], [0.0, 1.0]])) == 0.75
