"""`fovea check`: what a run would stumble over, before it starts."""

from __future__ import annotations

import collections
import dataclasses
import itertools
from collections.abc import Iterator

import rich.console
from rich.markup import escape

from components import example_gen, rows, sources
from models.contract import SPLITS
from pipeline.config import Config

SAMPLED_ROWS = 1000  # of each input
HEARD_ROWS = 50
SHOWN = 10


@dataclasses.dataclass(frozen=True)
class Report:
    """What a sample of the data looks like."""

    name: str
    inputs: list[str]
    sampled: int
    rejected: list[rows.Rejected]
    splits: dict[str, int]
    examples: list[dict[str, str]]
    problems: list[str]


def check(config: Config) -> Report:
    """Read the first rows of every input of the configuration."""
    try:
        inputs = example_gen.find_inputs(config.data)
    except sources.SourceError as error:
        return Report(config.name, [], 0, [], {}, [], [f"data.source: {error}"])
    good: list[rows.Row] = []
    rejected: list[rows.Rejected] = []
    for item in inputs:
        for row in _sample(config, item):
            if isinstance(row, rows.Rejected):
                rejected.append(row)
            else:
                good.append(row)
    splits = collections.Counter(map(example_gen.Splitter(config.data), good))
    examples = [{"source": row.source, "target": row.references[0]} for row in good[:3]]
    return Report(
        name=config.name,
        inputs=[item.name for item in inputs],
        sampled=len(good) + len(rejected),
        rejected=rejected[:SHOWN],
        splits={name: splits[name] for name in SPLITS},
        examples=examples,
        problems=_problems(config, good, rejected),
    )


def _sample(config: Config, item: sources.Input) -> Iterator[rows.Row | rows.Rejected]:
    """The first rows of an input; the first few recordings are listened to."""
    record = example_gen.Recorder(config.data, config.audio) if config.audio else None
    for number, row in enumerate(itertools.islice(example_gen.read_rows(config.data, item), SAMPLED_ROWS)):
        if record and number < HEARD_ROWS and not isinstance(row, rows.Rejected):
            yield record(row)
        else:
            yield row


def _problems(config: Config, good: list[rows.Row], rejected: list[rows.Rejected]) -> list[str]:
    limit = config.data.max_rejected_fraction
    sampled = len(good) + len(rejected)
    unreadable = [f"data: {row.file}: {row.reason}" for row in rejected if row.line == 0]
    if unreadable:
        return unreadable
    if not good:
        return [f"data: none of the {sampled} rows read can be used"]
    if len(rejected) > limit * sampled:
        return [f"data: {len(rejected)} of {sampled} rows are rejected, data.max_rejected_fraction is {limit}"]
    return []


def show(report: Report, out: rich.console.Console) -> None:
    """The report in a terminal."""
    for path in report.inputs:
        out.print(f"reads   {path}", soft_wrap=True, markup=False)
    out.print(f"sample  {report.sampled:,} rows: " + ", ".join(f"{n:,} {name}" for name, n in report.splits.items()))
    for example in report.examples:
        out.print(f"        {example['source']} → {example['target']}", markup=False)
    for row in report.rejected:
        out.print(f"rejects {row.file}:{row.line}: {row.reason}", soft_wrap=True, markup=False)
    for problem in report.problems:
        out.print(f"[red]problem[/] {escape(problem)}", soft_wrap=True)
    if not report.problems:
        out.print(f"[green]{report.name} is ready to run[/]")
