"""Texts with a label each, for a classifier: CSV with a header, or JSON of lists by name, as CLINC150 comes.

    a.csv:   text,label                                -> (the header)
             "Where is my card?",card_arrival          -> Row("Where is my card?", ("card_arrival",), "a.csv", 2)
    a.json:  {"train": [["is it cold", "weather"], ...], ...}  -> Row("is it cold", ("weather",), "a.json", 1), ...

A label is one piece of the target (`tokenizer: {target: {kind: word}}`), so its spaces become "_". Of JSON a line is
the number of the pair in its list.
"""

from __future__ import annotations

import csv
import dataclasses
import gzip
import json
import os
import zlib
from collections.abc import Iterator
from typing import Any, ClassVar, Literal

from components import text_files
from components.rows import Rejected, Row, check
from components.sources import Input, SourceError

Split = Literal["train", "validation", "test"]


@dataclasses.dataclass(frozen=True)
class Config:
    """Options of the source `labelled_texts`.

    Attributes:
        path: patterns of files, such as "data/*.csv.gz"; by split where the data comes with splits.
        text: the column of CSV that holds the text,
        label: and the label.
        lists: of JSON, which list is which split: {train: train, validation: val, test: test}.
    """

    __pydantic_config__: ClassVar[dict[str, str]] = {"extra": "forbid"}

    path: str | dict[Split, str]
    text: str = "text"
    label: str = "label"
    lists: dict[Split, str] = dataclasses.field(default_factory=dict)


def inputs(config: Config) -> tuple[Input, ...]:
    """The files that are there; one of JSON once for each of its splits."""
    by_split: dict[Any, str] = config.path if isinstance(config.path, dict) else {None: config.path}
    found = [Input((path,), split) for split, pattern in by_split.items() for path in text_files.find(pattern)]
    if not config.lists:
        return tuple(found)
    if isinstance(config.path, dict):
        raise SourceError("lists: says which list is which split, but `path` does, too: expected one of them")
    return tuple(Input(item.paths, split) for item in found for split in config.lists)


def read(config: Config, item: Input) -> Iterator[Row | Rejected]:
    """The rows of one file, or of one list of it."""
    (file,) = item.paths
    kind = os.path.splitext(file.removesuffix(".gz"))[1]
    if kind not in (".csv", ".json"):
        raise SourceError(f"{file}: {kind!r} is none of .csv, .json")
    pairs = _csv(config, file) if kind == ".csv" else _json(config, item)
    for line, pair in pairs:
        if isinstance(pair, Rejected):
            yield pair
            continue
        text, label = pair
        row = Row(" ".join(text.split()), ("_".join(label.split()),), file, line, item.split)
        yield check(row, raw="\t".join(pair))


def _csv(config: Config, file: str) -> Iterator[tuple[int, tuple[str, str] | Rejected]]:
    opener = gzip.open if file.endswith(".gz") else open
    with opener(file, "rt", encoding="utf-8-sig", errors="backslashreplace", newline="") as lines:
        reader = csv.DictReader(lines)
        try:
            yield from _pairs(config, file, reader)
        except (OSError, EOFError, zlib.error, csv.Error) as error:
            raise SourceError(f"{file}: cannot be read after line {reader.line_num}: {error}") from error


def _pairs(config: Config, file: str, reader: csv.DictReader[str]) -> Iterator[tuple[int, tuple[str, str] | Rejected]]:
    columns = reader.fieldnames or ()
    for column in (config.text, config.label):
        if column not in columns:
            raise SourceError(f"{file}: no column {column!r}, there are: {', '.join(columns)}")
    for row in reader:
        text, label = row[config.text], row[config.label]
        if text is None or label is None or None in row:
            shown = ",".join(str(value) for value in row.values())
            expected = f"expected {len(columns)} columns, as the header has"
            yield reader.line_num, Rejected(file, reader.line_num, expected, shown)
        else:
            yield reader.line_num, (text, label)


def _json(config: Config, item: Input) -> Iterator[tuple[int, tuple[str, str] | Rejected]]:
    (file,) = item.paths
    opener = gzip.open if file.endswith(".gz") else open
    try:
        with opener(file, "rt", encoding="utf-8") as content:
            document = json.load(content)
    except (OSError, EOFError, zlib.error, ValueError) as error:
        raise SourceError(f"{file}: cannot be read as JSON: {error}") from error
    name = config.lists.get(item.split, "") if item.split else ""  # type: ignore[call-overload]
    if not isinstance(document, dict) or name not in document:
        have = ", ".join(document) if isinstance(document, dict) else "no lists by name"
        raise SourceError(f"{file}: no list {name!r}, there are: {have}")
    if not isinstance(document[name], list):
        raise SourceError(f"{file}: {name!r} is no list of pairs, but {json.dumps(document[name])[:40]}")
    for number, pair in enumerate(document[name], start=1):
        if isinstance(pair, list) and len(pair) == 2 and all(isinstance(part, str) for part in pair):
            yield number, (pair[0], pair[1])
        else:
            yield number, Rejected(file, number, "expected [text, label]", json.dumps(pair, ensure_ascii=False))
