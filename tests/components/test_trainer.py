"""What `run_fn` is made of: the models of a precision."""

from __future__ import annotations

import dataclasses
import pathlib

import keras
import numpy as np
import pytest
import tensorflow as tf

from components import batches, tokenizer, trainer, training
from models.audio import Audio
from models.contract import AUDIO, DECODER_IDS, FEATURE_MEAN, FEATURE_VARIANCE, SOURCE_IDS, TARGET_IDS
from serving.search import Decoding
from serving.sources import Recordings

MODEL = {"name": "rnn", "units": 6, "embedding": 5, "dropout": 0.0}
INPUTS = {SOURCE_IDS: np.array([[4, 5, 3], [6, 3, 0]], np.int32), DECODER_IDS: np.array([[2, 4], [2, 5]], np.int32)}


@pytest.fixture(scope="module")
def data() -> trainer.Data:
    pieces = tokenizer.train({"AE": 7, "B": 6, "K": 5, "T": 3}, tokenizer.Pieces(kind="word"))
    return trainer.Data([], [], tokenizer.Tokenizers(pieces, pieces))


def config(**options: str) -> trainer.Config:
    return trainer.Config(
        "unused", MODEL, training.Config(**options), Decoding(), "word", ("bpe", "char"), None, "unused", "none", "none"
    )


def test_without_mixed_precision_there_is_one_model(data: trainer.Data) -> None:
    model, exported = trainer._models(config(), data)
    assert model is exported


def test_mixed_precision_ends_where_the_export_begins(data: trainer.Data) -> None:
    keras.utils.set_random_seed(3)
    model, exported = trainer._models(config(precision="mixed_bfloat16"), data)
    assert keras.config.dtype_policy().name == "float32"
    layers = [layer for layer in model._flatten_layers(include_self=False) if layer.name != "logits"]
    assert "mixed_bfloat16" in {layer.dtype_policy.name for layer in layers}
    assert {layer.dtype_policy.name for layer in exported._flatten_layers()} == {"float32"}
    assert all(weight.dtype == "float32" for weight in model.weights)
    exported.set_weights(model.get_weights())
    rounded, exact = model(INPUTS).logits.numpy(), exported(INPUTS).logits.numpy()
    np.testing.assert_allclose(rounded, exact, atol=0.02)
    assert np.abs(rounded - exact).max() > 1e-5


def test_a_score_is_made_where_it_is_asked_for(data: trainer.Data) -> None:
    model, _ = trainer._models(config(), data)
    assert trainer._score(config(), model, [], data.tokenizers) is None
    score = trainer._score(config(stop_on="chrf"), model, [], data.tokenizers)
    assert score is not None and score.name == "chrf"


def test_checkpoints_are_found_by_all_that_they_depend_on(tmp_path: pathlib.Path) -> None:
    base = dataclasses.replace(config(), checkpoints=str(tmp_path))
    changed = [
        base,
        dataclasses.replace(base, training=training.Config(ema=0.9)),
        dataclasses.replace(base, decoding=Decoding(max_length_offset=7)),
        dataclasses.replace(base, token_unit="character"),
        dataclasses.replace(base, code="other"),
        dataclasses.replace(base, model=MODEL | {"units": 7}),
    ]
    rows, others = tmp_path / "rows", tmp_path / "others"
    rows.write_text("a")
    others.write_text("a")
    found = {trainer._checkpoint_dir(each, [str(rows)]) for each in changed}
    found |= {trainer._checkpoint_dir(base, [str(others)]), trainer._checkpoint_dir(base, [str(rows), str(others)])}
    assert len(found) == len(changed) + 2
    assert trainer._checkpoint_dir(dataclasses.replace(base), [str(rows)]) in found
    rows.write_text("ab")  # the same name, and other rows
    assert trainer._checkpoint_dir(base, [str(rows)]) not in found


HEARD = Audio(kind="features", depth=3, normalize="global")
MEAN, VARIANCE = [2.0, -3.0, 5.0], [4.0, 9.0, 0.25]


@pytest.fixture
def recorded(tmp_path: pathlib.Path, data: trainer.Data) -> trainer.Data:
    """Eleven recordings, as Transform leaves them, to train and to validate on."""
    path = str(tmp_path / "rows.gz")
    with tf.io.TFRecordWriter(path, "GZIP") as writer:
        for number in range(11):
            content = np.full((5, 3), number, "<f4").tobytes()
            features = {
                AUDIO: tf.train.Feature(bytes_list=tf.train.BytesList(value=[content])),
                TARGET_IDS + batches.RAGGED: tf.train.Feature(int64_list=tf.train.Int64List(value=[5, 3])),
                FEATURE_MEAN: tf.train.Feature(float_list=tf.train.FloatList(value=MEAN)),
                FEATURE_VARIANCE: tf.train.Feature(float_list=tf.train.FloatList(value=VARIANCE)),
            }
            writer.write(tf.train.Example(features=tf.train.Features(feature=features)).SerializeToString())
    return trainer.Data([path], [path], tokenizer.Tokenizers(b"", data.tokenizers.target_model))


@pytest.mark.parametrize("precision", ["float32", "mixed_bfloat16"])
def test_a_model_that_listens_takes_the_statistics_of_the_train_rows(recorded: trainer.Data, precision: str) -> None:
    listens = dataclasses.replace(
        config(precision=precision), model={"name": "classifier", "units": 6, "dropout": 0.0}, audio=HEARD
    )
    for model in trainer._models(listens, recorded):
        np.testing.assert_allclose(model.frontend.mean, MEAN)
        np.testing.assert_allclose(model.frontend.deviation, np.sqrt(VARIANCE))
    source = trainer._source(listens, recorded, "nowhere")
    assert isinstance(source, Recordings) and source.audio == HEARD


def test_a_class_is_one_piece() -> None:
    one = {TARGET_IDS: np.array([[5, 3], [7, 3]])}
    trainer._require_classes([one])
    with pytest.raises(ValueError, match="a validation row has 2: name it in one word"):
        trainer._require_classes([one, {TARGET_IDS: np.array([[5, 3, 0], [7, 9, 3]])}])


def test_a_server_is_warmed_up_with_validation_rows(recorded: trainer.Data) -> None:
    warmup = trainer._warmup(recorded, HEARD)
    assert warmup == [np.full((5, 3), number, "<f4").tobytes() for number in range(trainer.WARMUP_ROWS)]
