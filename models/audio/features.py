"""Frames of a recording -> features: pre-emphasis, log-mel, deltas, normalisation. Padding changes none of them.

waveform [1, 16000], lengths [16000] -> frames [1, 100, 160 + 1] -> log-mel [1, 100, 80] -> with deltas [1, 100, 240]
"""

from __future__ import annotations

import functools

import numpy as np
import tensorflow as tf

from models.audio import Audio
from models.audio.wav import Waveforms

QUIETEST = 1e-10  # of a band's energy: what a silence of zeros has
DELTA_REACH = 2  # frames on each side that a derivative is computed from
LEAST_VARIANCE = 1e-5  # a band that hardly changes is not blown up to noise


def to_frames(samples: tf.Tensor, lengths: tf.Tensor, audio: Audio) -> tf.Tensor:
    """Waveforms as they cross boundaries: float32 [n, samples], int32 [n] -> float32 [n, frames, hop + 1].

    A row has ceil(length / hop) frames, the last filled up with 0; frames is that of `samples`.
    """
    hop, lengths = audio.hop_samples, tf.convert_to_tensor(lengths)
    samples = tf.where(tf.sequence_mask(lengths, tf.shape(samples)[1]), samples, 0.0)
    samples = tf.pad(samples, [[0, 0], [0, -tf.shape(samples)[1] % hop]])
    rows, frames = tf.shape(samples)[0], tf.shape(samples)[1] // hop
    mask = tf.sequence_mask(-(-lengths // hop), frames, tf.float32)
    return tf.concat([tf.reshape(samples, [rows, frames, hop]), mask[..., tf.newaxis]], -1)


def to_waveform(frames: tf.Tensor) -> Waveforms:
    """What `to_frames` made them from, but that every row is as long as its frames."""
    rows, count, hop = tf.shape(frames)[0], tf.shape(frames)[1], frames.shape[-1] - 1
    lengths = tf.reduce_sum(tf.cast(mask_of(frames), tf.int32), 1) * hop
    return Waveforms(tf.reshape(frames[..., :-1], [rows, count * hop]), lengths)


def mask_of(frames: tf.Tensor) -> tf.Tensor:
    """float32 [batch, frames, depth + 1] -> bool [batch, frames], True where a frame is part of the recording."""
    return frames[..., -1] > 0.5


def features_before_normalization(frames: tf.Tensor, audio: Audio) -> tuple[tf.Tensor, tf.Tensor]:
    """What a model hears but for normalisation, and what the statistics over all train rows are computed of.

    float32 [batch, frames, depth + 1] -> (float32 [batch, frames, feature depth], 0 in padding; bool [batch, frames])
    """
    mask = mask_of(frames)
    features = log_mel(frames, audio) if audio.kind == "waveform" else frames[..., :-1]
    return masked(deltas(features, mask, audio.deltas), mask), mask


def masked(features: tf.Tensor, mask: tf.Tensor) -> tf.Tensor:
    """[batch, frames, depth], 0 in padding."""
    return tf.where(mask[..., tf.newaxis], features, tf.zeros([], features.dtype))


def log_mel(frames: tf.Tensor, audio: Audio) -> tf.Tensor:
    """Waveforms [batch, frames, hop + 1] -> natural logarithms of the energies of mel bands [batch, frames, bands].

    Frame t is of the `frame_samples` samples from hop t on, with zeros beyond the end of the recording: as librosa's
    melspectrogram with center=False, power=2, a periodic Hann window and the next power of two as the FFT's length.
    """
    mask = mask_of(frames)
    size = audio.frame_samples
    hops = masked(_emphasize(frames[..., :-1], audio.pre_emphasis), mask)
    overlap = -(-size // audio.hop_samples)  # hops that a frame lies over
    rows, count = tf.shape(hops)[0], tf.shape(hops)[1]
    padded = tf.pad(hops, [[0, 0], [0, overlap - 1], [0, 0]])
    waves = tf.concat([padded[:, first : first + count] for first in range(overlap)], -1)[..., :size]
    length = _fft_length(audio)
    spectrum = tf.signal.rfft(tf.pad(waves * _hann(size), [[0, 0], [0, 0], [0, length - size]]))
    power = tf.square(tf.math.real(spectrum)) + tf.square(tf.math.imag(spectrum))
    energies = tf.matmul(tf.reshape(power, [-1, length // 2 + 1]), mel_filters(audio))
    return tf.math.log(tf.maximum(tf.reshape(energies, [rows, count, audio.bands]), QUIETEST))


def _emphasize(hops: tf.Tensor, factor: float) -> tf.Tensor:
    """y[t] = x[t] - factor x[t-1] over the whole signal, [batch, frames, hop].

    Before the first sample there is another like it, as Kaldi has it: a constant offset does not begin with a click.
    """
    last = tf.concat([hops[:, :1, :1], hops[:, :-1, -1:]], 1)  # of the hop before, [batch, frames, 1]
    return hops - factor * tf.concat([last, hops[..., :-1]], -1)


def _fft_length(audio: Audio) -> int:
    return 1 << (audio.frame_samples - 1).bit_length()


def _hann(size: int) -> np.ndarray:
    """The periodic window, float32 [size]; TensorFlow's is the symmetric one where the size is odd."""
    return (0.5 - 0.5 * np.cos(2 * np.pi * np.arange(size) / size)).astype(np.float32)


@functools.cache
def mel_filters(audio: Audio) -> np.ndarray:
    """Triangles over the bins of the FFT, float32 [bins, bands], which are librosa.filters.mel's with its defaults.

    Slaney's scale (linear below 1 kHz, where 80 bands on HTK's would be narrower than the bins of 25 ms), and each
    triangle times 2 / its width in Hz, so that white noise is equally loud in all.

    Raises:
        ValueError: a band has no bin, and would be a constant.
    """
    bins_hz = np.arange(_fft_length(audio) // 2 + 1) * audio.sample_rate_hz / _fft_length(audio)
    lowest, highest = _mel(np.array([audio.lowest_hz, audio.top_hz]))
    edges = _hertz(np.linspace(lowest, highest, audio.bands + 2))
    left, center, right = edges[:-2], edges[1:-1], edges[2:]
    rising = (bins_hz[:, np.newaxis] - left) / (center - left)
    falling = (right - bins_hz[:, np.newaxis]) / (right - center)
    filters = np.maximum(0.0, np.minimum(rising, falling)) * 2 / (right - left)
    empty = np.flatnonzero(filters.max(0) == 0)
    if empty.size:
        band = empty[0]
        raise ValueError(
            f"audio: of {audio.bands} bands from {audio.lowest_hz:g} to {audio.top_hz:g} Hz, {empty.size} lie between "
            f"the bins of {audio.frame_ms:g} ms, which are {bins_hz[1]:g} Hz apart (the first from {left[band]:.0f} to "
            f"{right[band]:.0f} Hz): expected fewer bands, or a larger frame_ms"
        )
    return filters.astype(np.float32)


# Slaney's scale (Auditory Toolbox, 1998): 3 mels every 200 Hz up to 15 at 1 kHz, then 27 mels for a factor of 6.4.
_BREAK_HZ, _BREAK_MEL, _LOG_STEP = 1000.0, 15.0, np.log(6.4) / 27


def _mel(hertz: np.ndarray) -> np.ndarray:
    above = _BREAK_MEL + np.log(np.maximum(hertz, _BREAK_HZ) / _BREAK_HZ) / _LOG_STEP
    return np.where(hertz < _BREAK_HZ, hertz * 3 / 200, above)


def _hertz(mel: np.ndarray) -> np.ndarray:
    above = _BREAK_HZ * np.exp(_LOG_STEP * (np.maximum(mel, _BREAK_MEL) - _BREAK_MEL))
    return np.where(mel < _BREAK_MEL, mel * 200 / 3, above)


def deltas(features: tf.Tensor, mask: tf.Tensor, order: int) -> tf.Tensor:
    """[batch, frames, depth] -> [batch, frames, depth (1 + order)]: beside them their derivatives in time.

    d[t] = sum_k k (c[t+k] - c[t-k]) / (2 sum_k k^2), k = 1 and 2 (HTK book, eq. 5.16), each derivative of the one
    before; beyond the recording's own first and last frame these are repeated.
    """
    parts = [features]
    times = tf.range(tf.shape(features)[1])[tf.newaxis]
    last = tf.maximum(tf.reduce_sum(tf.cast(mask, tf.int32), 1, keepdims=True) - 1, 0)
    reach = range(1, DELTA_REACH + 1)
    for _ in range(order):
        before = [tf.gather(parts[-1], tf.minimum(tf.maximum(times - k, 0), last), batch_dims=1) for k in reach]
        after = [tf.gather(parts[-1], tf.minimum(times + k, last), batch_dims=1) for k in reach]
        slope = tf.add_n([k * (late - early) for k, early, late in zip(reach, before, after, strict=True)])
        parts.append(slope / (2 * sum(k * k for k in reach)))
    return tf.concat(parts, -1)


def normalize(features: tf.Tensor, mask: tf.Tensor) -> tf.Tensor:
    """Mean 0 and variance 1 over the recording's own frames, a number each: [batch, frames, depth], 0 in padding."""
    centered = masked(features - mean_of(features, mask), mask)
    variance = mean_of(tf.square(centered), mask)
    return centered * tf.math.rsqrt(tf.maximum(variance, LEAST_VARIANCE))


def mean_of(features: tf.Tensor, mask: tf.Tensor) -> tf.Tensor:
    """[batch, frames, depth] -> [batch, 1, depth], over the recording's own frames."""
    count = tf.reduce_sum(tf.cast(mask, features.dtype), 1)[:, tf.newaxis, tf.newaxis]
    return tf.reduce_sum(masked(features, mask), 1, keepdims=True) / tf.maximum(count, 1.0)
