"""Pairs of texts from TSV, JSONL, or files that are aligned line by line.

    a.tsv:         tea<TAB>thé                                         -> Row("tea", ("thé",), "a.tsv", 1)
    a.jsonl:       {"source": "tea", "references": ["thé", "le thé"]}  -> Row("tea", ("thé", "le thé"), "a.jsonl", 1)
    [a.en, a.fr]:  "tea" in the one and "thé" in the other             -> Row("tea", ("thé",), "a.en", 1)

A line that is no such row, "tea" alone in a.tsv -> Rejected("a.tsv", 2, "1 column, expected 2", "tea").
In JSONL a source may be a list of sentences, which spaces join, and a target a list of right answers.

With group: '([a-z]+)_train' and tag: true, the line "차<TAB>tɕʰ a" of kor_train.tsv
    -> Row("<kor> 차", ("tɕʰ a",), ..., group="kor")
With alignments in a third file (or column), "1-0" where the target's word 0 says what the source's word 1 says:
    [a.en, a.fr, a.align]:  "green tea", "thé vert", "1-0 0-1"
    -> Row("green tea", ("thé vert",), ..., alignment="1-0 0-1")
"""

from __future__ import annotations

import dataclasses
import difflib
import itertools
import json
import os
import re
from collections.abc import Iterator
from typing import Annotated, Any, ClassVar, Literal

import annotated_types

from components import alignment_quality, text_files
from components.rows import Rejected, Row, check, words
from components.sources import Input, SourceError

Column = Annotated[int, annotated_types.Ge(1)] | str  # a number counted from 1, or a name in the header or JSON object
# Files that match a pattern; or the source's and the target's aligned files, and the alignments' file.
Paths = str | tuple[str, str] | tuple[str, str, str]
Split = Literal["train", "validation", "test"]
Unit = Literal["words", "characters"]

_EXTENSIONS = {".tsv": "tsv", ".txt": "tsv", ".jsonl": "jsonl"}


@dataclasses.dataclass(frozen=True)
class Columns:
    """Where the texts are. Unset: columns 1 and 2 of TSV with no more, fields source, target, references of JSONL."""

    __pydantic_config__: ClassVar[dict[str, str]] = {"extra": "forbid"}

    source: Column | None = None
    target: Column | None = None
    references: tuple[Column, ...] | None = None  # more right answers; an empty cell of TSV is none
    alignment: Column | None = None  # known links in Pharaoh's form, "0-2 1-1 2-0"; an empty cell is none

    def named(self) -> list[Column]:
        """All columns that are set."""
        every = (self.source, self.target, *(self.references or ()), self.alignment)
        return [column for column in every if column is not None]


@dataclasses.dataclass(frozen=True)
class Counted:
    """What the numbers of known alignments count: what the tokeniser's pieces are, characters or (parts of) words."""

    __pydantic_config__: ClassVar[dict[str, str]] = {"extra": "forbid"}

    source: Unit = "words"
    target: Unit = "words"


@dataclasses.dataclass(frozen=True)
class Config:
    """Options of the source `parallel_text`."""

    __pydantic_config__: ClassVar[dict[str, str]] = {"extra": "forbid"}

    path: Paths | dict[Split, Paths]  # patterns such as "data/*.tsv.gz"; by split where the data comes with splits
    columns: Columns = Columns()
    format: Literal["auto", "tsv", "jsonl"] = "auto"  # auto: by the file's extension
    separator: Annotated[str, annotated_types.MinLen(1)] = "\t"  # of the columns of TSV
    alignment_counts: Counted = Counted()
    group: str | None = None  # a regular expression that is searched for in the path: its one group is the row's group
    tag: bool = False  # begin the source with the row's group: "<kor> 차"

    def __post_init__(self) -> None:
        """One model of many languages is told the language by a tag."""
        if self.tag and self.group is None:
            raise ValueError("tag: true puts the group in front of the source, but `group` is not set")
        if self.group is None:
            return
        try:
            groups = re.compile(self.group).groups
        except re.error as error:
            raise ValueError(f"group: {self.group!r} is no regular expression: {error}") from None
        if groups != 1:
            raise ValueError(f"group: {self.group!r} has {groups} groups (...), expected one")


