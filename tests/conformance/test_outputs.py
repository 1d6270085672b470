"""What every model family promises of its outputs, for every family and for each of its shapes in `families.py`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from models import zoo
from models.contract import DECODER_IDS, END
from tests.conformance.families import (
    BATCH,
    CONFIGS,
    EVERY,
    TARGET,
    TARGET_VOCABULARY,
    batch,
    build,
    resting,
    teacher_forced,
)

SOMETIMES_NOTHING = ("none", "monotonic")  # may attend to nothing at all


def test_every_family_is_checked() -> None:
    assert sorted(CONFIGS) == zoo.families(), "a family of models/zoo has no entry in CONFIGS, or the reverse"


@pytest.mark.parametrize(("family", "options"), EVERY)
def test_what_a_batch_gives(family: str, options: dict[str, Any]) -> None:
    model = resting(family, str(options))
    inputs, target = batch(model)
    logits, attention = model(inputs)[:2]
    mask = model.source_mask(inputs[model.source.name])
    assert (logits.shape, logits.dtype) == ((*target.shape, TARGET_VOCABULARY), tf.float32)
    assert (attention.shape, attention.dtype) == ((*target.shape, mask.shape[1]), tf.float32)
    looked = tf.reduce_sum(attention, axis=-1)
    if options.get("attention") in SOMETIMES_NOTHING:
        assert np.all(looked < 1 + 1e-5)
    else:
        np.testing.assert_allclose(looked, np.ones(target.shape), atol=1e-5)
    padding = np.broadcast_to(~np.asarray(mask)[:, None], attention.shape)
    assert not attention.numpy()[padding].any()


@pytest.mark.parametrize(("family", "options"), EVERY)
def test_a_step_says_what_the_whole_says(family: str, options: dict[str, Any]) -> None:
    model, forced = resting(family, str(options)), teacher_forced(family, str(options))
    inputs, _ = batch(model)
    # Two hypotheses a row: the row's own pieces and the pieces of the row before it.
    said = [inputs[DECODER_IDS], np.roll(inputs[DECODER_IDS], 1, axis=0)]
    wholes = [forced({**inputs, DECODER_IDS: ids}) for ids in said]
    memory, decoder = model.encode(tf.constant(inputs[model.source.name])), tf.stack(said, axis=1)
    state = tf.nest.map_structure(lambda leaf: tf.repeat(leaf[:, None], 2, axis=1), model.start(memory, TARGET))
    for time in range(decoder.shape[2]):
        step = model.step(decoder[:, :, time], state, memory)
        tf.nest.assert_same_structure(step.state, state)
        state = step.state
        assert step.logits.shape == (BATCH, 2, TARGET_VOCABULARY)
        for beam, whole in enumerate(wholes):
            np.testing.assert_allclose(step.logits[:, beam], whole.logits[:, time], atol=1e-4)
            np.testing.assert_allclose(step.attention[:, beam], whole.attention[:, time], atol=1e-5)


@pytest.mark.parametrize(("family", "options"), EVERY)
@settings(max_examples=5, deadline=None)
@given(seed=st.integers(0, 2**16), source=st.integers(0, 3), target=st.integers(0, 3))
def test_padding_never_changes_an_output(
    family: str, options: dict[str, Any], seed: int, source: int, target: int
) -> None:
    model, forced = resting(family, str(options)), teacher_forced(family, str(options))
    inputs, _ = batch(model, seed)
    logits, attention = forced(inputs)[:2]
    more = zip(inputs.items(), (source, target), strict=True)
    padded = forced({name: np.pad(x, [(0, 0), (0, n), (0, 0)][: x.ndim]) for (name, x), n in more})
    _, steps, positions = attention.shape
    np.testing.assert_allclose(padded.logits[:, :steps], logits, atol=1e-4)
    np.testing.assert_allclose(padded.attention[:, :steps, :positions], attention, atol=1e-5)


@pytest.mark.parametrize(("family", "options"), EVERY)
@settings(max_examples=5, deadline=None)
@given(seed=st.integers(0, 2**16), time=st.integers(0, TARGET - 1))
def test_the_future_never_changes_the_past(family: str, options: dict[str, Any], seed: int, time: int) -> None:
    model, forced = resting(family, str(options)), teacher_forced(family, str(options))
    inputs, _ = batch(model, seed)
    logits, attention = forced(inputs)[:2]
    other = inputs[DECODER_IDS].copy()
    other[:, time:] = np.random.default_rng(seed).integers(END + 1, TARGET_VOCABULARY, other[:, time:].shape)
    changed = forced({**inputs, DECODER_IDS: other})
    np.testing.assert_allclose(changed.logits[:, :time], logits[:, :time], atol=1e-5)
    np.testing.assert_allclose(changed.attention[:, :time], attention[:, :time], atol=1e-5)


@pytest.mark.parametrize(("family", "options"), EVERY)
def test_dropout_is_for_training_only(family: str, options: dict[str, Any]) -> None:
    model = build(family, options, dropout=0.5)
    inputs, _ = batch(model)
    expected = model(inputs).logits
    np.testing.assert_array_equal(model(inputs, training=False).logits, expected)
    assert np.abs(model(inputs, training=True).logits - expected).max() > 1e-3


@pytest.mark.parametrize(("family", "options"), EVERY)
def test_weights_are_saved_and_restored(family: str, options: dict[str, Any], tmp_path: Path) -> None:
    model, other, third = (build(family, options) for _ in range(3))
    inputs, _ = batch(model)
    expected = model(inputs).logits
    assert np.abs(other(inputs).logits - expected).max() > 1e-3
    saved = tf.train.Checkpoint(model=model).save(str(tmp_path / "weights"))
    tf.train.Checkpoint(model=other).restore(saved).assert_consumed()
    np.testing.assert_array_equal(other(inputs).logits, expected)
    model.save_weights(tmp_path / "model.weights.h5")
    third.load_weights(tmp_path / "model.weights.h5")
    np.testing.assert_array_equal(third(inputs).logits, expected)
