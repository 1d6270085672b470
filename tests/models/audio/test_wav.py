"""WAV files of every encoding against NumPy, and files that are none against what they are told."""

from __future__ import annotations

import io
import pathlib
import struct
import wave

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from models.audio import Audio, recorded
from models.audio.riff import CHUNKS, ENCODINGS
from models.audio.wav import decode, lengths
from serving.allowed_ops import check_ops
from tests.models.audio.files import FLOAT, PCM, chunk, encode, format_chunk, riff, wav_file

RATE = 16_000
NOISE = np.random.default_rng(1).uniform(-0.9, 0.9, 211).astype(np.float32)
STEREO = np.random.default_rng(2).uniform(-0.9, 0.9, (211, 2)).astype(np.float32)
DATA = chunk(b"data", encode(NOISE, PCM, 16))


def read(*wavs: bytes) -> tuple[np.ndarray, np.ndarray]:
    waveforms = decode(tf.constant(wavs, tf.string), RATE)
    return waveforms.samples.numpy(), waveforms.lengths.numpy()


def complaint(*wavs: bytes) -> str:
    with pytest.raises(tf.errors.InvalidArgumentError) as error:
        read(*wavs)
    return str(error.value.message)


@pytest.mark.parametrize("extensible", [False, True], ids=["plain", "extensible"])
@pytest.mark.parametrize("samples", [NOISE, STEREO, STEREO[:1], np.tile(STEREO, (1, 4))[:, :7]])
@pytest.mark.parametrize(("tag", "bits"), ENCODINGS)
def test_every_encoding_is_read_to_half_of_its_step(samples: np.ndarray, tag: int, bits: int, extensible: bool) -> None:
    got, lengths = read(wav_file(samples, tag=tag, bits=bits, extensible=extensible))
    expected = samples if samples.ndim == 1 else samples.mean(1)
    np.testing.assert_allclose(got[0], expected, atol=0.51 * 2.0 ** -(bits - 1) if tag == PCM else 1e-7, rtol=1e-6)
    assert lengths.tolist() == [len(samples)]


def test_the_extremes_of_whole_numbers_are_full_scale() -> None:
    for bits in (8, 16, 24, 32):
        got, _ = read(wav_file(np.array([-1.0, 0.0, 1.0]), bits=bits))
        np.testing.assert_allclose(got[0], [-1.0, 0.0, 1.0 - 2.0 ** -(bits - 1)], atol=1e-7)


def test_the_standard_library_agrees() -> None:
    file = io.BytesIO()
    with wave.open(file, "wb") as writer:
        writer.setparams((2, 2, RATE, 0, "NONE", ""))
        writer.writeframes(encode(STEREO, PCM, 16))
    np.testing.assert_allclose(read(file.getvalue())[0][0], STEREO.mean(1), atol=2**-15)


def test_rows_are_padded_with_zeros_and_do_not_change_each_other() -> None:
    wavs = [wav_file(NOISE), wav_file(STEREO[:101], rate_hz=8_000), wav_file(NOISE[:1], bits=8)]
    got, lengths = read(*wavs)
    assert got.shape == (3, 211) and lengths.tolist() == [211, 202, 1]
    for row, wav in enumerate(wavs):
        np.testing.assert_array_equal(got[row, : lengths[row]], read(wav)[0][0])
        assert not got[row, lengths[row] :].any()


def test_no_rows_are_no_waveforms() -> None:
    got, lengths = read()
    assert got.shape[0] == 0 and lengths.shape == (0,)


@pytest.mark.parametrize(
    "wav",
    [
        riff(chunk(b"LIST", b"odd"), format_chunk(), chunk(b"fact", b"1234"), DATA, chunk(b"LIST", b"after")),
        riff(DATA, format_chunk()),
        riff(format_chunk(), chunk(b"data", encode(NOISE, PCM, 16) + b"\7")),  # half a sample more
        riff(format_chunk(), chunk(b"data", encode(NOISE, PCM, 16), 0xFFFFFFFF), size=0xFFFFFFFF),
        riff(format_chunk(), chunk(b"data", encode(NOISE, PCM, 16), 0x7FFFF000), size=0x7FFFF024),
        riff(format_chunk(), chunk(b"data", encode(NOISE, PCM, 16), 0), size=36),
        riff(format_chunk(), DATA, size=7),
    ],
    ids=[
        "extra chunks",
        "data first",
        "half a sample",
        "ffmpeg's pipe",
        "sox's pipe",
        "never closed",
        "wrong RIFF size",
    ],
)
def test_chunks_and_sizes_that_real_files_have(wav: bytes) -> None:
    np.testing.assert_allclose(read(wav)[0][0], NOISE, atol=2**-15)


