"""The verdict in words, and the EvalConfig that TFMA judges by."""

from __future__ import annotations

import dataclasses
import json
import pathlib

import numpy as np
import pytest

from components import evaluator
from components.bootstrap import Difference
from components.evaluator_component import _prediction_line
from components.metrics import Name as MetricName
from components.tfma_config import eval_config
from pipeline import config as configuration

CONFIG = evaluator.Config(
    metrics=("token_error_rate", "bleu"), thresholds={"token_error_rate": 0.14, "bleu": 30}, compare={"bleu": 0.5}
)


SCORES = {"token_error_rate": 0.131, "bleu": 28.0}


def bleu(low: float, high: float) -> dict[MetricName, Difference]:
    return {"bleu": Difference(champion=29.0, candidate=28.0, low=low, high=high, confidence=0.95)}


def test_what_does_not_hold_is_said_first() -> None:
    assert evaluator.judge(CONFIG, SCORES, bleu(-1.5, -0.6), {"bleu"}, {}) == [
        ("bleu 28, wanted at least 30: not met", False),
        ("bleu 29 -> 28, worse by 1 ±0.45 (95 %): allowed is 0.5", False),
        ("token_error_rate 0.131, wanted at most 0.14: met", True),
    ]


@pytest.mark.parametrize(
    ("low", "high", "not_worse", "better"),
    [(-1.5, -0.6, False, False), (-1.5, -0.4, True, False), (-1.5, 0.2, True, False), (0.1, 0.9, True, True)],
)
def test_a_candidate_may_be_worse_by_the_margin_or_must_be_better(
    low: float, high: float, not_worse: bool, better: bool
) -> None:
    for bless, holds in (("not_worse", not_worse), ("better", better)):
        config = evaluator.Config(metrics=("bleu",), compare={"bleu": 0.5}, bless=bless)  # type: ignore[arg-type]
        (judged,) = evaluator.judge(config, SCORES, bleu(low, high), set(), {})
        assert judged.holds == holds, judged.sentence


SLICES = {
    "source_length:1-4": {"rows": 90, "bleu": 21.0},
    "source_length:5-8": {"rows": 31, "bleu": 19.0},
    "source_length:9-16": {"rows": 29, "bleu": 1.0},
    "group:fr": {"rows": 40, "bleu": 24.0},
}


def test_each_slice_with_rows_enough_is_held_against_its_floor() -> None:
    floors = {"source_length": {"bleu": 20.0}, "group:fr": {"bleu": 24.0}}
    config = evaluator.Config(metrics=("bleu",), slices=("source_length", "group"), floors=floors)  # type: ignore[arg-type]
    assert evaluator.judge(config, SCORES, {}, set(), SLICES) == [
        ("source_length:5-8 (31 rows): bleu 19, wanted at least 20: not met", False),
        ("source_length:1-4 (90 rows): bleu 21, wanted at least 20: met", True),
        ("group:fr (40 rows): bleu 24, wanted at least 24: met", True),
        ("no other blessed model to compare with", True),
    ]


def test_a_floor_under_nothing_is_refused() -> None:
    with pytest.raises(
        ValueError, match=r"floors name group:fr, expected one of `slices`, source_length, rarest_piece"
    ):
        evaluator.Config(floors={"group:fr": {"bleu": 20}})
    with pytest.raises(ValueError, match=r"floors.source_length names ter, which `metrics` does not list"):
        evaluator.Config(floors={"source_length": {"ter": 20}})


def test_the_verdict_in_one_sentence() -> None:
    sentence = "bleu 28 -> 29, better by 1 ±0.6 (95 %)"
    assert evaluator.Verdict(7, True, (sentence,), {}, {}, {}).words() == f"{sentence}: blessed"
    assert (
        evaluator.Verdict(7, False, ("bleu 2: not met", sentence), {}, {}, {}).words() == "bleu 2: not met: not blessed"
    )


def test_without_a_champion_there_is_nothing_to_compare_with() -> None:
    assert evaluator.judge(CONFIG, SCORES, {}, set(), {})[-1].sentence == "no other blessed model to compare with"
    (only,) = evaluator.judge(evaluator.Config(metrics=("bleu",)), SCORES, {}, set(), {})
    assert only == ("no other blessed model to compare with, and evaluation.thresholds is empty", True)


