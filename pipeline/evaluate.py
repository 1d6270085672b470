"""`fovea evaluate`: the Evaluator's metrics, of an exported model on any labelled file."""

from __future__ import annotations

import dataclasses
import glob
import itertools
import json
import pathlib
import typing
from collections.abc import Iterator, Sequence

import numpy as np
import rich.console
import rich.progress
import rich.table
from pydantic import TypeAdapter
from rich.markup import escape

from components import asked, attention_metrics, metrics, recordings, rows
from components.evaluator import group_means
from components.rows import Rejected
from components.sources import parallel_text, speech_manifest
from models.audio import Audio
from models.contract import ALIGNMENT, AUDIO, GROUP, REFERENCES, SOURCE, SOURCE_LENGTH
from pipeline import refusals
from serving import signatures
from serving.card import Card
from serving.errors import ServingError
from serving.local import LocalModel
from serving.signatures import Asked

BATCH = 256
SLICES = 8  # that are shown

Item = typing.TypeVar("Item")


@dataclasses.dataclass(frozen=True)
class Report:
    """Metrics over all rows and over each slice of them."""

    model: pathlib.Path
    rows: int
    rejected: list[Rejected]
    metrics: dict[str, float]
    slices: dict[str, dict[str, float]]
    signatures: dict[str, str]  # of sacreBLEU's scores: see `metrics.signatures`

    def document(self) -> dict[str, typing.Any]:
        """As JSON has it."""
        return {
            "model": str(self.model),
            "rows": self.rows,
            "rejected": [dataclasses.asdict(row) for row in self.rejected],
            "metrics": self.metrics,
            "slices": self.slices,
            "signatures": self.signatures,
        }


def parse_columns(text: str) -> parallel_text.Columns:
    """Which columns of a file hold what: "source=word,target=2,references=3+4" -> Columns("word", 2, (3, 4)).

    Raises:
        ValueError: says what was expected.
    """
    fields: dict[str, typing.Any] = {}
    for part in filter(None, text.split(",")):
        name, equals, value = part.partition("=")
        columns = tuple(int(column) if column.isdigit() else column for column in value.split("+"))
        if name not in ("source", "target", "references", "alignment") or not equals or not all(columns):
            expected = "source=N, target=N, references=N+N or alignment=N, N a number or a name"
            raise ValueError(f"--columns: {part!r}, expected {expected}")
        fields[name] = columns if name == "references" else columns[0]
    return parallel_text.Columns(**fields)


def evaluate(
    model: pathlib.Path,
    data: pathlib.Path,
    columns: parallel_text.Columns,
    output: pathlib.Path | None,
    out: rich.console.Console,
) -> Report:
    """Decode every row of a file and hold it against its references.

    Raises:
        ValueError: the file holds no row that can be used, and the message names the first reasons; or a model that
            listens is given columns.
    """
    card = Card.read(model)
    audio = TypeAdapter(Audio).validate_python(card.audio) if card.audio else None
    if audio and columns != parallel_text.Columns():
        raise ValueError("--columns is for texts: of recordings the columns are audio, transcript and speaker")
    good, rejected = _read_recordings(data, audio) if audio else _read(data, columns)
    _require(good, rejected, data)
    loaded = LocalModel(model)
    answers = _decode(loaded, [asked.of_row(row) for row in good], out)
    pairs: list[tuple[rows.Row, str]] = []
    for row, answer in zip(good, answers, strict=True):
        if isinstance(answer, ServingError):
            rejected.append(Rejected(row.file, row.line, refusals.reason(answer), row.source))
        else:
            pairs.append((row, answer))
    _require(pairs, rejected, data)
    documents = [_document(row, text) for row, text in pairs]
    if output:
        output.write_text("".join(f"{json.dumps(document, ensure_ascii=False)}\n" for document in documents))
    measured, sliced = _measure(pairs, card.token_unit, out)
    if signatures.SCORE_TARGET in loaded.signatures:
        listened = zip(documents[: asked.LISTENED], pairs, strict=False)
        heard = [document | {AUDIO: row.audio} for document, (row, _) in listened] if audio else documents
        attention = attention_metrics.measure(loaded, heard)
        measured |= attention.metrics
        for sentence in attention.sentences():
            out.print(sentence)
    computed = metrics.signatures(metrics.NAMES, (row.references for row, _ in pairs))
    return Report(model, len(pairs), rejected, measured, sliced, computed)


