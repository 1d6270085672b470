"""WAV files -> waveforms at one sample rate, in the graph: training, tensorflow-transform and a server read alike.

decode([44.1 kHz, stereo, 16 bits, 1 s], 16_000) -> Waveforms(samples float32 [1, 16000], lengths [16000])
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import tensorflow as tf

from models.audio.resample import resample_from
from models.audio.riff import ENCODINGS, Header, check, read_header

# A full scale is 1; files of floats go beyond it, some by 2^15. What is beyond this has no power spectrum in float32.
LOUDEST = 1e6


class Waveforms(NamedTuple):
    """Recordings of one sample rate."""

    samples: tf.Tensor  # float32 [n, samples], a full scale is 1, 0 beyond a row's length
    lengths: tf.Tensor  # int32 [n], in samples


@tf.function(reduce_retracing=True)
def decode(wavs: tf.Tensor, sample_rate_hz: int) -> Waveforms:
    """WAV files, string [n] of their contents -> Waveforms at `sample_rate_hz`.

    PCM of 8, 16, 24 and 32 bits and IEEE float of 32 and 64, plain or WAVE_FORMAT_EXTENSIBLE; of any number of
    channels, of which the mean is taken; of 1,000 to 384,000 Hz, resampled where it is another rate. Beside the file
    and the answer a row takes the memory of some seconds, however long it is.

    What sizes are believed, and what is made of a stream, `riff.read_header` says. A truncated file is an error.

    Raises:
        tf.errors.InvalidArgumentError: "row 3: not a WAV file: expected RIFF....WAVE, got .PNG........" and the like.
    """

    def decode_row(row: tf.Tensor) -> tf.Tensor:
        wav = wavs[row]  # one at a time: as elements of the loop all would be copied at once
        header = read_header(wav, row)
        samples = resample_from(_reader(wav, header), header.samples, header.rate_hz, sample_rate_hz)
        # NaN is not within anything either.
        is_sound = tf.reduce_all(tf.abs(samples) <= LOUDEST)
        text = tf.constant(f"expected samples of up to {LOUDEST:,.0f} times the full scale, got louder or no numbers")
        with tf.control_dependencies([check(row, [(~is_sound, text)])]):
            return tf.RaggedTensor.from_row_lengths(samples, [tf.size(samples, tf.int64)], validate=False)

    spec = tf.RaggedTensorSpec([1, None], tf.float32, ragged_rank=1)
    rows = tf.map_fn(decode_row, tf.range(tf.size(wavs)), fn_output_signature=spec)  # [n, 1, samples]
    lengths = tf.cast(rows.values.row_lengths(), tf.int32)
    return Waveforms(rows.values.to_tensor(), lengths)


def lengths(wavs: tf.Tensor, sample_rate_hz: int) -> tf.Tensor:
    """How many samples `decode` makes of each, by their headers: int64 [n], about."""

    def length(row: tf.Tensor) -> tf.Tensor:
        header = read_header(wavs[row], row)
        return header.samples * sample_rate_hz // header.rate_hz

    return tf.map_fn(length, tf.range(tf.size(wavs)), fn_output_signature=tf.int64)


def _reader(wav: tf.Tensor, header: Header) -> Callable[[tf.Tensor, tf.Tensor], tf.Tensor]:
    """(first, count), int64 [] -> samples, float32 [count], the mean of the channels."""
    sample_bytes = header.channels * tf.gather(
        tf.constant([bits // 8 for _, bits in ENCODINGS], tf.int64), header.encoding
    )

    def read(first: tf.Tensor, count: tf.Tensor) -> tf.Tensor:
        raw = tf.strings.substr(wav, header.begin + first * sample_bytes, count * sample_bytes)
        values = _read_as(header.encoding, raw)
        return tf.reduce_mean(tf.reshape(values, [count, header.channels]), -1)

    return read


def _read_as(encoding: tf.Tensor, raw: tf.Tensor, number: int = 0) -> tf.Tensor:
    """One of _READERS, from `number` on. tensorflow-transform cannot hash the op of tf.switch_case."""
    if number == len(_READERS) - 1:
        return _READERS[number](raw)
    here = tf.equal(encoding, number)
    return tf.cond(here, lambda: _READERS[number](raw), lambda: _read_as(encoding, raw, number + 1))


def _unsigned_8(raw: tf.Tensor) -> tf.Tensor:
    return (tf.cast(tf.io.decode_raw(raw, tf.uint8), tf.float32) - 2.0**7) / 2.0**7


def _signed_16(raw: tf.Tensor) -> tf.Tensor:
    return tf.cast(tf.io.decode_raw(raw, tf.int16), tf.float32) / 2.0**15


def _signed_24(raw: tf.Tensor) -> tf.Tensor:
    """As the upper three bytes of 32 bits."""
    parts = tf.reshape(tf.io.decode_raw(raw, tf.uint8), [-1, 3])
    return tf.cast(tf.bitcast(tf.pad(parts, [[0, 0], [1, 0]]), tf.int32), tf.float32) / 2.0**31


def _signed_32(raw: tf.Tensor) -> tf.Tensor:
    return tf.cast(tf.io.decode_raw(raw, tf.int32), tf.float32) / 2.0**31


def _float_32(raw: tf.Tensor) -> tf.Tensor:
    return tf.io.decode_raw(raw, tf.float32)


def _float_64(raw: tf.Tensor) -> tf.Tensor:
    return tf.cast(tf.io.decode_raw(raw, tf.float64), tf.float32)


_READERS = (_unsigned_8, _signed_16, _signed_24, _signed_32, _float_32, _float_64)  # as ENCODINGS
