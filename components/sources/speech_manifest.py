"""Recordings and their transcripts, from a list: JSONL, TSV or CSV with a header, or the two lists of Sphinx.

    ann.tsv:    audio<TAB>transcript<TAB>speaker     # line 1
                ann/a.wav<TAB>grand café<TAB>ann     # line 2
    ann.jsonl:  {"audio": "ann/a.wav", "transcript": "grand café", "speaker": "ann"}
        -> Row("ann/a.wav", ("grand café",), "ann.tsv", 2, recordings=("data/ann/a.wav",), speaker="ann")

    {transcription: an4.transcription, fileids: an4_dev.fileids} with root: feat, suffix: .mfc and case: lower
                "clstk/fash/an251" in the one, "YES (an251)" in the other
        -> Row("clstk/fash/an251.mfc", ("yes",), "an4_dev.fileids", 1, recordings=("feat/clstk/fash/an251.mfc",),
               speaker="fash")

Paths are relative to the list, or to `root`. A line that is no such row is a rejected row.
"""

from __future__ import annotations

import csv
import dataclasses
import difflib
import json
import os
import re
from collections.abc import Iterator
from typing import Any, ClassVar, Literal, get_args

from components import text_files
from components.rows import Rejected, Row, check
from components.sources import Input, SourceError

RECORDED = True

Split = Literal["train", "validation", "test"]
Fields = dict[str, str]  # of a line, by the names of its columns

_FORMATS = {".tsv": "tsv", ".txt": "tsv", ".csv": "csv", ".jsonl": "jsonl"}
_TRANSCRIPTION = re.compile(r"(?P<text>.*)\((?P<id>[^()]+)\)\s*")
_SILENCES = {"<s>", "</s>", "<sil>"}  # in transcripts of Sphinx, which are not said


@dataclasses.dataclass(frozen=True)
class Columns:
    """The names of columns, or of fields of JSONL. Unset: those of the same name, where they are there."""

    __pydantic_config__: ClassVar[dict[str, str]] = {"extra": "forbid"}

    audio: str = "audio"
    transcript: str = "transcript"
    speaker: str | None = None  # rows of a speaker are in one split
    group: str | None = None
    split: str | None = None  # train, validation or test; empty: by the row's speaker, or else its recording

    def wanted(self) -> list[str]:
        """What must be there."""
        return [name for name in dataclasses.astuple(self) if name is not None]


@dataclasses.dataclass(frozen=True)
class Sphinx:
    """Lists of Sphinx: the recordings of `fileids`, whose folders are named after speakers, and all transcripts."""

    __pydantic_config__: ClassVar[dict[str, str]] = {"extra": "forbid"}

    transcription: str
    fileids: str


Paths = str | tuple[str, ...] | Sphinx  # patterns such as "data/*.tsv.gz"


@dataclasses.dataclass(frozen=True)
class Config:
    """Options of the source `speech_manifest`."""

    __pydantic_config__: ClassVar[dict[str, str]] = {"extra": "forbid"}

    path: Paths | dict[Split, Paths]  # by split where the data comes with splits
    columns: Columns = Columns()
    format: Literal["auto", "tsv", "csv", "jsonl"] = "auto"  # auto: by the file's extension
    root: str | None = None  # the folder of the recordings; unset: that of the list
    suffix: str = ""  # what the names of recordings are written without, such as ".wav"
    case: Literal["as_is", "lower", "upper"] = "as_is"  # of transcripts


def inputs(config: Config) -> tuple[Input, ...]:
    """The lists that are there, in the order of their names, and the recordings that they name."""
    by_split: dict[Any, Paths] = config.path if isinstance(config.path, dict) else {None: config.path}
    found = [Input(paths, split) for split, pattern in by_split.items() for paths in _files(pattern)]
    return tuple(
        dataclasses.replace(item, recordings=tuple(path for row in read(config, item) for path in _recordings(row)))
        for item in found
    )


def read(config: Config, item: Input) -> Iterator[Row | Rejected]:
    """The rows of a list, without their recordings."""
    lines = _read_list(config, item.paths[0]) if len(item.paths) == 1 else _read_sphinx(config, *item.paths)
    for line, fields, raw in lines:
        if isinstance(fields, Rejected):
            yield fields
            continue
        split = fields["split"] or item.split
        if split not in (None, *get_args(Split)):
            yield Rejected(item.paths[0], line, f"split {split!r}, expected one of {', '.join(get_args(Split))}", raw)
            continue
        yield _row(config, Row("", (), item.paths[0], line, split), fields, raw)


def _files(pattern: Paths) -> list[tuple[str, ...]]:
    if isinstance(pattern, Sphinx):
        return [(path, *text_files.find(pattern.transcription)) for path in text_files.find(pattern.fileids)]
    patterns = (pattern,) if isinstance(pattern, str) else pattern
    return [(path,) for part in patterns for path in text_files.find(part)]


def _recordings(row: Row | Rejected) -> tuple[str, ...]:
    return row.recordings if isinstance(row, Row) else ()


