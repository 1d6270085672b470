"""`fovea tune`: a search over parameters, each trial an MLflow run; it ends with the command of the best values."""

from __future__ import annotations

import dataclasses
import datetime
import json
import pathlib
import shlex
import typing
from collections.abc import Sequence

import rich.console
import rich.table

from components import tracking
from pipeline import config as configuration
from pipeline import faults, graph, tracked
from pipeline.home import Home
from pipeline.result import to_json
from pipeline.run import run_components

RESULTS_FILE = "tuner_results.json"  # TFX's name


@dataclasses.dataclass(frozen=True)
class Trial:
    """One training of the search."""

    trial: str
    score: float
    values: dict[str, typing.Any]


@dataclasses.dataclass(frozen=True)
class Result:
    """What came of a search: its trials, best first."""

    name: str
    objective: str
    mlflow_run_id: str
    trials: tuple[Trial, ...]

    def changes(self) -> list[str]:
        """The best values as arguments of `--set`."""
        return [f"{path}={json.dumps(value)}" for path, value in self.trials[0].values.items()]


def execute(config: configuration.Config, home: Home, out: rich.console.Console) -> Result:
    """Search, report on `out` as it goes, and keep track of it in MLflow."""
    with home.alone(config.name), faults.told_plainly(home):
        pipeline_run_id = datetime.datetime.now().isoformat(timespec="milliseconds")
        run = tracked.open_run(config, home, pipeline_run_id, **{"fovea.kind": "tune"})
        with tracking.closed_at_the_end(run):
            finished = run_components(graph.build_tuning(config, home), config, home, run, out)
            (results,) = finished["Tuner"].outputs["tuner_results"]
            rows = json.loads((pathlib.Path(results.uri) / RESULTS_FILE).read_text())
            result = Result(config.name, graph.objective(config, home), run.id, tuple(_trial(row) for row in rows))
            run.metrics({f"best/{result.objective}": result.trials[0].score})
            run.text(to_json(dataclasses.asdict(result), indent=2), "trials.json")
            return result


def _trial(row: dict[str, typing.Any]) -> Trial:
    return Trial(row.pop("trial_id"), row.pop("score"), row)


def show(result: Result, command: Sequence[str], out: rich.console.Console) -> None:
    """A table of the trials, and the command (`fovea run mine.yaml`) with the best values."""
    table = rich.table.Table(box=None, header_style="bold", padding=(0, 2, 0, 0))
    for heading in ("trial", result.objective.replace("_", " "), *result.trials[0].values):
        table.add_column(heading)
    for trial in result.trials:
        table.add_row(trial.trial, f"{trial.score:.4f}", *(f"{value}" for value in trial.values.values()))
    out.print(table)
    changes = [part for change in result.changes() for part in ("--set", change)]
    out.print(f"\n{shlex.join([*command, *changes])}", soft_wrap=True, markup=False)
