"""Where in a WAV file the samples are, and how they are written: its RIFF chunks, read in the graph.

    b"RIFF" size b"WAVE"  b"fmt " 16 (1, 2, 44100, ...)  b"LIST" 26 ...  b"data" 1764 ...
    -> Header(encoding=PCM of 16 bits, channels=2, rate_hz=44100, begin=78, samples=441)

tf.audio.decode_wav reads 16 bits and nothing else, and says of other files little that helps.
"""

from __future__ import annotations

from typing import NamedTuple

import tensorflow as tf

# (format, bits) that are read. 1 is PCM, of 8 bits unsigned; 3 IEEE float.
ENCODINGS = ((1, 8), (1, 16), (1, 24), (1, 32), (3, 32), (3, 64))
EXTENSIBLE = 0xFFFE  # the format is in the first two bytes of the GUID, at byte 24 of the fmt chunk
LOWEST_HZ, HIGHEST_HZ = 1_000, 384_000
# A program that writes to a pipe cannot go back to fill in the size of `data`: 0xFFFFFFFF (ffmpeg), 0x80000000
# (arecord), 0x7FFFF000 (sox). From here on a size is one of these if the file is not as long.
STREAMED = 0x7FFFF000
# No file has as many for a good reason, and each costs a turn of the loop: what is sent may mean harm.
CHUNKS = 1_000

_RIFF, _WAVE, _FORMAT, _DATA = (int.from_bytes(name, "little") for name in (b"RIFF", b"WAVE", b"fmt ", b"data"))
_SHOWN = [chr(byte) if chr(byte).isascii() and chr(byte).isalnum() else "." for byte in range(256)]


class Header(NamedTuple):
    """Of one file, all scalars."""

    encoding: tf.Tensor  # int32, which of ENCODINGS
    channels: tf.Tensor  # int64
    rate_hz: tf.Tensor  # int64
    begin: tf.Tensor  # int64, the byte where the first sample begins
    samples: tf.Tensor  # int64, of each channel, at least 1


class _Chunks(NamedTuple):
    """Where the bodies of the two chunks begin, 0 where there is none, and the sizes that are declared: int64 []."""

    format_begin: tf.Tensor
    format_size: tf.Tensor
    data_begin: tf.Tensor
    data_size: tf.Tensor


class _Format(NamedTuple):
    """The fmt chunk: int64 []."""

    format: tf.Tensor
    channels: tf.Tensor
    rate_hz: tf.Tensor
    sample_bytes: tf.Tensor  # of all channels
    bits: tf.Tensor


def read_header(wav: tf.Tensor, row: tf.Tensor) -> Header:
    """The contents of a file, string [] -> Header.

    Sizes are believed, but for two that streams have: 0xFFFFFFFF and the like are as much as there is, and so is 0,
    unless the file ends where its RIFF header says, for then it is whole and has no samples. Bytes at the end that are
    no whole sample are left out.

    Raises:
        tf.errors.InvalidArgumentError: "row 3: ..." says what is wrong with the file, and what was expected.
    """
    size = tf.cast(tf.strings.length(wav), tf.int64)
    riff = _words(wav, tf.zeros([], tf.int64), 3)
    chunks = _find(wav, size)
    written = _read_format(wav, chunks)
    left = size - chunks.data_begin
    whole = tf.equal(riff[1] + 8, size)
    streamed = (chunks.data_size >= STREAMED) & (chunks.data_size > left) | tf.equal(chunks.data_size, 0) & ~whole
    data_size = tf.where(streamed, left, chunks.data_size)
    samples = data_size // tf.maximum(written.sample_bytes, 1)
    is_wav = tf.equal(riff[0], _RIFF) & tf.equal(riff[2], _WAVE)
    checks = [
        (~is_wav, _say("not a WAV file: expected RIFF....WAVE, got ", _start(wav))),
        *_format_checks(written, tf.minimum(chunks.format_size, size - chunks.format_begin), chunks),
        (tf.equal(chunks.data_begin, 0), _say(f"no data chunk among the first {CHUNKS} chunks")),
        (data_size > left, _say("truncated: the data chunk says ", data_size, " bytes, ", left, " are there")),
        (samples < 1, _say("no samples")),
    ]
    with tf.control_dependencies([check(row, checks)]):
        # Copies: only what is computed in here waits for the check.
        values = (_encoding(written), written.channels, written.rate_hz, chunks.data_begin, samples)
        return Header(*map(tf.identity, values))


def check(row: tf.Tensor, checks: list[tuple[tf.Tensor, tf.Tensor]]) -> tf.Operation | None:
    """The first of (what is wrong: bool [], how it is said: string []) that is so raises "row 3: how it is said"."""
    said = tf.constant("")
    for wrong, text in reversed(checks):
        said = tf.where(wrong, text, said)
    return tf.debugging.Assert(tf.equal(said, ""), [_say("row ", row, ": ", said)])


