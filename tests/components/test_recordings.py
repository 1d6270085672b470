"""Recordings: any file of sound in, the canonical form out, or the reason why not."""

import io
import re
import wave

import numpy as np
import pytest
from hypothesis import given
from hypothesis import settings as hypothesis
from hypothesis import strategies as st

from components import recordings, sound_files
from components.rows import Rejected, Row
from models.audio import Audio
from tests.components.speech import sphinx, tone, write

AUDIO = Audio(max_seconds=3.0)
FEATURES = Audio(kind="features", depth=7, max_seconds=3.0)


def attach(*paths, audio=AUDIO, transcript="yes", **options):
    return recordings.attach(Row("a", (transcript,), "a.tsv", 3, recordings=paths, **options), audio)


def reason(*paths, **options):
    """Why it is rejected, without the file's folder."""
    rejected = attach(*paths, **options)
    assert isinstance(rejected, Rejected)
    assert (rejected.file, rejected.line) == ("a.tsv", 3)
    return re.sub(r"^/\S*/", "", rejected.reason)


def samples(row):
    """What the canonical form holds, read by the standard library."""
    with wave.open(io.BytesIO(row.audio)) as file:
        assert (file.getnchannels(), file.getsampwidth(), file.getframerate()) == (1, 2, 16_000)
        return np.frombuffer(file.readframes(file.getnframes()), "<i2") / 2**15


def test_sound_of_the_right_form_stays_as_it_is_bit_by_bit(tmp_path):
    path = write(tmp_path / "a.wav", tone(0.503))
    row = attach(path)
    assert len(row.audio) == 44 + 2 * 8048
    with wave.open(path) as file:
        assert row.audio[44:] == file.readframes(8048)
    assert (row.seconds, row.resampled) == (8048 / 16_000, False)


@pytest.mark.parametrize("subtype", ["PCM_U8", "PCM_24", "PCM_32", "FLOAT", "DOUBLE"])
def test_samples_of_any_width_are_the_same_sound(tmp_path, subtype):
    row = attach(write(tmp_path / "a.wav", tone(), subtype=subtype))
    np.testing.assert_allclose(samples(row), tone(), atol=1 / 127 if subtype == "PCM_U8" else 2**-15)


@pytest.mark.parametrize(("extension", "subtype"), [("flac", "PCM_16"), ("ogg", "VORBIS")])
def test_other_formats_are_the_same_sound(tmp_path, extension, subtype):
    row = attach(write(tmp_path / f"a.{extension}", tone(), subtype=subtype))
    assert np.corrcoef(samples(row), tone())[0, 1] > 0.99


def test_stereo_is_mixed(tmp_path):
    left, right = tone(hz=300), tone(hz=700)
    row = attach(write(tmp_path / "a.wav", np.stack([left, right], axis=1)))
    np.testing.assert_allclose(samples(row), (left + right) / 2, atol=2**-14)


@pytest.mark.parametrize("rate_hz", [8_000, 11_025, 22_050, 44_100, 96_000])
def test_another_rate_is_resampled(tmp_path, rate_hz):
    row = attach(write(tmp_path / "a.wav", tone(rate_hz=rate_hz), rate_hz))
    assert row.resampled
    found, expected = samples(row), tone()
    assert abs(len(found) - len(expected)) <= 1
    middle = slice(500, 7000)  # a tone that begins and ends all at once rings there
    np.testing.assert_allclose(found[middle], expected[middle], atol=2e-3)


def test_recordings_are_joined_with_their_pauses(tmp_path):
    paths = [write(tmp_path / f"{hz}.wav", tone(0.1, hz=hz)) for hz in (300, 500, 700)]
    row = attach(*paths, pauses_ms=(10.0, 0.5))
    expected = [tone(0.1, hz=300), np.zeros(160), tone(0.1, hz=500), np.zeros(8), tone(0.1, hz=700)]
    np.testing.assert_allclose(samples(row), np.concatenate(expected), atol=2**-15)
    np.testing.assert_allclose(
        samples(attach(*paths)), np.concatenate([expected[0], expected[2], expected[4]]), atol=2**-15
    )


def test_a_recording_may_come_with_its_row():
    made = Row("made up", ("yes",), "generator", 3, audio=recordings.wav(tone().astype(np.float32), 16_000))
    assert recordings.attach(made, AUDIO).audio == made.audio
    broken = recordings.attach(Row("made up", ("yes",), "generator", 3, audio=b"RIFF"), AUDIO)
    assert broken.reason == "made up: cannot be read: Format not recognised"


