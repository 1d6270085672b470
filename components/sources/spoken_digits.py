"""Digits that eSpeak NG says, for a machine without any recordings: the sound in, the words out.

Config() -> Row("en-us+f3 150/40: 3 1 4", ("three one four",), "spoken digits of eSpeak NG 1.52.0", 1,
                group="en-us+f3", speaker="en-us+f3 150/40"), ...

A speaker is a voice at one speed and pitch, and is in one split only. Nothing is said before its row is used.
"""

from __future__ import annotations

import dataclasses
import random
from collections.abc import Iterator
from typing import Annotated, ClassVar

import annotated_types
import numpy as np

from components import espeak, recordings
from components.rows import Rejected, Row
from components.sources import Input, SourceError

RECORDED = True

WORDS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")

_Speed = Annotated[int, annotated_types.Ge(80), annotated_types.Le(450)]  # what the library can
_Pitch = Annotated[int, annotated_types.Ge(0), annotated_types.Le(99)]


@dataclasses.dataclass(frozen=True)
class Config:
    """Options of the source `spoken_digits`: so many rows of so many speakers, each of whom has one of the voices.

    Voices are eSpeak NG's; another seed draws other digits and speakers.
    """

    __pydantic_config__: ClassVar[dict[str, str]] = {"extra": "forbid"}

    rows: Annotated[int, annotated_types.Gt(0)] = 2_000
    min_digits: Annotated[int, annotated_types.Ge(1)] = 1
    max_digits: Annotated[int, annotated_types.Ge(1)] = 5
    speakers: Annotated[int, annotated_types.Ge(1)] = 120
    voices: Annotated[tuple[str, ...], annotated_types.MinLen(1)] = (
        "en-us+m1", "en-us+m3", "en-us+f2", "en-us+f4", "en+m2", "en+m5", "en+f1", "en+f3", "en-gb-scotland+m7"
    )  # fmt: skip
    words_per_minute: tuple[_Speed, _Speed] = (120, 200)  # speakers draw theirs between these
    pitch: tuple[_Pitch, _Pitch] = (25, 75)
    seed: Annotated[int, annotated_types.Ge(0)] = 1

    def __post_init__(self) -> None:
        """Ranges rise."""
        digits = (self.min_digits, self.max_digits)
        for name, (low, high) in (
            ("digits", digits),
            ("words_per_minute", self.words_per_minute),
            ("pitch", self.pitch),
        ):
            if low > high:
                raise ValueError(f"{name}: from {low} to {high}, expected to rise")


def inputs(config: Config) -> tuple[Input, ...]:
    """One, which no file is behind; every voice is tried."""
    try:
        for voice in config.voices:
            espeak.say("zero", espeak.Speaker(voice, *_lowest(config)))
        version = espeak.version()
    except espeak.SpeechError as error:
        raise SourceError(f"the source 'spoken_digits': {error}") from None
    return (Input(generator=f"spoken digits of eSpeak NG {version}"),)


def read(config: Config, item: Input) -> Iterator[Row | Rejected]:
    """The rows: the same ones for the same options, without their recordings."""
    for line in range(1, config.rows + 1):
        speaker, digits = _drawn(config, line)
        text = " ".join(WORDS[digit] for digit in digits)
        source = f"{speaker.name}: {' '.join(map(str, digits))}"
        yield Row(source, (text,), item.name, line, item.split, group=speaker.voice, speaker=speaker.name)


def record(config: Config, row: Row) -> bytes:
    """What a row sounds like: a WAV file."""
    speaker, _ = _drawn(config, row.line)
    return recordings.wav(espeak.say(row.references[0], speaker).astype(np.float32) / 2**15, espeak.RATE_HZ)


def _drawn(config: Config, line: int) -> tuple[espeak.Speaker, list[int]]:
    """Who says what in a row: by its line alone, so that rows can be said in any order."""
    draw = random.Random(f"row {line} of {config.seed}")
    number = draw.randrange(config.speakers)
    digits = [draw.randrange(10) for _ in range(draw.randint(config.min_digits, config.max_digits))]
    draw = random.Random(f"speaker {number} of {config.seed}")
    voice = config.voices[number % len(config.voices)]
    return espeak.Speaker(voice, draw.randint(*config.words_per_minute), draw.randint(*config.pitch)), digits


def _lowest(config: Config) -> tuple[int, int]:
    return config.words_per_minute[0], config.pitch[0]
