"""An export that is made anew says the same, and searches as it is told."""

from __future__ import annotations

import dataclasses
import json
import pathlib
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from models.audio import Audio
from serving.card import Card
from serving.export import EXTRA
from serving.local import LocalModel
from serving.reexport import reexport
from serving.search import Buckets, Decoding
from serving.warmup import REQUESTS
from tests.serving.exports import CLASSIFIER, TEXTS, exported, listening_export

SETTINGS = Decoding(beam_size=3, max_length_ratio=1.0, max_length_offset=2)
SIGNATURES = ("serving_default", "n_best", "align")


def same(first: pathlib.Path, second: pathlib.Path, name: str, asked: list[str] | list[bytes]) -> None:
    models = LocalModel(first), LocalModel(second)
    for signature in SIGNATURES:
        before, after = (model.predict(signature, {name: asked}) for model in models)
        assert before["text"].tolist() == after["text"].tolist()
        np.testing.assert_allclose(before["score"], after["score"], rtol=1e-5)


def warmed_up(path: pathlib.Path) -> list[Any]:
    from tensorflow_serving.apis import prediction_log_pb2

    records = tf.data.TFRecordDataset(str(path / REQUESTS)).as_numpy_iterator()
    return [prediction_log_pb2.PredictionLog.FromString(record) for record in records]


def test_the_same_search_has_the_same_answers(tmp_path: pathlib.Path) -> None:
    saved = exported(tmp_path / "1", SETTINGS, spread=0.3)
    reexport(saved, tmp_path / "2", SETTINGS)
    same(saved, tmp_path / "2", "text", [*TEXTS, ""])
    assert warmed_up(saved) == warmed_up(tmp_path / "2")
    before, after = Card.read(saved), Card.read(tmp_path / "2")
    assert after == dataclasses.replace(before, export_id=after.export_id) and after.export_id != before.export_id


def test_another_search_of_the_same_weights(tmp_path: pathlib.Path) -> None:
    saved = exported(tmp_path / "1", SETTINGS, spread=0.3)
    wide = Decoding(beam_size=5, max_length_ratio=1.0, max_length_offset=2, compiled=Buckets((1,), (8,)))
    reexport(saved, tmp_path / "2", wide)
    reexport(tmp_path / "2", tmp_path / "3", SETTINGS)  # and back
    model = LocalModel(tmp_path / "2")
    assert model.predict("n_best", {"text": TEXTS[:1]})["text"].shape == (1, 5) and "without_xla" in model.signatures
    assert json.loads((tmp_path / "2" / EXTRA / "fovea.json").read_text())["decoding"]["beam_size"] == 5
    same(saved, tmp_path / "3", "text", TEXTS)


def test_a_model_that_listens(tmp_path: pathlib.Path) -> None:
    audio = Audio(kind="features", depth=3)
    heard = [np.full((frames, 3), 0.1 * frames, "<f4").tobytes() for frames in (4, 9)]
    saved = listening_export(tmp_path / "1", SETTINGS, audio, CLASSIFIER, heard)
    reexport(saved, tmp_path / "2", SETTINGS)
    same(saved, tmp_path / "2", "audio", heard)
    assert warmed_up(saved) == warmed_up(tmp_path / "2")


def test_what_is_there_is_left_alone(tmp_path: pathlib.Path) -> None:
    with pytest.raises(FileExistsError, match="is there already"):
        reexport(tmp_path / "1", tmp_path, SETTINGS)
    with pytest.raises(ValueError, match="expected a SavedModel that fovea exported"):
        reexport(tmp_path / "1", tmp_path / "2", SETTINGS)
