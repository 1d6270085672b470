"""Which models a candidate can be compared with."""

from __future__ import annotations

import pathlib

import pytest
from tfx.types import standard_artifacts
from tfx.utils import path_utils

from components import champion
from serving.card import Card


@pytest.mark.parametrize(
    ("before", "now", "compared"),
    [
        ({}, {}, True),
        ({"decoding": {"max_source_length": 64}}, {"decoding": {"max_source_length": 64}}, True),
        ({"decoding": {"max_source_length": 65}}, {"decoding": {"max_source_length": 64}}, True),
        ({"decoding": {"max_source_length": 63}}, {"decoding": {"max_source_length": 64}}, False),
        ({"audio": {"max_seconds": 2.0}}, {"audio": {"max_seconds": 2.0}}, True),
        ({"audio": {"max_seconds": 2.0}}, {"audio": {"max_seconds": 3.0}}, False),
        ({"audio": {"max_seconds": 2.0}}, {}, False),
        ({}, {"audio": {"max_seconds": 2.0}}, False),
    ],
)
def test_a_champion_takes_what_the_candidate_takes(
    before: dict[str, dict[str, float]], now: dict[str, dict[str, float]], compared: bool, tmp_path: pathlib.Path
) -> None:
    models = []
    for name, facts in (("before", before), ("now", now)):
        model = standard_artifacts.Model()
        model.uri = str(tmp_path / name)
        exported = pathlib.Path(path_utils.serving_model_path(model.uri))
        exported.mkdir(parents=True)
        Card("m", name, "word", **facts).write(exported)
        models.append(champion._asked(model))
    assert champion._answers(*models) is compared
