"""Features against NumPy written out and against librosa; padding changes none of them."""

from __future__ import annotations

import librosa
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given
from hypothesis import strategies as st

from models.audio import Audio
from models.audio.features import (
    LEAST_VARIANCE,
    deltas,
    features_before_normalization,
    log_mel,
    mask_of,
    mel_filters,
    normalize,
    to_frames,
    to_waveform,
)

SMALL = Audio(sample_rate_hz=1000, hop_ms=7.0, frame_ms=19.0, bands=5, deltas=2)  # 7 samples a hop, 19 a frame
CEPSTRA = Audio(kind="features", depth=3, deltas=2)


def noise(*shape: int) -> np.ndarray:
    return np.random.default_rng(sum(shape)).uniform(-0.5, 0.5, shape).astype(np.float32)


def alone(samples: np.ndarray, audio: Audio) -> tf.Tensor:
    return to_frames(samples[np.newaxis], [len(samples)], audio)


@given(st.lists(st.integers(0, 40), min_size=1, max_size=3), st.integers(0, 17))
def test_a_row_has_as_many_frames_as_its_hops_and_comes_back(lengths: list[int], more: int) -> None:
    samples = noise(len(lengths), max(lengths) + more)  # not silent beyond the lengths
    frames = to_frames(samples, lengths, SMALL).numpy()
    assert frames.shape == (len(lengths), -(-samples.shape[1] // 7), 8)
    waveforms = to_waveform(tf.constant(frames))
    for row, length in enumerate(lengths):
        count = -(-length // 7)
        assert frames[row, :, -1].tolist() == [1.0] * count + [0.0] * (frames.shape[1] - count)
        assert waveforms.lengths[row] == 7 * count
        np.testing.assert_array_equal(waveforms.samples[row, :length], samples[row, :length])
        assert not waveforms.samples[row, length:].numpy().any()


@pytest.mark.parametrize("rate_hz", [8_000, 16_000, 44_100])
@pytest.mark.parametrize(("bands", "lowest_hz", "share"), [(80, 20.0, 1.0), (23, 0.0, 0.9), (40, 64.0, 0.71)])
def test_filters_are_those_of_librosa(rate_hz: int, bands: int, lowest_hz: float, share: float) -> None:
    highest_hz = share * rate_hz / 2
    audio = Audio(sample_rate_hz=rate_hz, bands=bands, lowest_hz=lowest_hz, highest_hz=highest_hz)
    length = 2 * (mel_filters(audio).shape[0] - 1)
    expected = librosa.filters.mel(sr=rate_hz, n_fft=length, n_mels=bands, fmin=lowest_hz, fmax=highest_hz)
    np.testing.assert_allclose(mel_filters(audio).T, expected, atol=1e-8)


def test_bands_between_the_bins_are_refused() -> None:
    text = "of 300 bands from 20 to 8000 Hz, .* between the bins of 25 ms, which are 31.25 Hz apart .*: expected fewer"
    with pytest.raises(ValueError, match=text):
        mel_filters(Audio(bands=300))


@pytest.mark.parametrize("samples", [401, 16_000, 16_001])
def test_log_mel_is_that_of_librosa(samples: int) -> None:
    audio = Audio()
    x = noise(samples) * np.linspace(1e-3, 1, samples, dtype=np.float32)
    got = log_mel(alone(x, audio), audio).numpy()[0]
    emphasized = np.append(x[0] * (1 - 0.97), x[1:] - 0.97 * x[:-1])
    # Of our last hop, filled with zeros, the first has what pre-emphasis leaves of the sample before.
    emphasized = np.append(emphasized, -0.97 * x[-1:] if samples % 160 else [])
    frames = -(-samples // 160)
    padded = np.pad(emphasized, (0, (frames - 1) * 160 + 512 - len(emphasized)))
    # librosa puts the window in the middle of the FFT's length; a shift in time does not change the power.
    padded = np.pad(padded, (56, 0))[: len(padded)]
    energies = librosa.feature.melspectrogram(
        y=padded, sr=16_000, n_fft=512, win_length=400, hop_length=160, window="hann", center=False, power=2.0,
        n_mels=80, fmin=20.0, fmax=8_000.0, htk=False, norm="slaney",
    )  # fmt: skip
    assert got.shape == (frames, 80)
    np.testing.assert_allclose(got, np.log(np.maximum(energies.T, 1e-10)), atol=2e-3)


def test_log_mel_is_the_formula() -> None:
    x = noise(52)
    hops = np.pad(x, (0, 4))
    y = hops - SMALL.pre_emphasis * np.append(hops[0], hops[:-1])
    window = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(19) / 19)
    y = np.pad(y, (0, 19))
    power = [np.abs(np.fft.rfft(y[7 * t : 7 * t + 19] * window, 32)) ** 2 for t in range(8)]
    expected = np.log(np.maximum(np.array(power) @ mel_filters(SMALL), 1e-10))
    np.testing.assert_allclose(log_mel(alone(x, SMALL), SMALL)[0], expected, rtol=1e-4, atol=1e-4)


def test_silence_is_the_floor() -> None:
    got = log_mel(alone(np.zeros(29, np.float32), SMALL), SMALL)
    np.testing.assert_allclose(got, np.full([1, 5, 5], np.log(1e-10)), rtol=1e-6)


def test_deltas_are_those_of_htk() -> None:
    x = noise(7, 3)
    expected = [x]
    for _ in range(2):
        c = np.pad(expected[-1], [(2, 2), (0, 0)], mode="edge")
        at = [c[2 + k : 9 + k] for k in (-2, -1, 0, 1, 2)]
        expected.append((at[3] - at[1] + 2 * (at[4] - at[0])) / 10)
    got = deltas(x[np.newaxis], np.ones([1, 7], bool), 2)
    np.testing.assert_allclose(got[0], np.concatenate(expected, -1), atol=1e-6)


def test_deltas_of_a_slope_are_its_rise() -> None:
    slope = 0.7 * np.arange(11, dtype=np.float32)[np.newaxis, :, np.newaxis]
    got = deltas(slope, np.ones([1, 11], bool), 1)
    np.testing.assert_allclose(got[0, 2:-2, 1], np.full(7, 0.7), rtol=1e-5)


def test_normalization_is_of_the_real_frames() -> None:
    x, mask = 5 + 3 * noise(2, 11, 3), np.arange(11) < np.array([[11], [5]])
    got = normalize(tf.constant(x), tf.constant(mask)).numpy()
    for row, length in enumerate((11, 5)):
        own = x[row, :length]
        np.testing.assert_allclose(got[row, :length], (own - own.mean(0)) / own.std(0), atol=1e-4)
    assert not got[1, 5:].any()


def test_a_band_that_hardly_changes_is_not_blown_up() -> None:
    x = np.array([[[1.0, 2.0], [1.0, 2.0 + 2e-4]]], np.float32)
    got = normalize(tf.constant(x), tf.constant([[True, True]])).numpy()
    np.testing.assert_allclose(got[0, :, 0], [0.0, 0.0])
    np.testing.assert_allclose(got[0, :, 1], np.array([-1e-4, 1e-4]) / LEAST_VARIANCE**0.5, rtol=1e-2)


@given(st.integers(0, 60), st.integers(0, 5), st.booleans())
def test_padding_changes_nothing(length: int, more: int, waveform: bool) -> None:
    audio = SMALL if waveform else CEPSTRA
    real = noise(2, length, audio.frame_depth)
    if waveform:
        short = alone(real[0].reshape(-1)[:length], audio).numpy()
    else:
        short = np.concatenate([real[:1], np.ones([1, length, 1], np.float32)], -1)
    padded = np.pad(short, [(0, 0), (0, more), (0, 0)])

    def heard(frames: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        features, mask = features_before_normalization(tf.constant(frames), audio)
        return features.numpy(), normalize(features, mask).numpy()

    count = short.shape[1]
    for one, other in zip(heard(short), heard(padded), strict=True):
        assert one.shape == (1, count, audio.feature_depth)
        np.testing.assert_allclose(other[:, :count], one, atol=1e-4)
        assert not other[:, count:].any()


def test_features_that_are_there_already_are_left_alone() -> None:
    audio = Audio(kind="features", depth=3)
    frames = np.concatenate([noise(1, 5, 3), np.array([1, 1, 1, 0, 0], np.float32).reshape(1, 5, 1)], -1)
    features, mask = features_before_normalization(tf.constant(frames), audio)
    assert mask.numpy().tolist() == mask_of(frames).tolist() == [[True] * 3 + [False] * 2]
    np.testing.assert_array_equal(features[0, :3], frames[0, :3, :3])
    assert not features[0, 3:].numpy().any()
