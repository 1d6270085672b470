"""`fovea evaluate`: the Evaluator's metrics, of an exported model on any labelled file."""

from __future__ import annotations

import dataclasses
import glob
import json
import pathlib
import typing
from collections.abc import Sequence

import rich.console
import rich.progress
import rich.table

from components import metrics, rows
from components.rows import Rejected
from components.sources import parallel_text
from serving import signatures
from serving.card import Card
from serving.local import LocalModel

BATCH = 256


@dataclasses.dataclass(frozen=True)
class Report:
    """Metrics over all rows and over each slice of them."""

    model: pathlib.Path
    rows: int
    rejected: list[Rejected]
    metrics: dict[str, float]
    slices: dict[str, dict[str, float]]

    def document(self) -> dict[str, typing.Any]:
        """As JSON has it."""
        return {
            "model": str(self.model),
            "rows": self.rows,
            "rejected": [dataclasses.asdict(row) for row in self.rejected],
            "metrics": self.metrics,
            "slices": self.slices,
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
        if name not in ("source", "target", "references") or not equals or not all(columns):
            raise ValueError(
                f"--columns: {part!r}, expected source=N, target=N or references=N+N, N a number or a name"
            )
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
        ValueError: the file holds no row that can be used; the message names the first reasons.
    """
    unit = Card.read(model).token_unit
    good, rejected = _read(data, columns)
    if not good:
        reasons = "".join(f"\n  {row.file}:{row.line}: {row.reason}" for row in rejected[:10])
        raise ValueError(f"{data}: no row to evaluate{reasons}")
    predictions = _decode(LocalModel(model), [row.source for row in good], out)
    if output:
        lines = (
            json.dumps({"source": row.source, "references": row.references, "prediction": text}, ensure_ascii=False)
            for row, text in zip(good, predictions, strict=True)
        )
        output.write_text("".join(f"{line}\n" for line in lines))
    pairs = list(zip(good, predictions, strict=True))
    slices: dict[str, list[tuple[rows.Row, str]]] = {}
    for pair in pairs:
        slices.setdefault(f"source_length:{rows.length_bucket(len(pair[0].source))}", []).append(pair)
    measured = {name: _measure(part, unit) | {"rows": len(part)} for name, part in sorted(slices.items())}
    return Report(model, len(good), rejected, _measure(pairs, unit), measured)


def _read(data: pathlib.Path, columns: parallel_text.Columns) -> tuple[list[rows.Row], list[rows.Rejected]]:
    good, rejected = [], []
    config = parallel_text.Config(path=glob.escape(str(data)), columns=columns)
    for item in parallel_text.inputs(config):
        for row in parallel_text.read(config, item):
            if isinstance(row, rows.Rejected):
                rejected.append(row)
            else:
                good.append(row)
    return good, rejected


def _decode(model: LocalModel, texts: Sequence[str], out: rich.console.Console) -> list[str]:
    predictions: list[str] = []
    with rich.progress.Progress(console=out, transient=True, disable=not out.is_terminal) as bar:
        for first in bar.track(range(0, len(texts), BATCH), description="decoding"):
            batch = model.predict(signatures.SERVING_DEFAULT, {signatures.TEXT: texts[first : first + BATCH]})
            predictions.extend(batch[signatures.TEXT])
    return predictions


def _measure(pairs: Sequence[tuple[rows.Row, str]], token_unit: str) -> dict[str, float]:
    return metrics.evaluate(metrics.NAMES, ((row.references, text) for row, text in pairs), token_unit)


def show(report: Report, out: rich.console.Console) -> None:
    """A table: a column for all rows, and one for each slice."""
    table = rich.table.Table(title=f"{report.model}: {report.rows:,} rows, {len(report.rejected):,} rejected")
    table.add_column("metric")
    table.add_column("all", justify="right")
    for name in report.slices:
        table.add_column(name, justify="right")
    for name, value in report.metrics.items():
        table.add_row(name, f"{value:.4f}", *(f"{values[name]:.4f}" for values in report.slices.values()))
    out.print(table)
    for row in report.rejected[:10]:
        out.print(f"{row.file}:{row.line}: {row.reason}", markup=False)
