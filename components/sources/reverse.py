"""Made-up strings of letters, to be said backwards (the task of JoeyNMT's tutorial) or as they are.

Config(direction="reverse")  -> Row("cabd", ("dbac",), "reverse", 1, alignment="3-0 2-1 1-2 0-3"), ...
Config(direction="copy")     -> Row("cabd", ("cabd",), "copy", 1, alignment="0-0 1-1 2-2 3-3"), ...

Tokens are characters: `tokenizer: {source: {kind: char}, target: {kind: char}}`. Attention that only moves forwards can
learn `copy`, but not `reverse`. All strings differ, so that no string is in two splits.
"""

from __future__ import annotations

import dataclasses
import random
import string
from collections.abc import Iterator
from typing import Annotated, ClassVar, Literal

import annotated_types

from components.rows import Rejected, Row
from components.sources import Input


@dataclasses.dataclass(frozen=True)
class Config:
    """Options of the source `reverse`."""

    __pydantic_config__: ClassVar[dict[str, str]] = {"extra": "forbid"}

    rows: Annotated[int, annotated_types.Gt(0)] = 10_000
    letters: Annotated[int, annotated_types.Ge(1), annotated_types.Le(26)] = 26  # the alphabet: 4 is "abcd"
    min_length: Annotated[int, annotated_types.Ge(1)] = 1
    max_length: Annotated[int, annotated_types.Ge(1)] = 25
    direction: Literal["reverse", "copy"] = "reverse"
    seed: Annotated[int, annotated_types.Ge(0)] = 1

    def __post_init__(self) -> None:
        """There must be so many strings."""
        if self.min_length > self.max_length:
            raise ValueError(f"min_length is {self.min_length}, more than max_length, {self.max_length}")
        strings = sum(self.letters**length for length in range(self.min_length, self.max_length + 1))
        if self.rows > strings:
            lengths = f"{self.min_length} to {self.max_length}"
            raise ValueError(f"rows is {self.rows}, but {self.letters} letters make {strings} strings of {lengths}")


def inputs(config: Config) -> tuple[Input, ...]:
    """One, which no file is behind."""
    return (Input(generator=config.direction),)


def read(config: Config, item: Input) -> Iterator[Row | Rejected]:
    """The rows: the same ones for the same options."""
    draw = random.Random(config.seed)
    alphabet = string.ascii_lowercase[: config.letters]
    seen: set[str] = set()
    while len(seen) < config.rows:
        length = draw.randint(config.min_length, config.max_length)
        text = "".join(draw.choices(alphabet, k=length))
        if text in seen:
            continue
        seen.add(text)
        order = range(length) if config.direction == "copy" else range(length - 1, -1, -1)
        target = "".join(text[source] for source in order)
        links = " ".join(f"{source}-{position}" for position, source in enumerate(order))
        yield Row(text, (target,), item.name, len(seen), item.split, alignment=links)