def test_what_is_no_sound_is_named(tmp_path):
    picture = tmp_path / "a.wav"
    picture.write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(100))
    assert reason(str(picture)) == "a.wav: cannot be read: Format not recognised"
    assert reason(str(tmp_path / "b.wav")) == "b.wav: cannot be read: No such file or directory"
    (tmp_path / "c.wav").write_bytes(b"")
    assert reason(str(tmp_path / "c.wav")) == "c.wav: an empty file"


@pytest.mark.parametrize(
    ("extension", "size", "expected"),
    [
        ("wav", 1044, "a.wav: cut short: its header promises 16,000 bytes, it has 1,000"),
        ("wav", 44, "a.wav: cut short: its header promises 16,000 bytes, it has 0"),
        ("wav", 20, "a.wav: cannot be read: Error in WAV/W64/RF64 file. Malformed 'fmt ' chunk"),
        ("flac", 3000, "a.flac: cannot be read: "),
    ],
)
def test_what_is_cut_short_is_noticed(tmp_path, extension, size, expected):
    path = tmp_path / f"a.{extension}"
    write(path, tone())
    path.write_bytes(path.read_bytes()[:size])
    assert reason(str(path)).startswith(expected)


def test_a_file_that_was_streamed_promises_all_there_can_be(tmp_path):
    path = tmp_path / "a.wav"
    write(path, tone())
    content = bytearray(path.read_bytes())
    content[40:44] = b"\xff" * 4
    path.write_bytes(content)
    np.testing.assert_allclose(samples(attach(str(path))), tone(), atol=2**-15)


@pytest.mark.parametrize(
    ("sound", "expected"),
    [
        (np.zeros(0), "a.wav: no samples"),
        (np.zeros(8000), "a.wav: silent: no sample is further than 0.0001 from the mean, a full scale is 1"),
        (np.full(8000, 0.3), "a.wav: silent: no sample is further than 0.0001 from the mean, a full scale is 1"),
        (
            np.stack([tone(), -tone()], axis=1),  # nothing is left of channels that cancel each other
            "a.wav: silent: no sample is further than 0.0001 from the mean, a full scale is 1",
        ),
        (np.clip(tone(peak=1.5), -1, 1), "a.wav: clipped: 53.5% of its samples are at full scale, at most 1%"),
        (tone(3.5), "a.wav: 3.5 seconds, at most 3 (audio.max_seconds)"),
        (np.where(np.arange(8000) == 7, np.nan, tone()), "a.wav: 1 of 8,000 values are infinite or no number"),
    ],
)
def test_sound_that_no_model_should_hear(tmp_path, sound, expected):
    subtype = "FLOAT" if np.isnan(sound).any() else "PCM_16"
    assert reason(write(tmp_path / "a.wav", sound, subtype=subtype)) == expected


def test_a_few_samples_at_full_scale_are_no_clipping_and_a_whisper_is_no_silence(tmp_path):
    loud = tone(hz=439.7, peak=1.0)
    assert 0 < (np.rint(loud * 2**15) >= 2**15 - 1).mean() < 0.01
    assert isinstance(attach(write(tmp_path / "a.wav", loud)), Row)
    assert isinstance(attach(write(tmp_path / "b.wav", tone(peak=1e-3))), Row)


def test_eight_bits_are_clipped_at_their_own_full_scale(tmp_path):
    path = write(tmp_path / "a.wav", np.clip(tone(peak=1.5), -1, 1), subtype="PCM_U8")
    assert "clipped" in reason(path)


def test_an_hour_is_refused_by_its_header_alone(tmp_path):
    """The file says that it is an hour long, and has a hole for it: 635 MB that nobody reads."""
    path, size = tmp_path / "a.wav", 2 * 3600 * 88_200
    write(path, tone(0.1, 44_100), 44_100)
    content = bytearray(path.read_bytes()[:44])
    content[4:8], content[40:44] = (size + 36).to_bytes(4, "little"), size.to_bytes(4, "little")
    with open(path, "wb") as file:
        file.write(content)
        file.truncate(44 + size)
    assert reason(str(path)) == "a.wav: 7,200.0 seconds, at most 3 (audio.max_seconds)"


def test_joined_recordings_are_too_long_together(tmp_path):
    path = write(tmp_path / "a.wav", tone(1.7))
    assert reason(path, path) == "a: 3.4 seconds, at most 3 (audio.max_seconds)"


def test_more_characters_than_frames_cannot_be_said(tmp_path):
    path = write(tmp_path / "a.wav", tone(0.11))
    assert isinstance(attach(path, transcript="x" * 11), Row)
    assert reason(path, transcript="x" * 12) == "a: a transcript of 12 characters, but only 11 frames of 10 ms"


