"""Every model family is searched for its answers, in every shape of `families.py`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from models import walk
from models.contract import DECODER_IDS, START
from models.decoding import Hypotheses
from models.losses import label_smoothed_cross_entropy
from tests.conformance.families import BATCH, COMPILED, EVERY, batch, build, decode, length_of, resting, teacher_forced


@pytest.mark.parametrize(("family", "options"), EVERY)
def test_the_scores_of_a_search_are_those_of_its_answers(family: str, options: dict[str, Any]) -> None:
    """A state that does not follow its hypothesis, or has room for too few steps, gives others."""
    model, forced = resting(family, str(options)), teacher_forced(family, str(options))
    source = batch(model)[0][model.source.name]
    found = decode(model, tf.constant(source))
    for beam in range(found.tokens.shape[1]):
        target = found.tokens[:, beam].numpy()
        decoder = np.concatenate([np.full((BATCH, 1), START, np.int32), target[:, :-1]], axis=1)
        logits = forced({model.source.name: source, DECODER_IDS: decoder}).logits
        total, _ = label_smoothed_cross_entropy(target, logits, 0.0)
        lengths = np.count_nonzero(target, axis=1)
        scores = found.scores[:, beam] * ((5 + lengths) / 6) ** 0.6
        np.testing.assert_allclose(-np.sum(scores), total, rtol=1e-4)


@pytest.mark.parametrize(("family", "options"), EVERY)
def test_a_row_alone_is_decoded_as_in_a_batch(family: str, options: dict[str, Any]) -> None:
    model = resting(family, str(options))
    source = batch(model)[0][model.source.name]
    together = decode(model, tf.constant(source))
    for row in range(BATCH):
        alone = decode(model, tf.constant(source[row : row + 1, : length_of(source[row])]))
        np.testing.assert_array_equal(alone.tokens[0], together.tokens[row])
        np.testing.assert_allclose(alone.scores[0], together.scores[row], rtol=1e-4)


@pytest.mark.parametrize(("family", "options"), EVERY)
def test_a_saved_model_decodes_alike(
    family: str, options: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(walk, "ROOM", 2)  # the state grows
    model = resting(family, str(options))

    class Export(tf.Module):
        def __init__(self) -> None:
            super().__init__()
            self.model = model

        @tf.function(input_signature=[model.source])
        def decode(self, source: tf.Tensor) -> Hypotheses:
            return decode(model, source, leaving="any")

    tf.saved_model.save(Export(), str(tmp_path))
    loaded = tf.saved_model.load(str(tmp_path))
    for seed in range(2):
        source = tf.constant(batch(model, seed)[0][model.source.name])
        found, expected = loaded.decode(source), decode(model, source)
        np.testing.assert_array_equal(found.tokens, expected.tokens)
        np.testing.assert_allclose(found.scores, expected.scores, rtol=1e-4)


@pytest.mark.parametrize(("family", "options"), EVERY)
def test_frozen_weights_say_the_same(family: str, options: dict[str, Any]) -> None:
    model = build(family, options)
    source = tf.constant(batch(model)[0][model.source.name])
    expected = decode(model, source)
    frozen = model.freeze()
    found = decode(model, source)
    np.testing.assert_array_equal(found.tokens, expected.tokens)
    np.testing.assert_allclose(found.scores, expected.scores, rtol=1e-4)
    assert not any(variable.trainable for variable in frozen)
    for variable in frozen:  # it is read
        variable.assign(tf.random.stateless_normal(variable.shape, (1, 2)))
    if frozen:
        assert np.abs(decode(model, source).scores - found.scores).max() > 1e-3


@pytest.mark.parametrize(("family", "options"), COMPILED)
def test_decoding_compiles_with_xla(family: str, options: dict[str, Any]) -> None:
    model = resting(family, str(options))
    source = tf.constant(batch(model)[0][model.source.name])
    search = tf.function(lambda heard: decode(model, heard, leaving="halves"), jit_compile=True, autograph=False)
    found = search(source)
    expected = decode(model, source)
    np.testing.assert_array_equal(found.tokens, expected.tokens)
    np.testing.assert_allclose(found.scores, expected.scores, rtol=1e-4)