def inputs(config: Config) -> tuple[Input, ...]:
    """The files that are there, in the order of their names."""
    by_split: dict[Any, Paths] = config.path if isinstance(config.path, dict) else {None: config.path}
    found = [Input(paths, split) for split, pattern in by_split.items() for paths in _files(pattern)]
    for item in found:
        if len(item.paths) == 1:
            _format(config, item.paths[0])
        elif config.columns != Columns():
            raise SourceError(f"columns: aligned files have none, but they are set for {' and '.join(item.paths)}")
        if config.tag and (config.columns.alignment or len(item.paths) == 3):
            raise SourceError(f"{item.name}: a tag would shift its known alignments: tag must be false")
        _group(config, item)
    return tuple(found)


def read(config: Config, item: Input) -> Iterator[Row | Rejected]:
    """The rows of a file, or of files that belong together."""
    if len(item.paths) > 1:
        return _read_aligned(config, item)
    if _format(config, item.paths[0]) == "jsonl":
        return _read_jsonl(config, item)
    return _read_tsv(config, item)


def _files(pattern: Paths) -> list[tuple[str, ...]]:
    patterns = (pattern,) if isinstance(pattern, str) else pattern
    matches = [text_files.find(part) for part in patterns]
    if len({len(paths) for paths in matches}) > 1:
        counts = " and ".join(f"{len(paths)} match {part!r}" for part, paths in zip(patterns, matches, strict=True))
        raise SourceError(f"aligned files belong together, but {counts}")
    return list(zip(*matches, strict=True))


def _format(config: Config, path: str) -> str:
    """The format of one file; the columns must suit it."""
    extension = os.path.splitext(path.removesuffix(".gz"))[1]
    form = config.format if config.format != "auto" else _EXTENSIONS.get(extension)
    if form is None:
        raise SourceError(f"{path}: {extension!r} is none of {', '.join(_EXTENSIONS)}; set `format` to tsv or jsonl")
    numbers = [column for column in config.columns.named() if isinstance(column, int)]
    if form == "jsonl" and numbers:
        raise SourceError(f"{path}: columns: {numbers[0]} is a number, but a field of JSONL has a name")
    return form


def _group(config: Config, item: Input) -> str:
    if config.group is None:
        return ""
    match = re.search(config.group, item.paths[0])
    if not match or not match[1]:
        raise SourceError(f"{item.paths[0]}: no group, the path does not match {config.group!r}")
    return match[1]


def _row(
    config: Config, item: Input, line: int, texts: tuple[str, tuple[str, ...], str], raw: str | None = None
) -> Row | Rejected:
    """Texts (source, references, alignment) of a line -> a row, tagged where that is wanted."""
    source, references, alignment = texts
    row = check(Row(source, references, item.paths[0], line, item.split, _group(config, item)), raw)
    if isinstance(row, Rejected):
        return row
    try:
        _require_within(config.alignment_counts, row, alignment)
    except ValueError as error:
        return Rejected(row.file, line, str(error), "\t".join((source, *references, alignment)) if raw is None else raw)
    source = f"<{row.group}> {row.source}" if config.tag else row.source
    return dataclasses.replace(row, source=source, alignment=" ".join(alignment.split()))


def _require_within(counted: Counted, row: Row, alignment: str) -> None:
    """A ValueError names a link that is none, or that leads to a token that is not there."""
    links = sorted(alignment_quality.parse(alignment).possible)
    for index, (text, unit) in enumerate(((row.source, counted.source), (row.references[0], counted.target))):
        size = len(words(text)) if unit == "words" else len(text)
        for link in links:
            if link[index] >= size:
                side, noun = ("source", "target")[index], unit if size != 1 else unit.removesuffix("s")
                raise ValueError(f"alignment: {link[0]}-{link[1]}, but the {side} has {size} {noun}, counted from 0")


