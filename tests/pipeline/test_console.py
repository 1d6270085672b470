"""Figures as the summary shows them."""

from __future__ import annotations

import pytest

from pipeline.report import figures


@pytest.mark.parametrize(
    ("name", "value", "shown"),
    [
        ("sequence_error_rate", 0.2912, "29.12%"),
        ("accuracy", 0.5, "50.00%"),
        ("alignment_accuracy", 0.99, "99.00%"),
        ("group_mean_sequence_error_rate", 0.16, "16.00%"),
        ("group_mean_rouge_l", 0.3456, "34.56%"),
        ("bleu", 38.1, "38.10"),
        ("bleu", float("nan"), "–"),
    ],
)
def test_fractions_are_shown_in_percent(name: str, value: float, shown: str) -> None:
    assert figures.figure(value, name) == shown
