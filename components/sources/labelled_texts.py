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
from collections.abc import Iterable, Iterator
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
    line = 0
    try:
        with opener(file, "rt", encoding="utf-8-sig", errors="surrogateescape", newline="") as lines:
            for line, pair in _pairs(config, file, lines):
                yield line, pair
    except (OSError, EOFError, zlib.error) as error:
        raise SourceError(f"{file}: cannot be read after line {line}: {error}") from error


def _pairs(config: Config, file: str, lines: Iterable[str]) -> Iterator[tuple[int, tuple[str, str] | Rejected]]:
    records = _records(file, lines)
    _, columns = next(records, (0, []))
    if isinstance(columns, Rejected):
        raise SourceError(f"{file}: line 1, the header: {columns.reason}")
    text, label = (_column(file, name, columns) for name in (config.text, config.label))
    for line, cells in records:
        if isinstance(cells, Rejected):
            yield line, cells
        elif len(cells) != len(columns):
            expected = f"expected {len(columns)} columns, as the header has"
            yield line, Rejected(file, line, expected, ",".join(cells))
        else:
            yield line, (cells[text], cells[label])


def _column(file: str, name: str, columns: list[str]) -> int:
    if not columns:
        raise SourceError(f"{file}: is empty, expected a header with a column {name!r}")
    if columns.count(name) != 1:
        many = "two columns" if name in columns else "no column"
        raise SourceError(f"{file}: {many} {name!r}, there are: {', '.join(columns)}")
    return columns.index(name)


def _records(file: str, lines: Iterable[str]) -> Iterator[tuple[int, list[str] | Rejected]]:
    """The records of CSV and the line where each ends; a quote that swallows the lines behind it is no row's error."""
    seen: list[str] = []

    def remembered() -> Iterator[str]:
        for line in lines:
            seen.append(line)
            yield line

    reader = csv.reader(remembered(), strict=True)
    while True:
        seen.clear()
        began = reader.line_num + 1
        try:
            cells = next(reader, None)
        except csv.Error as error:
            if len(seen) > 1:
                raise SourceError(f"{file}: the record that begins in line {began} does not end: {error}") from error
            cells, reason = [], f"no CSV: {error}"
        else:
            reason = ""
        if cells is None:
            return
        raw = "".join(seen).rstrip("\r\n")
        if not reason and not raw.isascii() and any("\udc80" <= character <= "\udcff" for character in raw):
            reason, raw = "invalid UTF-8", raw.encode(errors="surrogateescape").decode(errors="backslashreplace")
        if reason:
            yield reader.line_num, Rejected(file, reader.line_num, reason, raw)
        elif cells:
            yield reader.line_num, cells


def _json(config: Config, item: Input) -> Iterator[tuple[int, tuple[str, str] | Rejected]]:
    (file,) = item.paths
    opener = gzip.open if file.endswith(".gz") else open
    try:
        with opener(file, "rt", encoding="utf-8") as content:
            document = json.load(content)
    except (OSError, EOFError, zlib.error, ValueError) as error:
        raise SourceError(f"{file}: cannot be read as JSON: {error}") from error
    if not config.lists:
        raise SourceError(f"{file}: set `lists`, expected which list is which split: {{train: train, test: test}}")
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
