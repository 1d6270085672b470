"""Pairs of texts from TSV, JSONL, or two files that are aligned line by line.

    a.tsv:         tea<TAB>thé                                         -> Row("tea", ("thé",), "a.tsv", 1)
    a.jsonl:       {"source": "tea", "references": ["thé", "le thé"]}  -> Row("tea", ("thé", "le thé"), "a.jsonl", 1)
    [a.en, a.fr]:  "tea" in the one and "thé" in the other             -> Row("tea", ("thé",), "a.en", 1)

A line that is no such row, "tea" alone in a.tsv -> Rejected("a.tsv", 2, "1 column, expected 2", "tea").
"""

from __future__ import annotations

import codecs
import dataclasses
import difflib
import glob
import gzip
import itertools
import json
import os
import zlib
from collections.abc import Iterator
from typing import Annotated, Any, ClassVar, Literal

import annotated_types

from components.rows import Rejected, Row, check
from components.sources import Input, SourceError

Column = Annotated[int, annotated_types.Ge(1)] | str  # a number counted from 1, or a name in the header or JSON object
Paths = str | tuple[str, str]  # files that match a pattern, or the source's and the target's aligned files
Split = Literal["train", "validation", "test"]
Line = tuple[int, str | Rejected]

_EXTENSIONS = {".tsv": "tsv", ".txt": "tsv", ".jsonl": "jsonl"}


@dataclasses.dataclass(frozen=True)
class Columns:
    """Where the texts are. Unset: columns 1 and 2 of TSV with no more, fields source, target, references of JSONL."""

    __pydantic_config__: ClassVar[dict[str, str]] = {"extra": "forbid"}

    source: Column | None = None
    target: Column | None = None
    references: tuple[Column, ...] | None = None  # more right answers; an empty cell of TSV is none


@dataclasses.dataclass(frozen=True)
class Config:
    """Options of the source `parallel_text`."""

    __pydantic_config__: ClassVar[dict[str, str]] = {"extra": "forbid"}

    path: Paths | dict[Split, Paths]  # patterns such as "data/*.tsv.gz"; by split where the data comes with splits
    columns: Columns = Columns()
    format: Literal["auto", "tsv", "jsonl"] = "auto"  # auto: by the file's extension
    separator: Annotated[str, annotated_types.MinLen(1)] = "\t"


def inputs(config: Config) -> tuple[Input, ...]:
    """The files that are there, in the order of their names."""
    by_split: dict[Any, Paths] = config.path if isinstance(config.path, dict) else {None: config.path}
    found = [Input(paths, split) for split, pattern in by_split.items() for paths in _files(pattern)]
    for item in found:
        if len(item.paths) == 1:
            _format(config, item.paths[0])
        elif config.columns != Columns():
            raise SourceError(f"columns: aligned files have none, but they are set for {' and '.join(item.paths)}")
    return tuple(found)


def read(config: Config, item: Input) -> Iterator[Row | Rejected]:
    """The rows of a file, or of a pair of files."""
    if len(item.paths) == 2:
        return _read_aligned(item)
    if _format(config, item.paths[0]) == "jsonl":
        return _read_jsonl(config.columns, item)
    return _read_tsv(config.columns, config.separator, item)


def _files(pattern: Paths) -> list[tuple[str, ...]]:
    matches = []
    for part in (pattern,) if isinstance(pattern, str) else pattern:
        matches.append(sorted(path for path in glob.glob(part, recursive=True) if os.path.isfile(path)))
        if not matches[-1]:
            raise SourceError(f"no file matches {part!r} (in {os.getcwd()})")
    if len({len(paths) for paths in matches}) > 1:
        counts = " and ".join(f"{len(paths)} match {part!r}" for part, paths in zip(pattern, matches, strict=True))
        raise SourceError(f"aligned files come in pairs, but {counts}")
    return list(zip(*matches, strict=True))


def _format(config: Config, path: str) -> str:
    """The format of one file; the columns must suit it."""
    extension = os.path.splitext(path.removesuffix(".gz"))[1]
    form = config.format if config.format != "auto" else _EXTENSIONS.get(extension)
    if form is None:
        raise SourceError(f"{path}: {extension!r} is none of {', '.join(_EXTENSIONS)}; set `format` to tsv or jsonl")
    columns = (config.columns.source, config.columns.target, *(config.columns.references or ()))
    numbers = [column for column in columns if isinstance(column, int)]
    if form == "jsonl" and numbers:
        raise SourceError(f"{path}: columns: {numbers[0]} is a number, but a field of JSONL has a name")
    return form


def _read_aligned(item: Input) -> Iterator[Row | Rejected]:
    file = item.paths[0]
    counts = [0, 0]
    for pair in itertools.zip_longest(*(_lines(path) for path in item.paths)):
        counts = [count + (line is not None) for count, line in zip(counts, pair, strict=True)]
        if None in pair:
            continue  # read on, to be able to say how many lines there are
        (line, source), (_, target) = pair
        if isinstance(source, Rejected):
            yield source
        elif isinstance(target, Rejected):
            yield target
        else:
            yield check(Row(source, (target,), file, line, item.split))
    if counts[0] != counts[1]:
        sizes = ", ".join(f"{path} has {count}" for path, count in zip(item.paths, counts, strict=True))
        raise SourceError(f"aligned files must have the same number of lines: {sizes}")


