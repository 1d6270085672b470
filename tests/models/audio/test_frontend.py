"""The first layer of a listener, whole: every option in eager mode, in a graph, and in half precision."""

from __future__ import annotations

import functools
import pathlib
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given
from hypothesis import strategies as st

from models.audio import Audio, SpecAugment
from models.audio.features import features_before_normalization
from models.audio.frontend import Frontend
from serving.allowed_ops import check_ops

SMALL: dict[str, Any] = {"sample_rate_hz": 1000, "hop_ms": 7.0, "frame_ms": 19.0, "bands": 5, "depth": 3}
OPTIONS: dict[str, dict[str, Any]] = {
    "recording": {},
    "global": {"normalize": "global", "deltas": 1},
    "none": {"normalize": "none", "deltas": 2, "spec_augment": SpecAugment()},
    "all": {"speeds": (0.9, 1.1), "spec_augment": SpecAugment(band_width=2), "deltas": 2},
}
CASES = [(kind, name) for kind in ("waveform", "features") for name in OPTIONS]


def audio_of(kind: str, name: str) -> Audio:
    dither = {"dither": 0.01} if (kind, name) == ("waveform", "all") else {}
    return Audio(kind=kind, **SMALL, **OPTIONS[name], **dither)  # type: ignore[arg-type]


def batch(audio: Audio, *counts: int, width: int = 0) -> np.ndarray:
    width = max(width, *counts)
    values = np.random.default_rng(7).uniform(-0.5, 0.5, (len(counts), 97, audio.frame_depth))[:, :width]
    mask = (np.arange(width) < np.array(counts)[:, np.newaxis])[..., np.newaxis]
    return np.concatenate([values * mask, mask], -1).astype(np.float32)


@pytest.mark.parametrize(("kind", "name"), CASES)
@pytest.mark.parametrize("training", [False, True])
def test_a_graph_says_what_eager_mode_says(kind: str, name: str, training: bool) -> None:
    audio = audio_of(kind, name)
    frames = batch(audio, 31, 13)
    answers = []
    for compiled in (False, True):
        keras.utils.set_random_seed(3)
        layer = Frontend(audio)
        call = functools.partial(layer, training=training)
        if compiled:
            call = tf.function(call, input_signature=[tf.TensorSpec([None, None, audio.frame_depth + 1])])
        answers.append(call(tf.constant(frames)))
    (features, mask), (others, other_mask) = answers
    assert features.shape == (*mask.shape, audio.feature_depth) == (*mask.shape, layer.depth)
    np.testing.assert_allclose(features, others, atol=1e-4)
    np.testing.assert_array_equal(mask, other_mask)
    assert np.isfinite(features.numpy()).all() and not features.numpy()[~mask.numpy()].any()
    if not (training and audio.speeds != (1.0,)):
        np.testing.assert_array_equal(mask, frames[..., -1] > 0.5)


@given(st.sampled_from(CASES), st.integers(1, 23), st.integers(0, 5))
def test_padding_and_other_rows_change_nothing(case: tuple[str, str], count: int, more: int) -> None:
    audio = audio_of(*case)
    layer = Frontend(audio)
    alone, _ = layer(batch(audio, count))
    together, mask = layer(batch(audio, count, 17, width=count + more))
    np.testing.assert_allclose(together[0, :count], alone[0], atol=1e-3)
    assert not mask[0, count:].numpy().any() and not together[0, count:].numpy().any()


def test_training_hears_otherwise_each_time_and_serving_never() -> None:
    audio = audio_of("waveform", "all")
    layer, frames = Frontend(audio), batch(audio, 31, 13)
    np.testing.assert_array_equal(layer(frames)[0], layer(frames)[0])
    heard = [layer(frames, training=True)[0].numpy().tobytes() for _ in range(5)]
    assert len(set(heard)) == 5


def test_global_statistics_are_what_was_given() -> None:
    audio = audio_of("waveform", "global")
    layer, frames = Frontend(audio), batch(audio, 31, 13)
    features, mask = features_before_normalization(tf.constant(frames), audio)
    np.testing.assert_allclose(layer(frames)[0], features, atol=1e-6)  # 0 and 1 before
    real = features.numpy()[mask.numpy()].astype(np.float64)
    layer.adapt(real.mean(0), real.var(0))
    got = layer(frames)[0].numpy()[mask.numpy()]
    np.testing.assert_allclose(got, (real - real.mean(0)) / real.std(0), atol=1e-3)
    assert not layer.trainable_weights and [w.name for w in layer.non_trainable_weights] == ["mean", "deviation"]


def test_statistics_are_weights_of_a_checkpoint(tmp_path: pathlib.Path) -> None:
    audio = audio_of("features", "global")
    one, other = Frontend(audio), Frontend(audio)
    one.adapt(np.arange(6.0), np.arange(1.0, 7.0))
    path = tf.train.Checkpoint(layer=one).save(str(tmp_path / "checkpoint"))
    tf.train.Checkpoint(layer=other).restore(path).assert_consumed()
    np.testing.assert_array_equal(other.mean, np.arange(6.0))
    np.testing.assert_allclose(other.deviation, np.arange(1.0, 7.0) ** 0.5)


def test_a_constant_number_of_all_rows_is_not_divided_by_zero() -> None:
    layer = Frontend(Audio(kind="features", depth=3, normalize="global"))
    layer.adapt([0.0, 1.0, 2.0], [0.0, 1.0, 1.0])
    assert np.isfinite(layer(batch(layer.audio, 5))[0].numpy()).all()


@pytest.mark.parametrize("policy", ["mixed_bfloat16", "mixed_float16"])
def test_features_are_computed_in_float32_and_cast_at_the_end(policy: str) -> None:
    audio = Audio(**SMALL)
    frames = batch(audio, 31, 13) * np.array([1e-4] * 7 + [1.0], np.float32)
    half, _ = Frontend(audio, dtype=policy)(frames)
    whole, _ = Frontend(audio)(frames)
    assert half.dtype == policy.removeprefix("mixed_")
    np.testing.assert_array_equal(half, tf.cast(whole, half.dtype))


@pytest.mark.parametrize("name", sorted(OPTIONS))
def test_masked_features_are_their_mean(name: str) -> None:
    """All frames of all bands: what is left says nothing but the mean."""
    always = SpecAugment(time_masks=97, time_width=97, time_share=1.0, band_masks=0)
    options = OPTIONS[name] | {"spec_augment": always, "speeds": (1.0,)}
    layer = Frontend(Audio(kind="features", depth=3, **options))
    frames = batch(layer.audio, 31)
    got = layer(frames, training=True)[0].numpy()[0]
    features, _ = features_before_normalization(tf.constant(frames), layer.audio)
    expected = features.numpy()[0].mean(0) if name == "none" else np.zeros(layer.depth)
    np.testing.assert_allclose(got, np.broadcast_to(expected, got.shape), atol=1e-5)


def test_a_saved_model_has_ops_that_a_server_has(tmp_path: pathlib.Path) -> None:
    layer = Frontend(audio_of("waveform", "all"))
    module = tf.Module()
    module.layer = layer
    module.serve = tf.function(
        lambda frames: dict(zip(("features", "mask"), layer(frames), strict=True)),
        input_signature=[tf.TensorSpec([None, None, 8])],
    )
    tf.saved_model.save(module, tmp_path / "export")
    check_ops(tmp_path / "export")
    frames = batch(layer.audio, 31, 13)
    got = tf.saved_model.load(tmp_path / "export").serve(tf.constant(frames))
    np.testing.assert_allclose(got["features"], layer(frames)[0], atol=1e-5)
