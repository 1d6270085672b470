"""What training does to recordings: how much of it, how often, and never to padding."""

from __future__ import annotations

import fractions
import math

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given
from hypothesis import strategies as st

from models.audio import Audio, SpecAugment, augment
from models.audio.features import to_frames, to_waveform

WAVE = Audio(sample_rate_hz=1000, hop_ms=7.0, frame_ms=19.0, bands=5, dither=0.03)
CEPSTRA = Audio(kind="features", depth=3)


def recordings(audio: Audio, *counts: int) -> tf.Tensor:
    values = np.random.default_rng(1).uniform(-0.5, 0.5, (len(counts), max(counts), audio.frame_depth))
    mask = np.arange(max(counts)) < np.array(counts)[:, np.newaxis]
    return tf.constant(np.concatenate([values * mask[..., np.newaxis], mask[..., np.newaxis]], -1), tf.float32)


def at(audio: Audio, speed: float) -> Audio:
    return Audio(kind=audio.kind, sample_rate_hz=1000, hop_ms=7.0, frame_ms=19.0, bands=5, depth=3, speeds=(speed,))


def test_dither_is_noise_of_its_deviation_where_the_recording_is() -> None:
    frames = recordings(WAVE, 701, 503)
    added = (augment.dither(frames, WAVE, [3, 5]) - frames).numpy()
    assert not added[1, 503:].any() and not added[..., -1].any()
    assert abs(added[0, :, :-1].std() - 0.03) < 1e-3 and abs(added[0, :, :-1].mean()) < 2e-3
    np.testing.assert_array_equal(augment.dither(frames, WAVE, [3, 5]) - frames, added)
    assert (augment.dither(frames, WAVE, [3, 7]) - frames != added).numpy().any()


@pytest.mark.parametrize("audio", [WAVE, CEPSTRA], ids=lambda audio: audio.kind)
@given(st.sampled_from([0.5, 0.9, 1.0, 1.1, 1.25]), st.integers(1, 23), st.integers(1, 23))
def test_rows_get_shorter_or_longer_each_by_itself(audio: Audio, speed: float, first: int, second: int) -> None:
    frames = recordings(audio, first, second)
    played = augment.change_speed(frames, at(audio, speed), [1, 2]).numpy()
    for row, count in enumerate((first, second)):
        hop = audio.hop_samples if audio.kind == "waveform" else 1
        expected = math.ceil(math.ceil(round(count * hop / speed, 9)) / hop)
        assert played[row, :, -1].tolist() == [1.0] * expected + [0.0] * (played.shape[1] - expected)
        assert not played[row, expected:].any()
        single = augment.change_speed(frames[row : row + 1, :count], at(audio, speed), [1, 2])
        np.testing.assert_allclose(played[row, :expected], single[0], atol=1e-5)


@pytest.mark.parametrize("speed", [0.9, 1.1])
def test_a_faster_waveform_is_higher(speed: float) -> None:
    sine = np.sin(2 * np.pi * 0.05 * np.arange(700)).astype(np.float32)
    frames = augment.change_speed(to_frames(sine[np.newaxis], [700], WAVE), at(WAVE, speed), [1, 2])
    got = to_waveform(frames).samples[0].numpy()[100:500]
    np.testing.assert_allclose(got, np.sin(2 * np.pi * 0.05 * speed * np.arange(100, 500)), atol=1e-3)


@pytest.mark.parametrize("speed", [0.9, 1.1])
def test_features_are_interpolated_in_time(speed: float) -> None:
    frames = recordings(CEPSTRA, 17)
    got = augment.change_speed(frames, at(CEPSTRA, speed), [1, 2]).numpy()[0]
    times = np.minimum(np.arange(len(got)) * speed, 16)
    for column in range(4):
        np.testing.assert_allclose(got[:, column], np.interp(times, range(17), frames[0, :, column]), atol=1e-5)


def test_lengths_of_long_recordings_are_exact() -> None:
    samples = 48_000 * 45  # times the speed's denominator they are more than int32 has
    assert int(augment._length(tf.constant(samples), fractions.Fraction(937, 1000))) == math.ceil(samples / 0.937)


