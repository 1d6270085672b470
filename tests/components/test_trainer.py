"""What `run_fn` is made of: the models of a precision."""

from __future__ import annotations

import dataclasses
import pathlib

import keras
import numpy as np
import pytest

from components import tokenizer, trainer, training
from components.tracking_store import Store
from models.contract import DECODER_IDS, SOURCE_IDS
from serving.search import Decoding

MODEL = {"name": "rnn", "units": 6, "embedding": 5, "dropout": 0.0}
INPUTS = {SOURCE_IDS: np.array([[4, 5, 3], [6, 3, 0]], np.int32), DECODER_IDS: np.array([[2, 4], [2, 5]], np.int32)}


@pytest.fixture(scope="module")
def tokenizers() -> tokenizer.Tokenizers:
    pieces = tokenizer.train({"AE": 7, "B": 6, "K": 5, "T": 3}, tokenizer.Pieces(kind="word"))
    return tokenizer.Tokenizers(pieces, pieces)


def config(**options: str) -> trainer.Config:
    store = Store("sqlite:///unused.db", "", "unused", "")
    return trainer.Config(
        "unused", MODEL, training.Config(**options), Decoding(), "word", ("bpe", "char"), store, "unused", "unused"
    )


def test_without_mixed_precision_there_is_one_model(tokenizers: tokenizer.Tokenizers) -> None:
    model, exported = trainer._models(config(), tokenizers)
    assert model is exported


def test_mixed_precision_ends_where_the_export_begins(tokenizers: tokenizer.Tokenizers) -> None:
    keras.utils.set_random_seed(3)
    model, exported = trainer._models(config(precision="mixed_bfloat16"), tokenizers)
    assert keras.config.dtype_policy().name == "float32"
    layers = [layer for layer in model._flatten_layers(include_self=False) if layer.name != "logits"]
    assert "mixed_bfloat16" in {layer.dtype_policy.name for layer in layers}
    assert {layer.dtype_policy.name for layer in exported._flatten_layers()} == {"float32"}
    assert all(weight.dtype == "float32" for weight in model.weights)
    exported.set_weights(model.get_weights())
    rounded, exact = model(INPUTS).logits.numpy(), exported(INPUTS).logits.numpy()
    np.testing.assert_allclose(rounded, exact, atol=0.02)
    assert np.abs(rounded - exact).max() > 1e-5


def test_a_score_is_made_where_it_is_asked_for(tokenizers: tokenizer.Tokenizers) -> None:
    model, _ = trainer._models(config(), tokenizers)
    assert trainer._score(config(), model, [], tokenizers) is None
    score = trainer._score(config(stop_on="chrf"), model, [], tokenizers)
    assert score is not None and score.name == "chrf"


def test_checkpoints_are_found_by_all_that_they_depend_on(tmp_path: pathlib.Path) -> None:
    base = dataclasses.replace(config(), checkpoints=str(tmp_path))
    changed = [
        base,
        dataclasses.replace(base, training=training.Config(ema=0.9)),
        dataclasses.replace(base, decoding=Decoding(max_length_offset=7)),
        dataclasses.replace(base, token_unit="character"),
        dataclasses.replace(base, code="other"),
    ]
    assert len({trainer._checkpoint_dir(each, ["rows"]) for each in changed}) == len(changed)
    assert trainer._checkpoint_dir(base, ["rows"]) == trainer._checkpoint_dir(dataclasses.replace(base), ["rows"])