BAD = {
    "empty": (b"", "row 1: not a WAV file: expected RIFF....WAVE, got an empty file"),
    "png": (
        b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR",
        "row 1: not a WAV file: expected RIFF....WAVE, got .PNG........",
    ),
    "rf64": (b"RF64" + riff(format_chunk(), DATA)[4:], "got RF64....WAVE"),
    "header": (riff(format_chunk()), f"row 1: no data chunk among the first {CHUNKS} chunks"),
    "no fmt": (riff(DATA), f"row 1: no fmt chunk among the first {CHUNKS} chunks"),
    "many chunks": (riff(*[chunk(b"junk", b"")] * CHUNKS, format_chunk(), DATA), "no fmt chunk among the first"),
    "short fmt": (riff(chunk(b"fmt ", b"\1\0" * 7), DATA), "the fmt chunk has 14 bytes, expected 16 or more"),
    "cut fmt": (riff(DATA, format_chunk())[:-3], "the fmt chunk has 13 bytes, expected 16 or more"),
    "adpcm": (
        riff(format_chunk(2, bits=4), DATA),
        "unsupported encoding: format 2 of 4 bits, expected PCM (format 1) of 8, ",
    ),
    "mu-law": (riff(format_chunk(7, bits=8, extensible=True), DATA), "unsupported encoding: format 7 of 8 bits"),
    "12 bits": (riff(format_chunk(bits=12), DATA), "unsupported encoding: format 1 of 12 bits"),
    "channels": (riff(format_chunk(channels=0), DATA), "0 channels, expected at least 1"),
    "slow": (riff(format_chunk(rate_hz=999), DATA), "a sample rate of 999 Hz, expected 1000 to 384000"),
    "fast": (riff(format_chunk(rate_hz=2**32 - 1), DATA), "a sample rate of 4294967295 Hz, expected"),
    "alignment": (
        riff(chunk(b"fmt ", struct.pack("<HHIIHH", PCM, 2, RATE, 4 * RATE, 3, 16)), DATA),
        "the fmt chunk says 3 bytes for 2 channels of 16 bits, expected 4",
    ),
    "truncated": (riff(format_chunk(), DATA)[:-112], "row 1: truncated: the data chunk says 422 bytes, 310 are there"),
    "truncated before": (riff(format_chunk(), DATA)[:44], "truncated: the data chunk says 422 bytes, 0 are there"),
    "no samples": (riff(format_chunk(), chunk(b"data", b""), chunk(b"LIST", b"after")), "row 1: no samples"),
    "less than one": (riff(format_chunk(channels=2), chunk(b"data", b"123")), "row 1: no samples"),
    "not a number": (
        wav_file(np.array([0.1, np.nan, 0.1]), tag=FLOAT, bits=32),
        "of up to 1,000,000 times the full scale",
    ),
    "infinite": (wav_file(np.array([1e300]), tag=FLOAT, bits=64), "of up to 1,000,000 times the full scale"),
}


@pytest.mark.parametrize("name", sorted(BAD))
def test_a_file_that_is_none_is_told_its_row_and_why(name: str) -> None:
    wav, text = BAD[name]
    assert text in complaint(wav_file(NOISE), wav)


def test_no_number_is_lost_by_resampling() -> None:
    """A NaN would be found wherever it is, at both ends too."""
    for place in (0, 100, 210):
        samples = NOISE.copy()
        samples[place] = np.nan
        assert "no numbers" in complaint(wav_file(samples, 44_100, FLOAT, 32))