def _require(used: Sequence[object], rejected: Sequence[Rejected], data: pathlib.Path) -> None:
    if not used:
        reasons = "".join(f"\n  {row.file}:{row.line}: {row.reason}" for row in rejected[:10])
        raise ValueError(f"{data}: no row to evaluate{reasons}")


def _document(row: rows.Row, prediction: str) -> dict[str, typing.Any]:
    """A row as the Evaluator's predictions.jsonl has it."""
    document = {SOURCE: row.source, REFERENCES: row.references, "prediction": prediction}
    group = row.group or row.speaker
    return document | {name: text for name, text in ((GROUP, group), (ALIGNMENT, row.alignment)) if text}


def _read(data: pathlib.Path, columns: parallel_text.Columns) -> tuple[list[rows.Row], list[rows.Rejected]]:
    good, rejected = [], []
    # What is counted, pieces will show: here links only have to lead somewhere, whichever it is.
    counted = parallel_text.Counted("characters", "characters")
    config = parallel_text.Config(path=glob.escape(str(data)), columns=columns, alignment_counts=counted)
    for item in parallel_text.inputs(config):
        for row in parallel_text.read(config, item):
            if isinstance(row, rows.Rejected):
                rejected.append(row)
            else:
                good.append(row)
    return good, rejected


def _read_recordings(data: pathlib.Path, audio: Audio) -> tuple[list[rows.Row], list[rows.Rejected]]:
    good, rejected = [], []
    config = speech_manifest.Config(path=glob.escape(str(data)))
    for item in speech_manifest.inputs(config):
        for row in speech_manifest.read(config, item):
            heard = row if isinstance(row, rows.Rejected) else recordings.attach(row, audio)
            if isinstance(heard, rows.Rejected):
                rejected.append(heard)
            else:
                good.append(heard)
    return good, rejected


def _decode(model: LocalModel, sources: Sequence[Asked], out: rich.console.Console) -> list[str | ServingError]:
    """What the model says to each, or why it refuses it."""

    def ask(batch: Sequence[Asked]) -> list[str]:
        return list(model.predict(signatures.SERVING_DEFAULT, {model.input: batch})[signatures.TEXT])

    found: dict[int, str | ServingError] = {}
    for numbers in _track(list(rows.batches(sources, BATCH)), "decoding", out):
        found.update(zip(numbers, refusals.answers(ask, [sources[number] for number in numbers]), strict=True))
    return [found[number] for number in range(len(sources))]


def _measure(
    pairs: Sequence[tuple[rows.Row, str]], token_unit: str, out: rich.console.Console
) -> tuple[dict[str, float], dict[str, dict[str, float]]]:
    """The metrics of all rows, and those of each slice with its rows."""
    scorer = metrics.Scorer(metrics.NAMES, token_unit)
    parts: dict[str, list[np.ndarray]] = {}
    everything = []
    for row, text in _track(pairs, "scoring", out):
        counted = scorer.count(row.references, text)
        everything.append(counted)
        parts.setdefault(f"{SOURCE_LENGTH}:{rows.source_length(row)}", []).append(counted)
        if group := row.group or row.speaker:
            parts.setdefault(f"{GROUP}:{group}", []).append(counted)
    sliced = {name: scorer.scores(np.sum(part, axis=0)) | {"rows": len(part)} for name, part in sorted(parts.items())}
    return scorer.scores(np.sum(everything, axis=0)) | group_means(sliced), sliced


def _track(items: Sequence[Item], description: str, out: rich.console.Console) -> Iterator[Item]:
    """The items, with a bar in a terminal."""
    with rich.progress.Progress(console=out, transient=True, disable=not out.is_terminal) as bar:
        yield from bar.track(items, description=description)


def show(report: Report, out: rich.console.Console) -> None:
    """A table: a column for all rows, and one for each slice."""
    table = rich.table.Table(title=f"{report.model}: {report.rows:,} rows, {len(report.rejected):,} rejected")
    table.add_column("metric")
    table.add_column("all", justify="right")
    shown = dict(itertools.islice(report.slices.items(), SLICES))
    for name in shown:
        table.add_column(escape(name), justify="right")
    for name, value in report.metrics.items():
        cells = (f"{values[name]:.4f}" if name in values else "" for values in shown.values())
        table.add_row(name, f"{value:.4f}", *cells)
    out.print(table)
    if len(report.slices) > len(shown):
        out.print(f"{len(report.slices) - len(shown):,} slices more: --json has them")
    for name, signature in report.signatures.items():
        out.print(f"{name}: {signature}", soft_wrap=True, markup=False)
    for row in report.rejected[:10]:
        out.print(f"{row.file}:{row.line}: {row.reason}", markup=False)
