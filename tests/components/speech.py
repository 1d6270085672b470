"""Recordings for tests: a tone that anyone can compute, and files of it."""

import numpy as np
import soundfile


def tone(seconds=0.5, rate_hz=16_000, hz=440.0, peak=0.5):
    """A sine, float64 [samples]."""
    return peak * np.sin(2 * np.pi * hz * np.arange(round(seconds * rate_hz)) / rate_hz)


def write(path, samples, rate_hz=16_000, subtype="PCM_16"):
    """A file of sound, by its extension -> its path."""
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, samples, rate_hz, subtype=subtype)
    return str(path)


def sphinx(path, frames):
    """A file of features as Sphinx writes it -> its path."""
    path.write_bytes(frames.size.to_bytes(4, "big") + frames.astype(">f4").tobytes())
    return str(path)