@given(
    st.binary(max_size=80)
    | st.binary(max_size=60).map(lambda rest: riff(format_chunk(), DATA)[:20] + rest)
    | st.tuples(st.integers(0, 80), st.binary(min_size=1, max_size=4)).map(
        lambda change: (
            riff(format_chunk(extensible=True), DATA)[: change[0]]
            + change[1]
            + riff(format_chunk(extensible=True), DATA)[change[0] + len(change[1]) :]
        )
    )
)
@settings(max_examples=200)
def test_any_bytes_are_answered_or_refused(wav: bytes) -> None:
    try:
        samples, lengths = read(wav)
    except tf.errors.InvalidArgumentError as error:
        assert "row 0: " in error.message
    else:
        assert samples.shape == (1, lengths[0]) and lengths[0] > 0 and np.isfinite(samples).all()


def test_a_saved_model_reads_with_ops_that_a_server_has(tmp_path: pathlib.Path) -> None:
    module = tf.Module()
    module.serve = tf.function(
        lambda audio: decode(audio, RATE)._asdict(), input_signature=[tf.TensorSpec([None], tf.string)]
    )
    tf.saved_model.save(module, tmp_path / "export")
    check_ops(tmp_path / "export")
    loaded = tf.saved_model.load(tmp_path / "export")
    wavs = [wav_file(NOISE), wav_file(STEREO, 96_000, bits=24)]
    np.testing.assert_array_equal(loaded.serve(tf.constant(wavs))["samples"], read(*wavs)[0])
    with pytest.raises(tf.errors.InvalidArgumentError, match="row 1: not a WAV file"):
        loaded.serve(tf.constant([wavs[0], b"\x89PNG"]))


def test_there_is_no_op_that_tensorflow_transform_cannot_hash() -> None:
    """The statistics of normalize "global" are computed of what is decoded; analyzers hash all that leads to them."""
    graph = decode.get_concrete_function(tf.TensorSpec([None], tf.string), RATE).graph.as_graph_def()
    ops = {node.op for function in graph.library.function for node in function.node_def}
    assert {"If", "While"} & {op.removeprefix("Stateless") for op in ops}
    assert not [op for op in ops if "Case" in op]


def test_what_is_too_long_together_is_refused_before_it_is_decoded() -> None:
    """A kilobyte of another rate may be a hundred times as long, and makes every other row as long."""
    slow, short = wav_file(np.zeros(900), 1000, bits=8), wav_file(NOISE, RATE)
    files = tf.constant([slow, short, short], tf.string)
    assert np.abs(lengths(files, RATE).numpy() - decode(files, RATE).lengths.numpy()).max() <= 1
    audio = Audio(sample_rate_hz=RATE)
    assert recorded.frames(files, audio, most=3 * 14_400).shape[0] == 3
    with pytest.raises(tf.errors.InvalidArgumentError, match=r"too long together: at most 43,199 values"):
        recorded.frames(files, audio, most=3 * 14_400 - 1)
    features = tf.constant([np.zeros((7, 2), "<f4").tobytes(), np.zeros((1, 2), "<f4").tobytes()])
    assert recorded.frames(features, Audio(kind="features", depth=2), most=28).shape == (2, 7, 3)
    with pytest.raises(tf.errors.InvalidArgumentError, match="too long together"):
        recorded.frames(features, Audio(kind="features", depth=2), most=27)


@pytest.mark.parametrize("bad", [np.nan, np.inf, 1e7])
def test_features_are_numbers(bad: float) -> None:
    audio, good = Audio(kind="features", depth=2), np.ones((3, 2), "<f4")
    broken = good.copy()
    broken[1, 1] = bad
    with pytest.raises(tf.errors.InvalidArgumentError, match="row 1: expected numbers of up to 1,000,000, got"):
        recorded.frames(tf.constant([good.tobytes(), broken.tobytes()]), audio)
    padding = tf.constant(np.stack([good, broken]))  # beyond a row's length there may be anything
    assert recorded.with_mask(padding, tf.constant([3, 1])).shape == (2, 3, 3)
    assert recorded.with_mask(padding[:0], tf.constant([], tf.int32)).shape == (0, 3, 3)


def test_the_last_frame_of_a_limit_may_not_be_whole() -> None:
    """A row that is short enough to be trained on is short enough to be served."""
    assert Audio(sample_rate_hz=8000, hop_ms=16).frames(4.998) == Audio(sample_rate_hz=8000, hop_ms=16).frames(5) == 313
    assert Audio(kind="features", depth=2).frames(2.01) == 201 and Audio().frames(30) == 3000