def test_every_speed_is_drawn_by_the_seed() -> None:
    audio = Audio(kind="features", depth=3, speeds=(0.5, 1.0, 2.0))
    play = tf.function(
        lambda frames, seed: augment.change_speed(frames, audio, seed),
        input_signature=[tf.TensorSpec([None, None, 4]), tf.TensorSpec([2], tf.int32)],
    )
    drawn = [play(recordings(CEPSTRA, 6), [seed, 0]).shape[1] for seed in range(60)]
    assert {12, 6, 3} == set(drawn) and min(map(drawn.count, (12, 6, 3))) > 8
    assert drawn == [play(recordings(CEPSTRA, 6), [seed, 0]).shape[1] for seed in range(60)]


SETTINGS = SpecAugment(time_masks=1, time_width=7, time_share=0.4, band_masks=1, band_width=3)


def masks(settings: SpecAugment, rows: int, length: int, bands: int, seed: int) -> np.ndarray:
    """Where it masks: bool [rows, length + 5 of padding, 2 bands]."""
    mask = tf.tile(tf.range(length + 5)[tf.newaxis] < length, [rows, 1])
    ones = tf.ones([rows, length + 5, 2 * bands])
    return augment.spec_augment(ones, mask, settings, bands, 0.0, [seed, 1]).numpy() == 0


def widths_of(hidden: np.ndarray) -> list[int]:
    """bool [rows, places] -> how wide the stretch of each row is, which must be one."""
    for row in hidden:
        assert (np.diff(np.pad(row.astype(int), 1)) == 1).sum() <= 1
    return hidden.sum(1).tolist()


@given(st.integers(1, 40), st.integers(0, 1000))
def test_masks_are_as_wide_as_they_may_and_never_in_padding(length: int, seed: int) -> None:
    hidden = masks(SETTINGS, 5, length, 11, seed)
    assert not hidden[:, length:].any()
    np.testing.assert_array_equal(hidden[..., :11], hidden[..., 11:])  # the derivatives with their bands
    in_time, in_bands = hidden[:, :length].all(2), hidden[:, :length].all(1)[:, :11]
    np.testing.assert_array_equal(hidden[:, :length, :11], in_time[..., np.newaxis] | in_bands[:, np.newaxis])
    if not in_bands.all(1).any() and not in_time.all(1).any():
        assert max(widths_of(in_time)) <= min(7, math.floor(0.4 * length + 1e-4))
        assert max(widths_of(in_bands)) <= 3


def test_all_widths_and_all_places_come_up_evenly_and_rows_differ() -> None:
    hidden = masks(SETTINGS, 4001, 23, 11, 3)[:, :23, :11]
    in_time, in_bands = hidden.all(2), hidden.all(1)
    for stretches, widest in ((in_time, 7), (in_bands, 3)):
        shares = np.bincount(widths_of(stretches)) / 4001
        np.testing.assert_allclose(shares, np.full(widest + 1, 1 / (widest + 1)), atol=0.03)
        assert stretches[:, 0].any() and stretches[:, -1].any()


def test_there_are_as_many_masks_as_asked_for_and_they_become_the_mean() -> None:
    none = SpecAugment(time_masks=0, band_masks=0)
    assert not masks(none, 3, 23, 11, 1).any()
    narrow = SpecAugment(time_masks=3, time_width=1, band_masks=0)
    counts = masks(narrow, 501, 97, 11, 1).all(2)[:, :97].sum(1)
    assert counts.max() == 3 and abs(counts.mean() - 1.5) < 0.15
    mean = tf.reshape(tf.range(1.0, 12.0), [1, 1, 11])
    got = augment.spec_augment(
        tf.zeros([3, 29, 11]), tf.ones([3, 29], tf.bool), SpecAugment(), 11, mean, [1, 2]
    ).numpy()
    expected = np.broadcast_to(mean, got.shape)
    assert got.any()
    np.testing.assert_array_equal(got[got != 0], expected[got != 0])
