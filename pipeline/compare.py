"""`fovea compare`: two MLflow runs side by side, and whether their difference is more than chance.

What they answered to the same test rows is in both runs' predictions.jsonl, so the paired bootstrap of the blessing
(`components/bootstrap.py`) tells for any two runs what it tells for a candidate and its champion.
"""

from __future__ import annotations

import collections
import dataclasses
import json
import pathlib
import tempfile
import typing
from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import rich.console
import rich.table
from rich.markup import escape

from components import bootstrap, metrics
from components.evaluator import PREDICTIONS_FILE
from components.tokenizer import token_unit
from components.tracking_store import Store
from pipeline.report.figures import figure, words

TEST = "test/"  # what the names of the metrics of test rows begin with
SHOWN_RUNS = 5

Row = dict[str, typing.Any]


@dataclasses.dataclass(frozen=True)
class Compared:
    """A metric of both runs.

    Attributes:
        values: of the first run and of the second, None where it was not measured.
        difference: over the rows that both judged; None where there are none, or no such metric of rows.
        words: what it says.
    """

    values: tuple[float | None, float | None]
    difference: bootstrap.Difference | None
    words: str


@dataclasses.dataclass(frozen=True)
class Comparison:
    """Two runs; its fields are the JSON that `fovea compare --json` prints."""

    runs: tuple[dict[str, str], dict[str, str]]  # {"id", "name", "experiment", "status"}
    parameters: dict[str, tuple[str | None, str | None]]  # those that differ
    rows: tuple[int, int]  # test rows of each
    rows_of_both: int
    metrics: dict[str, Compared]


def compare_in(stores: Sequence[Store], first: str, second: str) -> Comparison:
    """Compare two runs of the first of these stores that has both; LookupError as for `compare`."""
    reasons = []
    for store in stores:
        try:
            return compare(store.client(), first, second)
        except LookupError as error:
            reasons.append(str(error))
    raise LookupError("\n".join(reasons))


def compare(client: typing.Any, first: str, second: str) -> Comparison:
    """Compare two runs of a store.

    Raises:
        LookupError: there is no such run, or more than one; the text names those that there are.
    """
    known = _runs(client)
    runs = [find(known, name) for name in (first, second)]
    parameters = [run.data.params for run in runs]
    predictions = [_predictions(client, run.info.run_id) for run in runs]
    pairs = list(pair(*predictions))
    units = {_unit(each) for each in parameters}
    measured = [
        {name.removeprefix(TEST): value for name, value in run.data.metrics.items() if name.startswith(TEST)}
        for run in runs
    ]
    names = [name for name in measured[0] if name in measured[1]]
    names += [name for one in measured for name in one if name not in names]
    compared = {}
    for name in names:
        difference = _difference(name, pairs, units) if all(name in one for one in measured) else None
        values = measured[0].get(name), measured[1].get(name)
        compared[name] = Compared(values, difference, difference.words() if difference else "")
    return Comparison(
        runs=(_facts(client, runs[0]), _facts(client, runs[1])),
        parameters={
            name: (parameters[0].get(name), parameters[1].get(name))
            for name in sorted({*parameters[0], *parameters[1]})
            if parameters[0].get(name) != parameters[1].get(name)
        },
        rows=(len(predictions[0]), len(predictions[1])),
        rows_of_both=len(pairs),
        metrics=compared,
    )


def find(known: Sequence[typing.Any], name: str) -> typing.Any:
    """The run with this id or name, else the only one whose id or name begins so."""

    def named(run: typing.Any) -> tuple[str, str]:
        return run.info.run_id, run.info.run_name or ""

    found = [run for run in known if name in named(run)] or [
        run for run in known if name and any(each.startswith(name) for each in named(run))
    ]
    if len(found) == 1:
        return found[0]
    listed = ", ".join(" ".join(named(run)) for run in (found or known)[:SHOWN_RUNS]) or "none"
    if found:
        raise LookupError(f"{name!r} could be any of {len(found)} MLflow runs: {listed}")
    raise LookupError(
        f"no MLflow run {name!r}, expected an id or a name, or how one begins; the latest of {len(known)} are: {listed}"
    )


def _runs(client: typing.Any) -> list[typing.Any]:
    """Every run of the store, the latest first."""
    experiments = [experiment.experiment_id for experiment in client.search_experiments()]
    found: list[typing.Any] = []
    token: str | None = ""
    while token is not None:
        page = client.search_runs(
            experiments, order_by=["attributes.start_time DESC"], max_results=1000, page_token=token or None
        )
        found += page
        token = page.token or None
    return found


def _facts(client: typing.Any, run: typing.Any) -> dict[str, str]:
    experiment = client.get_experiment(run.info.experiment_id).name
    info = run.info
    return {"id": info.run_id, "name": info.run_name, "experiment": experiment, "status": info.status}


def _unit(parameters: Mapping[str, str]) -> str:
    """What a token is, by the kind of the target's pieces."""
    return token_unit(parameters.get("tokenizer.shared.kind", parameters.get("tokenizer.target.kind", "")))


def _predictions(client: typing.Any, run_id: str) -> list[Row]:
    """The decoded test rows; [] of a run that did not come so far."""
    path = f"evaluation/{PREDICTIONS_FILE}"
    if path not in {item.path for item in client.list_artifacts(run_id, "evaluation")}:
        return []
    with tempfile.TemporaryDirectory() as folder:
        lines = pathlib.Path(client.download_artifacts(run_id, path, folder)).read_text().split("\n")
    return [json.loads(line) for line in lines if line]


def pair(first: Sequence[Row], second: Sequence[Row]) -> Iterator[tuple[Row, Row]]:
    """The rows that both have, source and references alike, each as often as both have it."""
    waiting: dict[str, list[Row]] = collections.defaultdict(list)
    for row in reversed(second):
        waiting[_identity(row)].append(row)
    for row in first:
        if waiting[_identity(row)]:
            yield row, waiting[_identity(row)].pop()


def _identity(row: Row) -> str:
    return json.dumps([row["source"], row["references"]])


def _difference(name: str, pairs: Sequence[tuple[Row, Row]], units: set[str]) -> bootstrap.Difference | None:
    if name not in metrics.NAMES or not pairs or (name == "token_error_rate" and len(units) > 1):
        return None
    metric = metrics.find(name, min(units))
    first, second = (
        np.stack([metric.statistics(row["references"], row["prediction"]) for row in rows])
        for rows in zip(*pairs, strict=True)
    )
    return bootstrap.compare(metric, first, second)


def show(comparison: Comparison, out: rich.console.Console) -> None:
    """Tables: the runs, the parameters that differ, the metrics with the verdict."""
    table = rich.table.Table("", "first", "second", title="runs")
    for fact in ("id", "name", "experiment", "status"):
        table.add_row(fact, *(escape(str(run[fact])) for run in comparison.runs))
    out.print(table)
    table = rich.table.Table("parameter", "first", "second", title="parameters that differ")
    for name, values in comparison.parameters.items():
        table.add_row(escape(name), *("-" if value is None else escape(value) for value in values))
    out.print(table if comparison.parameters else "no parameter differs")
    table = rich.table.Table("metric", "first", "second", "of the rows that both judged", title="test rows")
    for name, compared in comparison.metrics.items():
        shown = ("-" if value is None else figure(value, name) for value in compared.values)
        table.add_row(words(name), *shown, compared.words)
    out.print(table)
    first, second = comparison.rows
    out.print(f"{comparison.rows_of_both:,} rows were judged by both, of {first:,} and {second:,}")