def _read_aligned(config: Config, item: Input) -> Iterator[Row | Rejected]:
    counts = [0] * len(item.paths)
    for found in itertools.zip_longest(*(text_files.lines(path) for path in item.paths)):
        counts = [count + (line is not None) for count, line in zip(counts, found, strict=True)]
        if None in found:
            continue  # read on, to be able to say how many lines there are
        bad = [text for _, text in found if isinstance(text, Rejected)]
        if bad:
            yield bad[0]
            continue
        source, target, *alignment = (text for _, text in found if isinstance(text, str))
        yield _row(config, item, found[0][0], (source, (target,), "".join(alignment)))
    if len(set(counts)) > 1:
        sizes = ", ".join(f"{path} has {count}" for path, count in zip(item.paths, counts, strict=True))
        raise SourceError(f"aligned files must have the same number of lines: {sizes}")


def _read_tsv(config: Config, item: Input) -> Iterator[Row | Rejected]:
    file, columns = item.paths[0], config.columns
    wanted: list[Column] = [columns.source or 1, columns.target or 2, *(columns.references or ())]
    wanted += [columns.alignment] if columns.alignment else []
    lines = text_files.lines(file)
    header = next(lines, None) if any(isinstance(column, str) for column in wanted) else None
    width: int | None = 2 if columns == Columns() else None  # the exact number of columns, where it is known
    indices = [column - 1 for column in wanted if isinstance(column, int)]
    if header is not None:
        if isinstance(header[1], Rejected):
            raise SourceError(f"{file}: line 1, the header: {header[1].reason}")
        fields = [name.strip() for name in header[1].split(config.separator)]
        width, indices = len(fields), [_index(file, column, fields) for column in wanted]
    for line, text in lines:
        if isinstance(text, Rejected):
            yield text
            continue
        cells = text.split(config.separator)
        if len(cells) != width if width else len(cells) <= max(indices):
            plural = "" if len(cells) == 1 else "s"
            expected = width or f"at least {max(indices) + 1}"
            yield Rejected(file, line, f"{len(cells)} column{plural}, expected {expected}", text)
            continue
        source, target, *others = (cells[index] for index in indices)
        alignment = others.pop() if columns.alignment else ""
        yield _row(config, item, line, (source, (target, *filter(str.strip, others)), alignment), text)


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


def _read_jsonl(config: Config, item: Input) -> Iterator[Row | Rejected]:
    for line, text in text_files.lines(item.paths[0]):
        if isinstance(text, Rejected):
            yield text
            continue
        try:
            texts = _texts(config.columns, text)
        except ValueError as error:
            yield Rejected(item.paths[0], line, str(error), text)
            continue
        yield _row(config, item, line, texts, text)


def _texts(columns: Columns, text: str) -> tuple[str, tuple[str, ...], str]:
    """'{"source": "tea", "target": "thé"}' -> ("tea", ("thé",), ""). With references, no target is needed."""
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
    references = [text for name in (target, *others) if name in fields for text in _strings(name, fields[name])]
    for name, found in ((source, source in fields), (target, references)):
        if not found:
            raise ValueError(f"missing field {name!r}, there are: {', '.join(fields) or 'none'}")
    alignment = _string(str(columns.alignment), fields.get(columns.alignment, "")) if columns.alignment else ""
    return " ".join(_strings(source, fields[source])), tuple(references), alignment


def _strings(name: str, value: Any) -> list[str]:
    return [_string(name, part) for part in (value if isinstance(value, list) else [value])]


def _string(name: str, value: Any) -> str:
    if not isinstance(value, str):
        raise ValueError(f"field {name!r}: expected a string, got {_kind(value)}")
    return value


def _kind(value: Any) -> str:
    names = {dict: "an object", list: "a list", str: "a string", bool: "a truth value", type(None): "null"}
    return names.get(type(value), "a number")
