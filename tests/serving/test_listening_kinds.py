"""Exports of other kinds: one that is given features, and classifiers of recordings and of texts."""

from __future__ import annotations

import pathlib

import numpy as np
import pytest
import tensorflow as tf

from models.audio import Audio
from models.contract import DECODER_IDS, END, SOURCE_IDS, START
from models.zoo import classifier
from serving.errors import ServingError
from serving.local import LocalModel
from serving.rebuild import rebuild
from serving.search import Decoding, Search
from tests.models.audio.files import wav_file
from tests.serving.exports import CLASSIFIER, LAS, TARGETS, TEXTS, exported, listening_export

DEPTH = 5
FEATURES = Audio(kind="features", depth=DEPTH, max_seconds=0.9, normalize="global")
WORDS = {word for text in TARGETS for word in text.split()}


def frames(count: int, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(count, DEPTH)).astype("<f4")


ROWS = [frames(23, 1), frames(61, 2)]
ASKED = [row.tobytes() for row in ROWS]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> LocalModel:
    path = tmp_path_factory.mktemp("features") / "1"
    return LocalModel(listening_export(path, Decoding(beam_size=2, max_length_ratio=0.3), FEATURES, LAS, ASKED))


def test_features_are_given_as_bytes_or_as_numbers(model: LocalModel) -> None:
    assert "features" in model.signatures and "waveform" not in model.signatures
    found = model.predict("serving_default", {"audio": ASKED})
    padded = np.stack([np.pad(row, [(0, 61 - len(row)), (0, 0)], constant_values=7) for row in ROWS])
    numbers = model.predict("features", {"features": padded, "length": [23, 61]})
    alone = [model.predict("serving_default", {"audio": [asked]}) for asked in ASKED]
    for other in (numbers, {name: np.concatenate([one[name] for one in alone]) for name in found}):
        assert other["text"].tolist() == found["text"].tolist()
        np.testing.assert_allclose(other["score"], found["score"], rtol=1e-4)


@pytest.mark.parametrize("bad", [b"", ASKED[0][:-4], wav_file(np.zeros(211))[:211]])
def test_what_is_no_whole_frames_is_refused(model: LocalModel, bad: bytes) -> None:
    message = f"row 1: expected little-endian float32, 5 a frame, so a multiple of 20 bytes, got {len(bad)}"
    with pytest.raises(ServingError, match=message):
        model.predict("serving_default", {"audio": [ASKED[0], bad]})


def test_a_recording_has_one_class(tmp_path: pathlib.Path) -> None:
    audio = Audio(sample_rate_hz=8000, bands=11, max_seconds=1.3)
    random = np.random.default_rng(5)
    wavs = [wav_file(0.1 * random.normal(size=samples), 8000) for samples in (1009, 8009)]
    path = listening_export(tmp_path / "1", Decoding(beam_size=3), audio, CLASSIFIER, wavs)
    model = LocalModel(path)
    found = model.predict("n_best", {"audio": wavs})
    assert all(len(set(row)) == 3 and set(row) <= WORDS for row in found["text"].tolist())
    alone = model.predict("serving_default", {"audio": wavs[:1]})
    assert alone["text"][0] == found["text"][0, 0]
    np.testing.assert_allclose(alone["score"][0], found["score"][0, 0], rtol=1e-4)
    with pytest.raises(ServingError, match="too long: at most 130 frames"):
        model.predict("serving_default", {"audio": [wav_file(np.zeros(16_001), 8000)]})


def test_answers_of_a_classifier_are_its_classes_with_their_log_probabilities() -> None:
    """Whatever the settings say of lengths: seven classes have no eighth answer."""
    model = classifier.build(classifier.Config(units=6, embedding=5), 17, 11)
    source = tf.constant([[5, 9, 7, 3], [6, 4, 3, 0]])
    found = Search(model, Decoding(beam_size=9).of(model))(source, answers=9)
    said = model({SOURCE_IDS: source, DECODER_IDS: np.full((2, 1), START)}).logits[:, 0]
    likeliest = -np.sort(-tf.nn.log_softmax(said).numpy()[:, END + 1 :])
    np.testing.assert_allclose(found.scores[:, :7], likeliest, atol=1e-5)
    assert (found.tokens[:, :7, 1].numpy() == END).all() and not found.tokens[:, :7, 2:].numpy().any()
    assert np.isneginf(found.scores[:, 7:]).all() and not found.tokens[:, 7:].numpy().any()


def test_a_text_has_one_class(tmp_path: pathlib.Path) -> None:
    path = exported(tmp_path / "1", Decoding(beam_size=3), CLASSIFIER, spread=0.5)
    model = LocalModel(path)
    assert model.input == "text"
    found = model.predict("n_best", {"text": TEXTS})
    assert all(len(set(row)) == 3 and set(row) <= WORDS for row in found["text"].tolist())
    alone = model.predict("serving_default", {"text": TEXTS[:1]})
    np.testing.assert_allclose(alone["score"][0], found["score"][0, 0], rtol=1e-4)
    assert rebuild(path).source is not None
