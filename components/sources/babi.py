"""The bAbI tasks (Weston et al. 2015): the question and the story so far in, the answer out.

1 Mary moved to the bathroom.
2 John went to the hallway.
3 Where is Mary? <TAB>bathroom<TAB>1
    -> Row("where is mary ? | mary moved to the bathroom . | john went to the hallway .", ("bathroom",),
           "qa1_single-supporting-fact_train.txt", 3, "train", group="qa1")

An answer that is a list, "apple,milk", becomes words: "apple milk". bAbI comes without validation data: whole stories
of the train files are taken for it, the same ones whenever they are read.
"""

from __future__ import annotations

import dataclasses
import os
import re
from collections.abc import Iterator
from typing import Annotated, ClassVar

import annotated_types

from components import text_files
from components.rows import Rejected, Row, check, split_of
from components.sources import Input

_LINE = re.compile(r"(?P<number>[1-9][0-9]{0,5}) (?P<text>[^\t]+)(\t(?P<answer>[^\t]*)(\t[0-9 ]*)?)?", re.ASCII)
_TOKEN = re.compile(r"[\w'-]+|[^\w\s]")
_TASK = re.compile(r"(qa\d+)_", re.ASCII)


@dataclasses.dataclass(frozen=True)
class Paths:
    """Patterns of files, such as "babi/qa*_train.txt.gz"."""

    __pydantic_config__: ClassVar[dict[str, str]] = {"extra": "forbid"}

    train: str
    test: str
    validation: str | None = None  # unset: stories of the train files


@dataclasses.dataclass(frozen=True)
class Config:
    """Options of the source `babi`."""

    __pydantic_config__: ClassVar[dict[str, str]] = {"extra": "forbid"}

    path: Paths
    validation: Annotated[float, annotated_types.Gt(0), annotated_types.Lt(1)] = 0.1  # share of stories; see `path`
    recent_first: bool = False  # tell the story backwards: what matters is often near the end of it
    max_facts: Annotated[int, annotated_types.Ge(1)] | None = None  # only the last ones of a long story


def inputs(config: Config) -> tuple[Input, ...]:
    """The files; train files twice where validation stories are theirs."""
    patterns = {
        "train": config.path.train,
        "validation": config.path.validation or config.path.train,
        "test": config.path.test,
    }
    return tuple(Input((path,), split) for split, pattern in patterns.items() for path in text_files.find(pattern))


def read(config: Config, item: Input) -> Iterator[Row | Rejected]:
    """The questions of a file, of the stories that are in the input's split."""
    shared = config.path.validation is None and item.split != "test"
    fractions = {"train": 1 - config.validation, "validation": config.validation}
    for story in _stories(item.paths[0]):
        text = "\n".join(line.row if isinstance(line, Rejected) else line for _, line in story)
        if not shared or split_of(text, fractions) == item.split:
            yield from _questions(config, item, story)


def _stories(path: str) -> Iterator[list[text_files.Line]]:
    """A story begins at a line that is numbered 1."""
    story: list[text_files.Line] = []
    for line, text in text_files.lines(path):
        if story and isinstance(text, str) and text.startswith("1 "):
            yield story
            story = []
        story.append((line, text))
    if story:
        yield story


def _questions(config: Config, item: Input, story: list[text_files.Line]) -> Iterator[Row | Rejected]:
    (file,) = item.paths
    task = _TASK.match(os.path.basename(file))
    facts: list[str] = []
    broken = 0  # the story's first line that cannot be read: who knows what is true after it?
    for number, (line, text) in enumerate(story, start=1):
        found = _parse(file, line, number, text)
        if isinstance(found, Rejected):
            broken = broken or line
            yield found
        elif found["answer"] is None:
            facts.append(_words(found["text"]))
        elif broken:
            yield Rejected(file, line, f"a question about a story whose line {broken} is broken", found[0])
        else:
            told = facts[-config.max_facts :] if config.max_facts else facts
            source = " | ".join((_words(found["text"]), *(reversed(told) if config.recent_first else told)))
            answer = _words(found["answer"].replace(",", " "))
            yield check(Row(source, (answer,), file, line, item.split, task[1] if task else ""), raw=found[0])


def _parse(file: str, line: int, number: int, text: str | Rejected) -> re.Match[str] | Rejected:
    if isinstance(text, Rejected):
        return text
    match = _LINE.fullmatch(text)
    if match is None:
        expected = "a number and a sentence, or a number, a question<TAB>answer<TAB>numbers of lines"
        return Rejected(file, line, f"expected {expected}", text)
    if int(match["number"]) != number:
        return Rejected(file, line, f"number {match['number']}, expected {number}", text)
    return match


def _words(text: str) -> str:
    """Lower case, punctuation apart: "Where is Mary?" -> "where is mary ?"."""
    return " ".join(_TOKEN.findall(text.lower()))