def test_thresholds_hold_for_all_rows_and_not_for_each_slice() -> None:
    (spec,) = eval_config(CONFIG, "word").metrics_specs
    by_name = {metric.config: metric for metric in spec.metrics}
    rate = by_name['{"name": "token_error_rate", "token_unit": "word"}']
    assert not rate.HasField("threshold")
    (threshold,) = rate.per_slice_thresholds
    assert [list(part.feature_keys) for part in threshold.slicing_specs] == [[]]
    assert threshold.threshold.value_threshold.upper_bound.value == 0.14
    bleu = by_name['{"name": "bleu", "token_unit": "word"}'].per_slice_thresholds[0].threshold
    assert bleu.value_threshold.lower_bound.value == 30 and not bleu.HasField("change_threshold")


def test_a_bar_for_what_is_not_measured_is_refused() -> None:
    with pytest.raises(ValueError, match="thresholds and compare name chrf, ter, which"):
        evaluator.Config(metrics=("bleu",), thresholds={"chrf": 1}, compare={"ter": 1})


def test_what_is_compared_follows_what_is_measured() -> None:
    assert evaluator.Config(metrics=("bleu", "chrf")).margins == {"bleu": 0.0}
    assert evaluator.Config(metrics=("bleu",), compare={}).margins == {}


def test_groups_are_sliced_by_and_each_counts_once() -> None:
    config = evaluator.Config(metrics=("bleu",), slices=("group", "source_length"))
    assert [list(spec.feature_keys) for spec in eval_config(config, "word").slicing_specs] == [
        [], ["group"], ["source_length"],
    ]  # fmt: skip
    slices = {
        "group:de": {"rows": 300, "bleu": 20.0, "ter": 7.0},
        "group:fr": {"rows": 1, "bleu": 41.0, "ter": 5.0},
        "source_length:1-4": {"rows": 301, "bleu": 99.0, "ter": 99.0},
    }
    assert evaluator.group_means(slices) == {"group_mean_bleu": 30.5, "group_mean_ter": 6.0}
    assert evaluator.group_means({"source_length:1-4": {"rows": 3, "bleu": 1.0}}) == {}


@pytest.mark.parametrize("name", ["alignment_accuracy", "attention_entropy", "group_mean_bleu"])
def test_no_bar_for_what_is_added_to_the_metrics(name: str) -> None:
    document = {
        "name": "a", "data": {"source": {"name": "cmudict"}}, "evaluation": {"thresholds": {name: 0.5}},
    }  # fmt: skip
    with pytest.raises(configuration.ConfigError, match=rf'evaluation.thresholds.*"{name}" is not known; .*allowed: '):
        configuration.parse(document, "a.yaml")


def test_a_decoded_row_keeps_its_group_and_alignment_where_it_has_them() -> None:
    def array(*texts: str) -> np.ndarray:
        return np.array([text.encode() for text in texts], dtype=object)

    features = {"source": array("aé"), "references": array("A", "É")}
    extracts = {"features": features, "predictions": {"candidate": {"text": array("A")}}}
    row = {"source": "aé", "references": ["A", "É"], "prediction": "A"}
    assert json.loads(_prediction_line(extracts)) == row
    features |= {"group": array(""), "alignment": None}
    assert json.loads(_prediction_line(extracts)) == row
    features |= {"group": array("kor"), "alignment": array("0-0")}
    assert json.loads(_prediction_line(extracts)) == row | {"group": "kor", "alignment": "0-0"}
    extracts["predictions"]["baseline"] = {"text": array("B")}
    assert json.loads(_prediction_line(extracts))["champion"] == "B"


def test_a_verdict_survives_its_file(tmp_path: pathlib.Path) -> None:
    verdict = evaluator.Verdict(7, True, ("fine",), {"bleu": 1.5}, {}, {"source_length:1-4": {"rows": 3, "bleu": 2.0}})
    verdict = dataclasses.replace(verdict, differences=bleu(-0.5, 0.5), signatures={"bleu": "nrefs:1"})
    verdict.write(tmp_path)
    assert evaluator.Verdict.read(tmp_path) == verdict
