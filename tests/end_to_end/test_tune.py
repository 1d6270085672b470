"""A search over parameters: real trainings, on KerasTuner in TFX's Tuner, each an MLflow run."""

from __future__ import annotations

import json
import pathlib

from tests.end_to_end.conftest import make_workshop

TUNE = """
tune:
  search: grid
  parameters:
    model.units: [8, 64]
    training.schedule.learning_rate: [0.01, 1000.0]
"""


def test_a_search_of_which_nothing_comes_says_why(tmp_path: pathlib.Path) -> None:
    workshop = make_workshop(tmp_path)
    rates = "[1.0e+30, 1.0e+31, 1.0e+32, 1.0e+33]"  # more of them than KerasTuner would see fail
    changes = ("training.epochs=1", f"tune={{search: grid, parameters: {{training.schedule.learning_rate: {rates}}}}}")
    done = workshop.fovea("tune", str(workshop.config), *(part for change in changes for part in ("--set", change)))
    assert done.returncode == 1 and "no trial came to its end" in done.stderr
    runs = workshop.home.tracking("capitals").client().search_runs(["1"], "", max_results=10)
    assert sum(run.info.status == "FAILED" and "mlflow.parentRunId" in run.data.tags for run in runs) == 4


def test_a_search_says_how_to_run(tmp_path: pathlib.Path) -> None:
    workshop = make_workshop(tmp_path)
    workshop.config.write_text(workshop.config.read_text() + TUNE)
    short = ("--set", "training.epochs=2", "--json")
    done = workshop.fovea("tune", str(workshop.config), *short)
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    assert (result["name"], result["objective"]) == ("capitals", "validation_loss")
    # A learning rate of a thousand leads nowhere or to no number, and the search goes on.
    good = [trial for trial in result["trials"] if trial["values"]["training.schedule.learning_rate"] == 0.01]
    assert [trial["values"]["model.units"] for trial in good] == [64, 8]
    assert result["trials"][0] == good[0] and good[0]["score"] < good[1]["score"]

    runs = workshop.home.tracking("capitals").client().search_runs(["1"], "", max_results=10)
    parents = {run.info.run_id: run.data.tags.get("mlflow.parentRunId") for run in runs}
    assert parents[result["mlflow_run_id"]] is None
    assert list(parents.values()).count(result["mlflow_run_id"]) == 4
    best = next(run for run in runs if run.data.metrics.get("validation_loss") == good[0]["score"])
    assert best.data.params["model.units"] == "64" and "validation/loss" in best.data.metrics

    again = workshop.fovea("tune", str(workshop.config), *short)
    assert json.loads(again.stdout)["trials"] == result["trials"]  # from the cache
