"""What training does to recordings so that no two epochs hear the same: noise, speed, masks.

Every function takes its seed, int32 [2], and draws with Philox by name (see `models.layers.Dropout`).
"""

from __future__ import annotations

import fractions
import functools

import tensorflow as tf

from models.audio import Audio, SpecAugment
from models.audio.features import mask_of, masked, to_frames, to_waveform
from models.audio.resample import resample


def dither(frames: tf.Tensor, audio: Audio, seed: tf.Tensor) -> tf.Tensor:
    """Waveforms [batch, frames, hop + 1] with Gaussian noise of the deviation `audio.dither`, none in padding."""
    hops = frames[..., :-1]
    noise = audio.dither * tf.random.stateless_normal(tf.shape(hops), seed, alg="philox")
    return tf.concat([hops + masked(noise, mask_of(frames)), frames[..., -1:]], -1)


def change_speed(frames: tf.Tensor, audio: Audio, seed: tf.Tensor) -> tf.Tensor:
    """The batch at one of `audio.speeds`: [batch, frames, depth + 1] -> [batch, ceil(frames / speed), depth + 1].

    Waveforms are resampled, which changes pitch as well as tempo (Ko 2015, section 2); features are interpolated
    between frames, which changes tempo alone.
    """
    play = _play_waveform if audio.kind == "waveform" else _play_features
    draw = tf.random.stateless_uniform([], seed, 0, len(audio.speeds), tf.int32, alg="philox")
    # Whole numbers of samples need a ratio: 0.9 is 9/10, and 9 samples become 10.
    ratios = [fractions.Fraction(speed).limit_denominator(1000) for speed in audio.speeds]
    played = tf.switch_case(draw, [functools.partial(play, frames, audio, ratio) for ratio in ratios])
    return tf.ensure_shape(played, [frames.shape[0], None, frames.shape[-1]])


def _play_waveform(frames: tf.Tensor, audio: Audio, speed: fractions.Fraction) -> tf.Tensor:
    if speed == 1:
        return frames
    samples, lengths = to_waveform(frames)
    played = resample(samples, speed.numerator, speed.denominator)
    return to_frames(played, _length(lengths, speed), audio)


def _play_features(frames: tf.Tensor, audio: Audio, speed: fractions.Fraction) -> tf.Tensor:
    """Frame t is between the frames before and after t times the speed; after the last it is the last."""
    lengths = tf.reduce_sum(tf.cast(mask_of(frames), tf.int32), 1, keepdims=True)
    times = tf.range(_length(tf.shape(frames)[1], speed))[tf.newaxis]
    before, rest = times * speed.numerator // speed.denominator, times * speed.numerator % speed.denominator
    last = tf.maximum(lengths - 1, 0)
    early = tf.gather(frames, tf.minimum(before, last), batch_dims=1)
    late = tf.gather(frames, tf.minimum(before + 1, last), batch_dims=1)
    share = tf.cast(rest, tf.float32)[..., tf.newaxis] / speed.denominator
    mask = times < _length(lengths, speed)
    return masked((1 - share) * early + share * late, mask)


def _length(length: tf.Tensor, speed: fractions.Fraction) -> tf.Tensor:
    """ceil(length / speed), of int32 of any shape."""
    exact = tf.cast(length, tf.int64)  # 48 kHz for 45 s times a denominator of 1,000 are more than int32 has
    return tf.cast(-(-exact * speed.denominator // speed.numerator), tf.int32)


def spec_augment(
    features: tf.Tensor, mask: tf.Tensor, settings: SpecAugment, bands: int, mean: tf.Tensor | float, seed: tf.Tensor
) -> tf.Tensor:
    """Stretches of time and of bands become the mean (Park 2019, section 2), others in every row; padding stays.

    features float32 [batch, frames, bands (1 + deltas)]: the derivatives of a masked band are masked with it. `mean` is
    0 after normalisation. A mask's width is uniform from 0 to the greatest, its start wherever it fits (the paper
    leaves out the last start, which would never mask the last frame).
    """
    lengths = tf.reduce_sum(tf.cast(mask, tf.float32), 1)  # [batch]
    widest = tf.minimum(float(settings.time_width), tf.floor(settings.time_share * lengths))
    seeds = tf.random.split(seed, 2, alg="philox")
    times = _stretches(settings.time_masks, widest, lengths, tf.shape(features)[1], seeds[0])
    all_bands = tf.fill(tf.shape(lengths), float(bands))
    widest = tf.minimum(float(settings.band_width), all_bands)
    heights = _stretches(settings.band_masks, widest, all_bands, bands, seeds[1])
    heights = tf.tile(heights, [1, features.shape[-1] // bands])
    hidden = (times[..., tf.newaxis] | heights[:, tf.newaxis]) & mask[..., tf.newaxis]
    return tf.where(hidden, mean, features)


def _stretches(count: int, widest: tf.Tensor, lengths: tf.Tensor, size: int | tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
    """So many stretches of up to `widest` [batch] whole numbers below `lengths` [batch]: bool [batch, size]."""
    draws = tf.random.stateless_uniform([tf.shape(lengths)[0], count, 2], seed, alg="philox")
    widths = tf.floor(draws[..., 0] * (widest[:, tf.newaxis] + 1))  # [batch, count]
    starts = tf.floor(draws[..., 1] * (lengths[:, tf.newaxis] - widths + 1))
    places = tf.range(size, dtype=tf.float32)
    starts, widths = starts[..., tf.newaxis], widths[..., tf.newaxis]
    return tf.reduce_any((places >= starts) & (places < starts + widths), 1)
