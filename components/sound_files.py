"""Files of recordings, checked: sound as libsndfile reads it (WAV, FLAC, OGG, ...), and features that were computed.

    read_sound("a.wav", max_seconds=30)   -> Sound(float32 [samples], 8000): mono, a full scale is 1
    read_features("a.mfc", 13, 3000)      -> float32 [frames, 13]

A file that is no recording to train on is an UnusableError: "a.wav: cannot be read: Format not recognised".
"""

from __future__ import annotations

import io
import os
import re
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import soundfile

Floats = npt.NDArray[np.float32]

FEATURES = (".npy", ".mfc", ".mfcc")  # NumPy's, and those of Sphinx
SILENT_PEAK = 1e-4  # -80 dB: below it there is nothing but the last bits of 16
CLIPPED_SHARE = 0.01  # of the samples, at full scale: speech that is recorded well has none, or a few

# What libsndfile's log says of a header that promises more bytes than there are: "data : 32000 (should be 15978)".
_CUT_SHORT = re.compile(r"^\s*(?:data|SSND|Data Size)\s*:\s*(\d+) \(should be (\d+)\)", re.MULTILINE)
_STREAMED = 0x7FFFF000  # a program that does not know how much will come promises so many bytes, or more
_FULL_SCALE_8_BITS = 1 - 2.0**-7
_FULL_SCALE = 1 - 2.0**-15


class UnusableError(ValueError):
    """A file that is no recording to train on: names it, what was found and what was expected."""


class Sound(NamedTuple):
    """What a file sounds like."""

    samples: Floats  # [samples], mono
    rate_hz: int


def read_sound(path: str, max_seconds: float, content: bytes = b"") -> Sound:
    """The sound of a file, or of a file's `content`, of which `path` is the name then.

    Never more than `max_seconds` are held: a file that is longer is refused by what its header says.
    """
    try:
        if not (len(content) or os.stat(path).st_size):
            raise UnusableError(f"{path}: an empty file")
        with soundfile.SoundFile(io.BytesIO(content) if content else path) as file:
            _require_length(path, file, max_seconds)
            rate_hz, promised = int(file.samplerate), int(file.frames)
            channels = file.read(dtype="float32", always_2d=True)  # [samples, channels]
            full_scale = _FULL_SCALE_8_BITS if file.subtype in ("PCM_U8", "PCM_S8") else _FULL_SCALE
    except soundfile.LibsndfileError as error:
        raise UnusableError(f"{path}: cannot be read: {error.error_string.rstrip('.')}") from None
    except (OSError, ValueError) as error:
        if isinstance(error, UnusableError):
            raise
        raise UnusableError(f"{path}: cannot be read: {getattr(error, 'strerror', None) or error}") from None
    if len(channels) < promised:
        raise UnusableError(f"{path}: cut short: its header promises {promised:,} samples, it has {len(channels):,}")
    _require_audible(path, channels, full_scale)
    return Sound(channels.mean(axis=1), rate_hz)


def read_features(path: str, depth: int, max_frames: int) -> Floats:
    """The features of a file -> float32 [frames, depth]."""
    try:
        frames = _read_numpy(path, depth) if path.endswith(".npy") else _read_sphinx(path, depth, max_frames)
    except (OSError, ValueError, EOFError) as error:
        if isinstance(error, UnusableError):
            raise
        raise UnusableError(f"{path}: cannot be read: {getattr(error, 'strerror', None) or error}") from None
    if not len(frames):
        raise UnusableError(f"{path}: no frames")
    if len(frames) > max_frames:
        raise UnusableError(f"{path}: {len(frames):,} frames, at most {max_frames:,} (audio.max_seconds)")
    found = np.asarray(frames, np.float32)  # reads what NumPy has only mapped so far
    _require_finite(path, found)
    return found


def _require_length(path: str, file: soundfile.SoundFile, max_seconds: float) -> None:
    """By the header, before anything else is read."""
    for promised, there in _CUT_SHORT.findall(file.extra_info):
        if int(there) < int(promised) < _STREAMED:
            raise UnusableError(
                f"{path}: cut short: its header promises {int(promised):,} bytes, it has {int(there):,}"
            )
    if file.frames <= 0:
        raise UnusableError(f"{path}: no samples")
    if file.frames > max_seconds * file.samplerate:
        seconds = file.frames / file.samplerate
        raise UnusableError(f"{path}: {seconds:,.1f} seconds, at most {max_seconds:g} (audio.max_seconds)")


def _require_audible(path: str, channels: Floats, full_scale: float) -> None:
    _require_finite(path, channels)
    if float(np.ptp(channels.mean(axis=1))) / 2 < SILENT_PEAK:  # of what is heard: channels may cancel each other
        raise UnusableError(
            f"{path}: silent: no sample is further than {SILENT_PEAK:g} from the mean, a full scale is 1"
        )
    clipped = float((np.abs(channels) >= full_scale).mean())
    if clipped > CLIPPED_SHARE:
        raise UnusableError(
            f"{path}: clipped: {clipped:.1%} of its samples are at full scale, at most {CLIPPED_SHARE:.0%}"
        )


def _require_finite(path: str, values: Floats) -> None:
    bad = int(values.size - np.isfinite(values).sum())
    if bad:
        raise UnusableError(f"{path}: {bad:,} of {values.size:,} values are infinite or no number")


def _read_numpy(path: str, depth: int) -> npt.NDArray[np.generic]:
    found = np.load(path, mmap_mode="r", allow_pickle=False)
    if found.ndim != 2 or found.shape[1] != depth or found.dtype.kind != "f":
        shape = f"{found.dtype} {list(found.shape)}"
        raise UnusableError(f"{path}: holds {shape}, expected floats [frames, {depth}] (audio.depth)")
    return found


def _read_sphinx(path: str, depth: int, max_frames: int) -> npt.NDArray[np.generic]:
    """A big-endian int32, how many values follow, and the values, big-endian float32."""
    there = (os.stat(path).st_size - 4) / 4
    with open(path, "rb") as file:
        promised = int.from_bytes(file.read(4), "big", signed=True)
        if promised != there:
            raise UnusableError(f"{path}: its header promises {promised:,} values, it has {max(there, 0):,g}")
        if promised % depth:
            raise UnusableError(f"{path}: {promised:,} values, which are no whole frames of {depth} (audio.depth)")
        # One frame too many is enough to see that it is too long.
        return np.frombuffer(file.read(4 * depth * (max_frames + 1)), ">f4").reshape(-1, depth)
