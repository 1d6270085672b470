"""`fovea compare` over the runs of a real home."""

from __future__ import annotations

import io
import json

import mlflow
import pytest
import rich.console

from pipeline import compare as comparing
from pipeline.result import Run
from tests.end_to_end.conftest import Workshop


@pytest.fixture(scope="module")
def worse(workshop: Workshop, first: Run) -> Run:
    """The same data, one epoch, no champion that it must beat."""
    return workshop.run("training.epochs=1", "evaluation.thresholds={}")


@pytest.fixture(scope="module")
def client(workshop: Workshop) -> mlflow.MlflowClient:
    return mlflow.MlflowClient(workshop.home.tracking("").uri)


def test_runs_are_told_apart_by_parameters_and_by_what_they_answered(
    workshop: Workshop, client: mlflow.MlflowClient, first: Run, worse: Run
) -> None:
    done = workshop.fovea("compare", worse.result.mlflow_run_id, first.result.mlflow_run_id[:12], "--json")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert [run["id"] for run in found["runs"]] == [worse.result.mlflow_run_id, first.result.mlflow_run_id]
    assert found["parameters"]["training.epochs"] == ["1", "14"] and "model.units" not in found["parameters"]
    assert found["rows_of_both"] == first.result.rows["test"] and found["rows"] == [found["rows_of_both"]] * 2
    rate = found["metrics"]["sequence_error_rate"]
    assert rate["values"] == [pytest.approx(run.result.metrics["sequence_error_rate"]) for run in (worse, first)]
    assert ", better by " in rate["words"] and rate["difference"]["low"] > 0
    assert found["metrics"]["attention_entropy"]["difference"] is None


def test_a_run_is_no_better_than_itself_and_the_table_says_so(client: mlflow.MlflowClient, first: Run) -> None:
    name = client.get_run(first.result.mlflow_run_id).info.run_name
    comparison = comparing.compare(client, name, first.result.mlflow_run_id)
    assert comparison.parameters == {}
    told = io.StringIO()
    comparing.show(comparison, rich.console.Console(file=told, width=200))
    assert "no parameter differs" in told.getvalue()
    assert "no difference that these rows could show" in told.getvalue()


def test_a_run_that_is_not_there_and_one_that_is_not_clear(
    workshop: Workshop, client: mlflow.MlflowClient, first: Run, worse: Run
) -> None:
    done = workshop.fovea("compare", "nonsense", first.result.mlflow_run_id)
    assert done.returncode == 1
    assert "error: no MLflow run 'nonsense', expected an id or a name" in done.stderr
    (newest, *_) = comparing._runs(client)  # other tests make runs in this home
    assert newest.info.run_id in done.stderr
    with pytest.raises(LookupError, match=r"'20' could be any of \d+ MLflow runs: "):
        comparing.compare(client, "20", "nonsense")  # names of runs begin with the year
    with pytest.raises(LookupError, match="no MLflow run ''"):
        comparing.compare(client, "", "")


def test_rows_are_paired_as_often_as_both_have_them() -> None:
    def rows(*sources: str) -> list[comparing.Row]:
        return [{"source": source, "references": ["x"], "prediction": str(n)} for n, source in enumerate(sources)]

    pairs = list(comparing.pair(rows("a", "b", "a", "a"), rows("a", "c", "a")))
    assert [(one["source"], one["prediction"], other["prediction"]) for one, other in pairs] == [
        ("a", "0", "0"), ("a", "2", "2"),
    ]  # fmt: skip
