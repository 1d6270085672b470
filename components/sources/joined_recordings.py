"""Strings of recorded words: several recordings of one speaker, one after the other, in an order that is drawn.

With words: {"3": "three", "1": "one"}, of the files 3_ann_7.wav and 1_ann_2.wav among data/train/*.wav
    -> Row("3_ann_7.wav + 1_ann_2.wav", ("three one",), "data/train/*.wav", 1, "train", speaker="ann",
           recordings=("data/train/3_ann_7.wav", "data/train/1_ann_2.wav"), pauses_ms=(70.3,))

With max_joined: 1 every file is one row. No recording is in two splits: where no validation files are given, some of
the train files are kept for it, the same ones whenever they are read.
"""

from __future__ import annotations

import dataclasses
import os
import random
import re
from collections.abc import Iterator
from typing import Annotated, ClassVar, NamedTuple

import annotated_types

from components import text_files
from components.rows import Rejected, Row, split_of
from components.sources import Input

RECORDED = True

_Count = Annotated[int, annotated_types.Gt(0)]
_Pause = Annotated[float, annotated_types.Ge(0)]


@dataclasses.dataclass(frozen=True)
class Paths:
    """Patterns of files, such as "digits/train/*.wav"."""

    __pydantic_config__: ClassVar[dict[str, str]] = {"extra": "forbid"}

    train: str
    test: str
    validation: str | None = None  # unset: some of the train files


@dataclasses.dataclass(frozen=True)
class Rows:
    """How many strings are joined."""

    __pydantic_config__: ClassVar[dict[str, str]] = {"extra": "forbid"}

    train: _Count = 8_000
    validation: _Count = 500
    test: _Count = 500


@dataclasses.dataclass(frozen=True)
class Config:
    """Options of the source `joined_recordings`."""

    __pydantic_config__: ClassVar[dict[str, str]] = {"extra": "forbid"}

    path: Paths
    pattern: str = r"(?P<label>[^_]+)_(?P<speaker>[^_]+)_.*"  # of a file's name, as a whole
    words: dict[str, str] = dataclasses.field(default_factory=dict)  # of the labels; empty: the labels are words
    rows: Rows = Rows()  # of strings; without them (max_joined: 1) there are as many rows as files
    min_joined: _Count = 1
    max_joined: _Count = 7
    gap_ms: tuple[_Pause, _Pause] = (0.0, 200.0)  # silence between two recordings is drawn between these
    validation: Annotated[float, annotated_types.Gt(0), annotated_types.Lt(1)] = 0.1  # share of files; see `path`
    seed: Annotated[int, annotated_types.Ge(0)] = 1

    def __post_init__(self) -> None:
        """Ranges rise, and the pattern says what is what."""
        for name, (low, high) in (("joined", (self.min_joined, self.max_joined)), ("gap_ms", self.gap_ms)):
            if low > high:
                raise ValueError(f"{name}: from {low:g} to {high:g}, expected to rise")
        try:
            groups = set(re.compile(self.pattern).groupindex)
        except re.error as error:
            raise ValueError(f"pattern: {self.pattern!r} is no regular expression: {error}") from None
        if groups != {"label", "speaker"}:
            raise ValueError(f"pattern: {self.pattern!r}, expected the groups (?P<label>...) and (?P<speaker>...)")


class _Word(NamedTuple):
    path: str
    speaker: str
    text: str


def inputs(config: Config) -> tuple[Input, ...]:
    """The files of each split, known by their pattern."""
    fractions = {"train": 1 - config.validation, "validation": config.validation}
    train = text_files.find(config.path.train)
    if config.path.validation is None:
        kept = {
            split: [path for path in train if split_of(os.path.basename(path), fractions) == split]
            for split in fractions
        }
    else:
        kept = {"train": train, "validation": text_files.find(config.path.validation)}
    patterns = {
        "train": config.path.train,
        "validation": config.path.validation or config.path.train,
        "test": config.path.test,
    }
    kept["test"] = text_files.find(config.path.test)
    return tuple(
        Input(split=split, generator=pattern, recordings=tuple(kept[split])) for split, pattern in patterns.items()
    )


def read(config: Config, item: Input) -> Iterator[Row | Rejected]:
    """The rows of a split, the same ones for the same options and files; files that have another name are rejected."""
    words: list[_Word] = []
    for line, path in enumerate(item.recordings, start=1):
        word = _word(config, path, line)
        if isinstance(word, Rejected):
            yield word
        else:
            words.append(word)
    for line, (joined, pauses_ms) in enumerate(_strings(config, item, words), start=1):
        yield Row(
            " + ".join(os.path.basename(word.path) for word in joined),
            (" ".join(word.text for word in joined),),
            item.name,
            line,
            item.split,
            recordings=tuple(word.path for word in joined),
            pauses_ms=pauses_ms,
            speaker=joined[0].speaker,
        )


def _word(config: Config, path: str, line: int) -> _Word | Rejected:
    name = os.path.basename(path)
    match = re.fullmatch(config.pattern, name)
    if match is None:
        return Rejected(path, line, f"the name does not match {config.pattern!r}", name)
    label = match["label"]
    if config.words and label not in config.words:
        return Rejected(path, line, f"label {label!r} is none of the `words`: {', '.join(config.words)}", name)
    return _Word(path, match["speaker"], config.words.get(label, label))


def _strings(config: Config, item: Input, words: list[_Word]) -> Iterator[tuple[list[_Word], tuple[float, ...]]]:
    """What is joined, and the pauses in ms between."""
    if config.max_joined == 1:
        yield from (([word], ()) for word in words)
        return
    by_speaker: dict[str, list[_Word]] = {}
    for word in words:
        by_speaker.setdefault(word.speaker, []).append(word)
    draw = random.Random(f"{item.split} {config.seed}")
    for _ in range(getattr(config.rows, str(item.split)) if words else 0):
        # A speaker is drawn as often as there are recordings of theirs.
        speaker = draw.choice(words).speaker
        joined = draw.choices(by_speaker[speaker], k=draw.randint(config.min_joined, config.max_joined))
        yield joined, tuple(round(draw.uniform(*config.gap_ms), 1) for _ in joined[1:])
