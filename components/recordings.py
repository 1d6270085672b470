"""Recordings of rows: read, checked, resampled, joined, and their canonical form, which is what training reads.

Row("a.wav", ("yes",), "a.jsonl", 3, recordings=("data/a.wav",)), data/a.wav in stereo at 8 kHz, Audio() of 16 kHz
    -> Row(..., audio=b"RIFF...", seconds=0.53, resampled=True)
    -> Rejected("a.jsonl", 3, "data/a.wav: cut short: its header promises 8,480 bytes, it has 1,000", "a.wav\\tyes")

The canonical form of a waveform is a WAV file of 16 bits, mono, at `audio.sample_rate_hz`; that of features is
little-endian float32 [frames, depth] and nothing else.
"""

from __future__ import annotations

import dataclasses
import io
import wave

import numpy as np
import soxr

from components import sound_files
from components.rows import Rejected, Row
from components.sound_files import FEATURES, Floats, Sound, UnusableError
from models.audio import Audio

_HEADER = 44  # bytes of a WAV file before its samples
_FULL_SCALE = 2**15


def attach(row: Row, audio: Audio) -> Row | Rejected:
    """A row with its recording in canonical form, or why it cannot have one."""
    try:
        heard = _waveform(row, audio) if audio.kind == "waveform" else _features(row, audio)
        frames = len(from_canonical(heard.audio, audio))
        text = heard.references[0]
        if len(text) > frames:
            raise UnusableError(
                f"{row.source}: a transcript of {len(text)} characters, but only {frames} frames of {audio.hop_ms:g} ms"
            )
    except UnusableError as error:
        return Rejected(row.file, row.line, str(error), "\t".join((row.source, *row.references)))
    return dataclasses.replace(heard, seconds=seconds(heard.audio, audio))


def from_canonical(content: bytes, audio: Audio) -> Floats:
    """The canonical form -> float32 [frames, audio.frame_depth]; zeros fill the last hop of a waveform."""
    if audio.kind == "features":
        return np.frombuffer(content, "<f4").astype(np.float32).reshape(-1, audio.depth)
    samples = np.frombuffer(content, "<i2", offset=_HEADER).astype(np.float32) / _FULL_SCALE
    return np.pad(samples, (0, -len(samples) % audio.hop_samples)).reshape(-1, audio.hop_samples)


def seconds(content: bytes, audio: Audio) -> float:
    """How long a recording in canonical form is."""
    if audio.kind == "features":
        return len(content) / (4 * audio.depth) * audio.hop_ms / 1000
    return (len(content) - _HEADER) / 2 / audio.sample_rate_hz


def wav(samples: Floats, rate_hz: int) -> bytes:
    """Samples between -1 and 1 as a WAV file of 16 bits, mono; what is louder is cut off."""
    pcm = np.clip(np.rint(samples * _FULL_SCALE), -_FULL_SCALE, _FULL_SCALE - 1).astype("<i2")
    file = io.BytesIO()
    with wave.open(file, "wb") as out:
        out.setnchannels(1)
        out.setsampwidth(2)
        out.setframerate(rate_hz)
        out.writeframes(pcm.tobytes())
    return file.getvalue()


def _waveform(row: Row, audio: Audio) -> Row:
    for path in row.recordings:
        if path.endswith(FEATURES):
            raise UnusableError(f"{path}: a file of features, but audio.kind is 'waveform': expected a file of sound")
    if row.recordings:
        sounds = [sound_files.read_sound(path, audio.max_seconds) for path in row.recordings]
    else:
        sounds = [sound_files.read_sound(row.source, audio.max_seconds, row.audio)]
    samples = _joined([_resampled(sound, audio.sample_rate_hz) for sound in sounds], row.pauses_ms, audio)
    duration = len(samples) / audio.sample_rate_hz
    if duration > audio.max_seconds:
        raise UnusableError(f"{row.source}: {duration:,.1f} seconds, at most {audio.max_seconds:g} (audio.max_seconds)")
    return dataclasses.replace(
        row,
        audio=wav(samples, audio.sample_rate_hz),
        resampled=any(sound.rate_hz != audio.sample_rate_hz for sound in sounds),
    )


def _resampled(sound: Sound, rate_hz: int) -> Floats:
    if sound.rate_hz == rate_hz:
        return sound.samples
    return np.asarray(soxr.resample(sound.samples, sound.rate_hz, rate_hz), np.float32)


def _joined(parts: list[Floats], pauses_ms: tuple[float, ...], audio: Audio) -> Floats:
    """One after the other, with silence between them."""
    pauses = [np.zeros(round(ms / 1000 * audio.sample_rate_hz), np.float32) for ms in pauses_ms]
    pauses += [np.zeros(0, np.float32)] * (len(parts) - len(pauses))
    return np.concatenate([samples for pair in zip(parts, pauses, strict=True) for samples in pair])


def _features(row: Row, audio: Audio) -> Row:
    for path in row.recordings or (row.source,):
        if not path.endswith(FEATURES):
            raise UnusableError(
                f"{path}: expected a file of features ({', '.join(FEATURES)}), as audio.kind is 'features'"
            )
    if any(row.pauses_ms):
        raise UnusableError(f"{row.source}: features have no silence to put between them: a pause of 0 ms is expected")
    limit = audio.frames(audio.max_seconds)
    frames = np.concatenate([sound_files.read_features(path, audio.depth, limit) for path in row.recordings])
    if len(frames) > limit:
        raise UnusableError(f"{row.source}: {len(frames):,} frames, at most {limit:,} (audio.max_seconds)")
    return dataclasses.replace(row, audio=frames.astype("<f4").tobytes())
