"""Recordings as they are stored and served -> frames: what a string of bytes says, in the graph."""

from __future__ import annotations

import tensorflow as tf

from models.audio import Audio, features, wav


def frames(recordings: tf.Tensor, audio: Audio) -> tf.Tensor:
    """String [n] -> float32 [n, frames, depth + 1], as `models/audio` has frames.

    Of kind "waveform" each is a WAV file of any rate; of kind "features" little-endian float32, `depth` a frame.

    Raises:
        tf.errors.InvalidArgumentError: names the row, what it is and what was expected.
    """
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


def with_mask(values: tf.Tensor, lengths: tf.Tensor) -> tf.Tensor:
    """Frames and how many of them are real: float32 [n, frames, depth], int32 [n] -> [n, frames, depth + 1]."""
    real = tf.sequence_mask(lengths, tf.shape(values)[1])[..., None]
    return tf.concat([tf.where(real, values, 0.0), tf.cast(real, tf.float32)], axis=-1)


def none(values: tf.Tensor, wrong: tf.Tensor, message: str) -> tf.Operation:
    """Assert that no row is wrong: numbers [n] and bool [n]; else "row 3: MESSAGE 17", of the first one that is."""
    rows = tf.range(tf.size(values))
    first = tf.reduce_min(tf.where(wrong, rows, tf.int32.max))
    value = tf.reduce_sum(tf.where(rows == first, values, tf.zeros([], values.dtype)))
    said = ["row ", tf.strings.as_string(first), f": {message} ", tf.strings.as_string(value)]
    return tf.debugging.Assert(tf.logical_not(tf.reduce_any(wrong)), [tf.strings.join(said)])
