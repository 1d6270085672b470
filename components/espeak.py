"""Speech that is made up: eSpeak NG, which the package `espeakng-loader` brings along as a library.

say("three one four", Speaker("en-us+f3", 150, 40)) -> int16 [samples] at RATE_HZ
"""

from __future__ import annotations

import _ctypes
import contextlib
import ctypes
import dataclasses
import os
import threading
from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

try:
    import espeakng_loader
except ImportError:
    espeakng_loader = None

RATE_HZ = 22_050

# Of espeak-ng/speak_lib.h.
_SYNCHRONOUS, _DO_NOT_EXIT, _CHARACTERS, _UTF8 = 2, 0x8000, 1, 1
_WORDS_PER_MINUTE, _PITCH = 1, 3
_OK = 0

_ONE_AT_A_TIME = threading.Lock()  # the library speaks with one voice
_Samples = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.c_void_p)


class SpeechError(ValueError):
    """eSpeak NG is missing, or does not know the voice."""


@dataclasses.dataclass(frozen=True)
class Speaker:
    """A voice, "en-us" or with a variant "en-us+f3", and how it speaks."""

    voice: str
    words_per_minute: int
    pitch: int  # from 0 to 99

    @property
    def name(self) -> str:
        """What people know it by: "en-us+f3 150/40"."""
        return f"{self.voice} {self.words_per_minute}/{self.pitch}"


def version() -> str:
    """Of the library: "1.52.0"."""
    with _loaded() as library:
        library.espeak_Info.restype = ctypes.c_char_p
        return bytes(library.espeak_Info(None)).decode()


def say(text: str, speaker: Speaker) -> npt.NDArray[np.int16]:
    """The same samples whenever, and after whatever else, it is said."""
    with _loaded() as library:
        return _say(library, text, speaker)


@contextlib.contextmanager
def _loaded() -> Iterator[ctypes.CDLL]:
    """The library as it is before it has said anything.

    It keeps state that colours what is said next, even when it is told to start afresh. So it is loaded anew for every
    text, which takes about 2 ms.
    """
    if espeakng_loader is None:
        raise SpeechError("eSpeak NG is missing: pip install espeakng-loader")
    with _ONE_AT_A_TIME:
        library = ctypes.CDLL(espeakng_loader.get_library_path())
        try:
            yield library
        finally:
            library.espeak_Terminate()
            _ctypes.dlclose(library._handle)


def _say(library: ctypes.CDLL, text: str, speaker: Speaker) -> npt.NDArray[np.int16]:
    said: list[npt.NDArray[np.int16]] = []

    def hear(samples: ctypes._Pointer[ctypes.c_short], count: int, _: int | None) -> int:
        if count:
            said.append(np.ctypeslib.as_array(samples, (count,)).astype(np.int16))
        return _OK  # go on

    heard = _Samples(hear)  # held by a name: the library calls it until it has spoken
    folder = os.path.dirname(espeakng_loader.get_data_path())
    rate_hz = library.espeak_Initialize(_SYNCHRONOUS, 0, folder.encode(), _DO_NOT_EXIT)
    if rate_hz != RATE_HZ:
        raise SpeechError(f"eSpeak NG does not start with the data in {folder}: it answers {rate_hz}")
    library.espeak_ng_SetRandSeed(ctypes.c_long(1))  # the time of day would be it
    library.espeak_SetSynthCallback(heard)
    if library.espeak_SetVoiceByName(speaker.voice.encode()) != _OK:
        raise SpeechError(f"eSpeak NG has no voice {speaker.voice!r}")
    library.espeak_SetParameter(_WORDS_PER_MINUTE, speaker.words_per_minute, 0)
    library.espeak_SetParameter(_PITCH, speaker.pitch, 0)
    content = text.encode() + b"\0"
    library.espeak_Synth(content, ctypes.c_size_t(len(content)), 0, _CHARACTERS, 0, _UTF8, None, None)
    return np.concatenate(said)