def _find(wav: tf.Tensor, size: tf.Tensor) -> _Chunks:
    """The first fmt and the first data chunk, in any order; others are passed over."""

    def searching(offset: tf.Tensor, chunks: _Chunks) -> tf.Tensor:
        found = (chunks.format_begin > 0) & (chunks.data_begin > 0)
        return (offset + 8 <= size) & ~found

    def step(offset: tf.Tensor, chunks: _Chunks) -> tuple[tf.Tensor, _Chunks]:
        words = _words(wav, offset, 2)
        name, length, begin = words[0], words[1], offset + 8
        is_format = tf.equal(name, _FORMAT) & tf.equal(chunks.format_begin, 0)
        is_data = tf.equal(name, _DATA) & tf.equal(chunks.data_begin, 0)
        chunks = _Chunks(
            tf.where(is_format, begin, chunks.format_begin),
            tf.where(is_format, length, chunks.format_size),
            tf.where(is_data, begin, chunks.data_begin),
            tf.where(is_data, length, chunks.data_size),
        )
        return begin + length + length % 2, chunks  # a byte of padding follows an odd one

    nothing = tf.zeros([], tf.int64)
    start = (tf.constant(12, tf.int64), _Chunks(nothing, nothing, nothing, nothing))
    return tf.while_loop(searching, step, start, maximum_iterations=CHUNKS)[1]


def _read_format(wav: tf.Tensor, chunks: _Chunks) -> _Format:
    words = _words(wav, chunks.format_begin, 7)
    tag = words[0] % 2**16
    is_extensible = tf.equal(tag, EXTENSIBLE) & (chunks.format_size >= 26)
    return _Format(
        format=tf.where(is_extensible, words[6] % 2**16, tag),
        channels=words[0] // 2**16,
        rate_hz=words[1],
        sample_bytes=words[3] % 2**16,
        bits=words[3] // 2**16,
    )


def _format_checks(written: _Format, there: tf.Tensor, chunks: _Chunks) -> list[tuple[tf.Tensor, tf.Tensor]]:
    """What may be wrong with the fmt chunk, of which so many bytes are there."""
    sample_bytes = written.channels * written.bits // 8
    return [
        (tf.equal(chunks.format_begin, 0), _say(f"no fmt chunk among the first {CHUNKS} chunks")),
        (there < 16, _say("the fmt chunk has ", there, " bytes, expected 16 or more")),
        (
            _encoding(written) < 0,
            _say("unsupported encoding: format ", written.format, " of ", written.bits, " bits, expected ")
            + "PCM (format 1) of 8, 16, 24 or 32 bits or IEEE float (format 3) of 32 or 64",
        ),
        (written.channels < 1, _say("0 channels, expected at least 1")),
        (
            (written.rate_hz < LOWEST_HZ) | (written.rate_hz > HIGHEST_HZ),
            _say("a sample rate of ", written.rate_hz, f" Hz, expected {LOWEST_HZ} to {HIGHEST_HZ}"),
        ),
        (
            tf.not_equal(sample_bytes, written.sample_bytes),
            _say("the fmt chunk says ", written.sample_bytes, " bytes for ", written.channels, " channels of ")
            + _say(written.bits, " bits, expected ", sample_bytes),
        ),
    ]


def _encoding(written: _Format) -> tf.Tensor:
    """int32 []: which of ENCODINGS; -1: none."""
    known = [tf.equal(written.format, tag) & tf.equal(written.bits, bits) for tag, bits in ENCODINGS]
    return tf.reduce_max(tf.where(tf.stack(known), tf.range(len(ENCODINGS)), -1))


def _words(wav: tf.Tensor, begin: tf.Tensor, count: int) -> tf.Tensor:
    """So many unsigned little-endian numbers of 32 bits from a byte on: int64 [count], 0 beyond the end."""
    begin = tf.minimum(begin, tf.cast(tf.strings.length(wav), tf.int64))
    there = tf.strings.substr(wav, begin, tf.constant(4 * count, tf.int64))
    words = tf.io.decode_raw(tf.strings.substr(there + b"\0" * (4 * count), 0, 4 * count), tf.int32)
    return tf.cast(tf.ensure_shape(words, [count]), tf.int64) % 2**32


def _start(wav: tf.Tensor) -> tf.Tensor:
    """The first bytes, .PNG........, with points for those that a message, which is UTF-8, cannot have."""
    numbers = tf.cast(tf.io.decode_raw(tf.strings.substr(wav, 0, 12), tf.uint8), tf.int32)
    return tf.where(tf.equal(wav, ""), "an empty file", tf.strings.reduce_join(tf.gather(_SHOWN, numbers)))


def _say(*parts: str | tf.Tensor) -> tf.Tensor:
    """Words and numbers -> string []."""
    return tf.strings.join(
        [part if isinstance(part, str) or part.dtype == tf.string else tf.strings.as_string(part) for part in parts]
    )