def _read_tsv(columns: Columns, separator: str, item: Input) -> Iterator[Row | Rejected]:
    (file,) = item.paths
    wanted: list[Column] = [columns.source or 1, columns.target or 2, *(columns.references or ())]
    lines = _lines(file)
    header = next(lines, None) if any(isinstance(column, str) for column in wanted) else None
    width: int | None = 2 if columns == Columns() else None  # the exact number of columns, where it is known
    indices = [column - 1 for column in wanted if isinstance(column, int)]
    if header is not None:
        if isinstance(header[1], Rejected):
            raise SourceError(f"{file}: line 1, the header: {header[1].reason}")
        fields = [name.strip() for name in header[1].split(separator)]
        width, indices = len(fields), [_index(file, column, fields) for column in wanted]
    for line, text in lines:
        if isinstance(text, Rejected):
            yield text
            continue
        cells = text.split(separator)
        if len(cells) != width if width else len(cells) <= max(indices):
            plural = "" if len(cells) == 1 else "s"
            expected = width or f"at least {max(indices) + 1}"
            yield Rejected(file, line, f"{len(cells)} column{plural}, expected {expected}", text)
            continue
        source, target, *others = (cells[index] for index in indices)
        yield check(Row(source, (target, *filter(str.strip, others)), file, line, item.split), raw=text)


def _index(file: str, column: Column, header: list[str]) -> int:
    if isinstance(column, int):
        if column > len(header):
            raise SourceError(f"{file}: no column {column}, the header has {len(header)}: {', '.join(header)}")
        return column - 1
    if column not in header:
        nearest = difflib.get_close_matches(column, header, n=1)
        hint = f"; did you mean {nearest[0]!r}?" if nearest else ""
        raise SourceError(f"{file}: no column {column!r}, the header has: {', '.join(header)}{hint}")
    return header.index(column)


def _read_jsonl(columns: Columns, item: Input) -> Iterator[Row | Rejected]:
    (file,) = item.paths
    for line, text in _lines(file):
        if isinstance(text, Rejected):
            yield text
            continue
        try:
            source, references = _texts(columns, text)
        except ValueError as error:
            yield Rejected(file, line, str(error), text)
            continue
        yield check(Row(source, references, file, line, item.split), raw=text)


def _texts(columns: Columns, text: str) -> tuple[str, tuple[str, ...]]:
    """'{"source": "tea", "target": "thé"}' -> ("tea", ("thé",)). Where references are given, no target is needed."""
    try:
        fields = json.loads(text)
    except json.JSONDecodeError as error:
        raise ValueError(f"bad JSON: {error.msg} at character {error.pos + 1}") from None
    except (ValueError, RecursionError) as error:  # a number of thousands of digits, brackets thousands deep
        raise ValueError(f"bad JSON: {error}") from None
    if not isinstance(fields, dict):
        raise ValueError(f"expected a JSON object, got {_kind(fields)}")
    source, target = str(columns.source or "source"), str(columns.target or "target")
    others = ("references",) if columns.references is None else tuple(map(str, columns.references))
    references = [_string(target, fields[target])] if target in fields else []
    for name in others:
        values = fields.get(name, [])
        references += [_string(name, value) for value in (values if isinstance(values, list) else [values])]
    for name, found in ((source, source in fields), (target, references)):
        if not found:
            raise ValueError(f"missing field {name!r}, there are: {', '.join(fields) or 'none'}")
    return _string(source, fields[source]), tuple(references)


def _string(name: str, value: Any) -> str:
    if not isinstance(value, str):
        raise ValueError(f"field {name!r}: expected a string, got {_kind(value)}")
    return value


def _kind(value: Any) -> str:
    names = {dict: "an object", list: "a list", str: "a string", bool: "a truth value", type(None): "null"}
    return names.get(type(value), "a number")


def _lines(path: str) -> Iterator[Line]:
    """Numbered lines without their ends, decoded one by one: a bad byte spoils its own line only."""
    opener = gzip.open if path.endswith(".gz") else open
    number = 0
    try:
        with opener(path, "rb") as file:
            for number, raw in enumerate(file, start=1):
                text = raw.rstrip(b"\r\n")
                text = text.removeprefix(codecs.BOM_UTF8) if number == 1 else text
                try:
                    yield number, text.decode()
                except UnicodeDecodeError as error:
                    reason = f"invalid UTF-8 at byte {error.start + 1}"
                    yield number, Rejected(path, number, reason, text.decode(errors="backslashreplace"))
    except (OSError, EOFError, zlib.error) as error:
        raise SourceError(f"{path}: cannot be read after line {number}: {error}") from error