def _row(config: Config, place: Row, fields: Fields, raw: str) -> Row | Rejected:
    """The fields "audio", "transcript", "speaker", "group" and "split" of a line -> a row at its place."""
    text, name = fields["transcript"].strip(), fields["audio"].strip()
    for side, value in (("recording", name), ("transcript", text)):
        if not value:
            return Rejected(place.file, place.line, f"empty {side}", raw)
    name += config.suffix
    root = os.path.dirname(place.file) if config.root is None else config.root
    row = dataclasses.replace(
        place,
        source=name,
        references=(text if config.case == "as_is" else text.lower() if config.case == "lower" else text.upper(),),
        group=fields["group"],
        speaker=fields["speaker"],
        recordings=(os.path.join(root, name),),
    )
    return check(row, raw)


def _read_list(config: Config, path: str) -> Iterator[tuple[int, Fields | Rejected, str]]:
    """Numbered lines as fields by what they are, and as they were."""
    extension = os.path.splitext(path.removesuffix(".gz"))[1]
    form = config.format if config.format != "auto" else _FORMATS.get(extension)
    if form is None:
        known = ", ".join(_FORMATS)
        raise SourceError(f"{path}: {extension!r} is none of {known}; set `format` to tsv, csv or jsonl")
    lines = text_files.lines(path)
    header = None if form == "jsonl" else _header(config.columns, form, path, next(lines, (1, "")))
    for line, text in lines:
        if isinstance(text, Rejected):
            yield line, text, text.row
            continue
        try:
            fields = _object(text) if header is None else _cells(form, header, text)
            yield line, _fields(config.columns, fields), text
        except ValueError as error:
            yield line, Rejected(path, line, str(error), text), text


def _header(columns: Columns, form: str, path: str, first: text_files.Line) -> list[str]:
    if isinstance(first[1], Rejected):
        raise SourceError(f"{path}: line 1, the header: {first[1].reason}")
    try:
        header = [name.strip() for name in _split(form, first[1])]
    except ValueError as error:
        raise SourceError(f"{path}: line 1, the header: {error}") from None
    for name in columns.wanted():
        if name not in header:
            nearest = difflib.get_close_matches(name, header, n=1)
            hint = f"; did you mean {nearest[0]!r}?" if nearest else ""
            raise SourceError(f"{path}: no column {name!r}, the header has: {', '.join(header)}{hint}")
    return header


def _split(form: str, text: str) -> list[str]:
    if form == "tsv":
        return text.split("\t")
    try:
        return next(csv.reader([text], strict=True), [""])
    except csv.Error as error:
        raise ValueError(f"bad CSV: {error}") from None


def _cells(form: str, header: list[str], text: str) -> Fields:
    cells = _split(form, text)
    if len(cells) != len(header):
        raise ValueError(f"{len(cells)} column{'' if len(cells) == 1 else 's'}, expected {len(header)}")
    return dict(zip(header, cells, strict=True))


def _object(text: str) -> dict[str, Any]:
    try:
        fields = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"bad JSON: {error}") from None
    if not isinstance(fields, dict):
        raise ValueError(f"expected a JSON object, got {text.strip()[:20]}")
    return fields


def _fields(columns: Columns, found: dict[str, Any]) -> Fields:
    """{"wav": "a.wav", ...} -> {"audio": "a.wav", ...}, "" for what is not there."""
    fields = {}
    for field in dataclasses.fields(columns):
        name = getattr(columns, field.name)
        if name is not None and name not in found:
            raise ValueError(f"missing field {name!r}, there are: {', '.join(found) or 'none'}")
        value = found.get(name or field.name, "")
        if not isinstance(value, str):
            raise ValueError(f"field {name or field.name!r}: expected a string, got {json.dumps(value)[:20]}")
        fields[field.name] = value.strip()
    return fields


def _read_sphinx(config: Config, fileids: str, transcription: str) -> Iterator[tuple[int, Fields | Rejected, str]]:
    """The recordings of the list, and before them the lines of the transcripts that cannot be read."""
    texts: dict[str, str] = {}
    for line, text in text_files.lines(transcription):
        match = _TRANSCRIPTION.fullmatch(text) if isinstance(text, str) else None
        if isinstance(text, Rejected):
            yield line, text, text.row
        elif match is None:
            yield (
                line,
                Rejected(transcription, line, "expected a transcript and (the name of its recording)", text),
                text,
            )
        elif match["id"] in texts:
            yield line, Rejected(transcription, line, f"{match['id']!r} has a transcript already", text), text
        else:
            texts[match["id"]] = " ".join(word for word in match["text"].split() if word not in _SILENCES)
    for line, text in text_files.lines(fileids):
        if isinstance(text, Rejected):
            yield line, text, text.row
            continue
        name = text.strip()
        known = name if name in texts else os.path.basename(name)
        if known not in texts:
            yield line, Rejected(fileids, line, f"{transcription} has no transcript of {known!r}", text), text
            continue
        speaker = os.path.basename(os.path.dirname(name))
        yield line, {"audio": name, "transcript": texts[known], "speaker": speaker, "group": "", "split": ""}, text