@hypothesis(max_examples=31, deadline=None)
@given(st.integers(1, 1009))
def test_frames_are_the_samples_a_hop_each_and_zeros_fill_the_last(count):
    sound = np.random.default_rng(count).uniform(-1, 1, count).astype(np.float32)
    content = recordings.wav(sound, 16_000)
    frames = recordings.from_canonical(content, AUDIO)
    assert frames.dtype == np.float32
    assert frames.shape == (-(-count // 160), 160)
    np.testing.assert_allclose(frames.ravel()[:count], sound, atol=2**-15)
    assert not frames.ravel()[count:].any()
    assert recordings.seconds(content, AUDIO) == count / 16_000


def frames_of(count, depth=7):
    return np.random.default_rng(count).normal(size=(count, depth)).astype(np.float32)


@pytest.mark.parametrize("form", ["npy", "mfc", "mfcc"])
def test_features_are_read_and_joined(tmp_path, form):
    parts = frames_of(11), frames_of(13)
    paths = [str(tmp_path / f"{len(part)}.{form}") for part in parts]
    for path, part in zip(paths, parts, strict=True):
        if form == "npy":
            np.save(path, part)
        else:
            sphinx(tmp_path / f"{len(part)}.{form}", part)
    row = attach(*paths, audio=FEATURES)
    np.testing.assert_array_equal(recordings.from_canonical(row.audio, FEATURES), np.concatenate(parts))
    assert row.seconds == pytest.approx(0.24)
    assert row.audio == np.concatenate(parts).astype("<f4").tobytes()


def test_features_that_are_none(tmp_path):
    def saved(name, array):
        np.save(tmp_path / name, array, allow_pickle=True)
        return reason(str(tmp_path / name), audio=FEATURES)

    expected = "expected floats [frames, 7] (audio.depth)"
    assert saved("a.npy", frames_of(11, depth=5)) == f"a.npy: holds float32 [11, 5], {expected}"
    assert saved("a.npy", np.zeros((11, 7), int)) == f"a.npy: holds int64 [11, 7], {expected}"
    assert saved("a.npy", np.zeros(7)) == f"a.npy: holds float64 [7], {expected}"
    assert saved("a.npy", np.zeros((0, 7))) == "a.npy: no frames"
    assert saved("a.npy", frames_of(307)) == "a.npy: 307 frames, at most 300 (audio.max_seconds)"
    assert saved("a.npy", np.full((3, 7), np.inf)) == "a.npy: 21 of 21 values are infinite or no number"
    assert saved("a.npy", np.array([{}])).startswith("a.npy: cannot be read: ")


def test_files_of_sphinx_keep_what_their_header_promises(tmp_path):
    def reason_of(content):
        (tmp_path / "a.mfc").write_bytes(content)
        return reason(str(tmp_path / "a.mfc"), audio=FEATURES)

    sphinx(tmp_path / "a.mfc", frames_of(11))
    content = (tmp_path / "a.mfc").read_bytes()
    assert reason_of(content[:-8]) == "a.mfc: its header promises 77 values, it has 75"
    assert reason_of(b"") == "a.mfc: its header promises 0 values, it has 0"
    assert reason_of(bytes(4)) == "a.mfc: no frames"
    sphinx(tmp_path / "a.mfc", frames_of(11, depth=5))
    expected = "a.mfc: 55 values, which are no whole frames of 7 (audio.depth)"
    assert reason_of((tmp_path / "a.mfc").read_bytes()) == expected
    sphinx(tmp_path / "a.mfc", frames_of(307))
    assert "at most 300 (audio.max_seconds)" in reason_of((tmp_path / "a.mfc").read_bytes())


def test_sound_is_no_features_and_features_are_no_sound(tmp_path):
    path = write(tmp_path / "a.wav", tone())
    assert reason(path, audio=FEATURES) == (
        "a.wav: expected a file of features (.npy, .mfc, .mfcc), as audio.kind is 'features'"
    )
    assert reason("a.npy") == "a.npy: a file of features, but audio.kind is 'waveform': expected a file of sound"
    made = sphinx(tmp_path / "a.mfc", frames_of(11))
    assert "features have no silence to put between them" in reason(made, made, audio=FEATURES, pauses_ms=(10.0,))


def test_the_limits_are_those_of_the_documentation():
    assert (sound_files.SILENT_PEAK, sound_files.CLIPPED_SHARE) == (1e-4, 0.01)
