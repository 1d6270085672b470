"""The Beam combiner: every reference counts, each model has its own sum, and no rows are no score."""

from __future__ import annotations

import math

import numpy as np
from tensorflow_model_analysis.metrics import metric_types

from components.tfma_metrics import TextMetric, _SumOfRows


def strings(*texts: str) -> np.ndarray:
    return np.array([text.encode() for text in texts], dtype=object)


def combiner(model_name: str = "") -> _SumOfRows:
    key = metric_types.MetricKey(name="sequence_error_rate", model_name=model_name)
    return _SumOfRows(key, "word")


def score(sums: _SumOfRows, *rows: dict[str, object]) -> float:
    """The rows, added up in two accumulators that are merged."""
    parts = [sums.create_accumulator(), sums.create_accumulator()]
    for number, row in enumerate(rows):
        parts[number % 2] = sums.add_input(parts[number % 2], metric_types.StandardMetricInputs(row))
    (value,) = sums.extract_output(sums.merge_accumulators(parts)).values()
    return value


def test_an_answer_may_be_any_of_the_references() -> None:
    right = {"labels": strings("K AE T", "K AH T"), "predictions": {"text": strings("K AH T")}}
    wrong = {"labels": strings("K AE T"), "predictions": {"text": strings("K AH T")}}
    assert score(combiner(), right, wrong, right) == 1 / 3


def test_each_model_has_its_own_sum() -> None:
    labels = {"candidate": strings("a"), "baseline": strings("a")}
    row = {"labels": labels, "predictions": {"candidate": {"text": strings("a")}, "baseline": {"text": strings("b")}}}
    assert score(combiner("candidate"), row) == 0
    assert score(combiner("baseline"), row) == 1


def test_no_rows_are_no_score() -> None:
    assert math.isnan(score(combiner()))


def test_tfma_makes_a_sum_for_each_model() -> None:
    made = TextMetric("bleu", token_unit="character").computations(model_names=["candidate", "baseline"])
    assert {key.model_name for computation in made for key in computation.keys} == {"candidate", "baseline"}
