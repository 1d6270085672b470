"""Recordings as they are stored and served -> frames: what a string of bytes says, in the graph."""

from __future__ import annotations

import tensorflow as tf

from models.audio import Audio, features, wav


def frames(recordings: tf.Tensor, audio: Audio, most: int | None = None) -> tf.Tensor:
    """String [n] -> float32 [n, frames, depth + 1], as `models/audio` has frames.

    Of kind "waveform" each is a WAV file of any rate; of kind "features" little-endian float32, `depth` a frame.

    Args:
        recordings: what is stored, or sent.
        audio: what they are.
        most: samples, or values of features, that all rows have together when each is as long as the longest. A file
            of few bytes may last long, and makes every other row as long.

    Raises:
        tf.errors.InvalidArgumentError: names the row, what it is and what was expected.
    """
    if most is not None:
        with tf.control_dependencies([_within(recordings, audio, most)]):
            recordings = tf.identity(recordings)
    if audio.kind == "waveform":
        waveforms = wav.decode(recordings, audio.sample_rate_hz)
        return features.to_frames(waveforms.samples, waveforms.lengths, audio)
    bytes_a_frame = 4 * audio.depth
    sizes = tf.strings.length(recordings)
    expected = f"expected little-endian float32, {audio.depth} a frame, so a multiple of {bytes_a_frame} bytes, got"
    whole = none(sizes, (sizes % bytes_a_frame != 0) | (sizes <= 0), expected)
    with tf.control_dependencies([whole]):
        # The shorter rows are filled with zeros.
        values = tf.io.decode_raw(recordings, tf.float32, fixed_length=tf.maximum(tf.reduce_max(sizes), bytes_a_frame))
    values = tf.reshape(values, [tf.shape(recordings)[0], -1, audio.depth])
    return with_mask(values, sizes // bytes_a_frame)


def _within(recordings: tf.Tensor, audio: Audio, most: int) -> tf.Operation:
    if audio.kind == "waveform":
        lengths = wav.lengths(recordings, audio.sample_rate_hz)
    else:
        lengths = tf.strings.length(recordings) // 4
    values = tf.size(lengths, tf.int64) * tf.cast(tf.reduce_max(tf.pad(lengths, [[0, 1]])), tf.int64)
    message = f"too long together: at most {most:,} values, each row as long as the longest, and there are"
    return tf.debugging.Assert(values <= most, [message, values])


def with_mask(values: tf.Tensor, lengths: tf.Tensor) -> tf.Tensor:
    """Frames and how many of them are real: float32 [n, frames, depth], int32 [n] -> [n, frames, depth + 1].

    Raises:
        tf.errors.InvalidArgumentError: a real frame holds NaN or a number beyond LOUDEST.
    """
    real = tf.sequence_mask(lengths, tf.shape(values)[1])[..., None]
    values = numbers(tf.where(real, values, 0.0))
    return tf.concat([values, tf.cast(real, tf.float32)], axis=-1)


def numbers(values: tf.Tensor) -> tf.Tensor:
    """The same values, [n, ...], of which every one is a number that features can be computed of."""
    within_a_row = list(range(1, values.shape.rank))
    loudest = tf.reduce_max(tf.abs(values), axis=within_a_row)
    fine = tf.reduce_all(tf.abs(values) <= wav.LOUDEST, axis=within_a_row)  # NaN is not
    with tf.control_dependencies([none(loudest, ~fine, f"expected numbers of up to {wav.LOUDEST:,.0f}, got")]):
        return tf.identity(values)


def none(values: tf.Tensor, wrong: tf.Tensor, message: str) -> tf.Operation:
    """Assert that no row is wrong: numbers [n] and bool [n]; else "row 3: MESSAGE 17", of the first one that is."""
    rows = tf.range(tf.size(values))
    first = tf.reduce_min(tf.where(wrong, rows, tf.int32.max))
    value = tf.reduce_sum(tf.where(rows == first, values, tf.zeros([], values.dtype)))
    said = ["row ", tf.strings.as_string(first), f": {message} ", tf.strings.as_string(value)]
    return tf.debugging.Assert(tf.logical_not(tf.reduce_any(wrong)), [tf.strings.join(said)])
