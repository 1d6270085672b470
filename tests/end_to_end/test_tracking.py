"""MLflow's run of a pipeline run: what it holds, its links to ML Metadata and back, and how it ends."""

from __future__ import annotations

import json
import os
import pathlib
import signal
import subprocess
import sys
import time
from collections.abc import Iterator

import mlflow
import pytest
import rich.console
from ml_metadata.proto import metadata_store_pb2

from pipeline import config as configuration
from pipeline import digest, lineage, metadata
from pipeline.result import Run
from pipeline.run import execute
from tests.components.mlflow_server import free_port, server
from tests.end_to_end.conftest import BROKEN, Workshop

DEADLINE_S = 240
FAILS = ("tokenizer={source: {kind: bpe, vocabulary_size: 7}, target: {kind: word}}", "name=stumbles")


def the_run(workshop: Workshop, name: str) -> tuple[mlflow.MlflowClient, mlflow.entities.Run]:
    """The newest run of that pipeline that is within no other."""
    client = workshop.home.tracking(name).client()
    runs = client.search_runs([client.get_experiment_by_name(name).experiment_id])
    return client, next(run for run in runs if "mlflow.parentRunId" not in run.data.tags)


def executions(workshop: Workshop, run_id: str) -> dict[int, metadata_store_pb2.Execution]:
    """Those that hold the id of this run."""
    found = metadata.connect(workshop.home).get_executions()
    return {one.id: one for one in found if one.custom_properties["mlflow_run_id"].string_value == run_id}


def test_the_run_and_its_executions_hold_each_other(workshop: Workshop, first: Run) -> None:
    client = workshop.home.tracking("capitals").client()
    tags = client.get_run(first.result.mlflow_run_id).data.tags
    told = {int(number) for name, value in tags.items() if name.endswith(".execution") for number in value.split(", ")}
    assert set(executions(workshop, first.result.mlflow_run_id)) == told and len(told) >= 11
    store = metadata.connect(workshop.home)
    (execution,) = store.get_executions_by_id([int(tags["mlmd.Trainer.execution"])])
    outputs = [event.artifact_id for event in store.get_events_by_execution_ids([execution.id]) if event.type == 4]
    assert int(tags["mlmd.Trainer.model"]) in outputs


def test_the_run_says_what_it_was_made_with(workshop: Workshop, first: Run) -> None:
    client = workshop.home.tracking("capitals").client()
    run = client.get_run(first.result.mlflow_run_id)
    assert run.data.tags["stack.tensorflow"].startswith("2.") and run.data.tags["stack.tfx"].startswith("1.")
    if (digest.PROJECT / ".git").exists():
        assert len(run.data.tags["mlflow.source.git.commit"]) == 40 and run.data.tags["fovea.git.state"]
    inputs = {one.tags[0].value: one.dataset for one in run.inputs.dataset_inputs}
    assert set(inputs) == {"train", "validation", "test"}
    assert {split: json.loads(one.profile)["num_rows"] for split, one in inputs.items()} == {
        split: first.result.rows[split] for split in inputs
    }
    assert len({one.digest for one in inputs.values()}) == 3
    assert run.data.metrics["slice/source_length:1-4/rows"] > 0
    assert "system/cpu_utilization_percentage" in run.data.metrics


def test_the_run_holds_the_artefacts(workshop: Workshop, first: Run) -> None:
    client, run_id = workshop.home.tracking("capitals").client(), first.result.mlflow_run_id
    top = {item.path for item in client.list_artifacts(run_id)}
    assert {"config.yaml", "schema", "statistics.html", "rejected.jsonl", "tokenizer", "samples.json"} <= top

    def text(path: str) -> str:
        return pathlib.Path(client.download_artifacts(run_id, path, str(workshop.folder))).read_text()

    page = text("statistics.html")
    assert f"train: {first.result.rows['train']:,} rows" in page and "source_length" in page
    samples = json.loads(text("samples.json"))
    assert samples["columns"] == ["source", "prediction", "references", "right"]
    assert len(samples["data"]) == min(100, first.result.rows["test"])
    assert len(text("rejected.jsonl").splitlines()) == BROKEN


class Mender(rich.console.Console):
    """Takes a file out of the way when the run says that it tries again."""

    def __init__(self, obstacle: pathlib.Path) -> None:
        super().__init__(stderr=True)
        self.obstacle = obstacle

    def print(self, *said: object, **options: object) -> None:
        if "tried again" in str(said[0]) and self.obstacle.is_file():
            self.obstacle.unlink()


def test_a_component_that_is_tried_again_is_a_run_within(workshop: Workshop) -> None:
    """ExampleGen meets a file where it wants a folder, and does better then; the Tokenizer fails twice."""
    obstacle = workshop.home.rejected("stumbles")
    obstacle.parent.mkdir(parents=True, exist_ok=True)
    obstacle.write_text("")
    loaded = configuration.load(workshop.config, [*FAILS, "retries=1"])
    with pytest.raises(Exception, match="vocabulary_size is 7"):
        execute(loaded, workshop.home, Mender(obstacle))
    client, run = the_run(workshop, "stumbles")
    assert run.info.status == "FAILED" and "vocabulary_size is 7" in run.data.tags["fovea.error"]
    within = client.search_runs([run.info.experiment_id], f"tags.`mlflow.parentRunId` = '{run.info.run_id}'")
    assert {(one.info.run_name, one.info.status) for one in within} == {
        ("ExampleGen, attempt 1", "FAILED"),
        ("ExampleGen, attempt 2", "FINISHED"),
        ("Tokenizer, attempt 1", "FAILED"),
        ("Tokenizer, attempt 2", "FAILED"),
    }
    assert int(run.data.tags["mlmd.Tokenizer.execution"]) in executions(workshop, run.info.run_id)
    top = {item.path for item in client.list_artifacts(run.info.run_id)}
    assert {"config.yaml", "rejected.jsonl"} <= top


@pytest.mark.parametrize("ended_by", [signal.SIGTERM, signal.SIGKILL])
def test_a_killed_run_is_killed_in_mlflow(workshop: Workshop, ended_by: signal.Signals) -> None:
    name = f"killed-{ended_by.name.lower()}"
    arguments = ["run", str(workshop.config), "--set", f"name={name}"]
    running = subprocess.Popen(
        [sys.executable, "-m", "pipeline.cli", *arguments],
        cwd=digest.PROJECT,
        env={**os.environ, "FOVEA_HOME": str(workshop.home.root)},
        stderr=subprocess.DEVNULL,
    )
    deadline = time.monotonic() + DEADLINE_S
    while not list(workshop.home.artifacts(name).glob("StatisticsGen/statistics/*")):
        assert time.monotonic() < deadline, "it did not come so far"
        try:
            running.wait(timeout=0.1)
        except subprocess.TimeoutExpired:
            continue
        raise AssertionError("it ended by itself")
    running.send_signal(ended_by)
    running.wait()
    status = the_run(workshop, name)[1].info.status
    assert status == ("RUNNING" if ended_by == signal.SIGKILL else "KILLED")  # nobody could say so yet
    done = workshop.fovea("sync", "--json")
    assert done.returncode == 0, done.stderr
    _, run = the_run(workshop, name)
    assert run.info.status == "KILLED" and run.data.tags["mlmd.ExampleGen.execution"]
    assert json.loads(done.stdout)["killed"] == ([run.info.run_id] if ended_by == signal.SIGKILL else [])
    assert executions(workshop, run.info.run_id)


@pytest.fixture
def kept_here_again(workshop: Workshop) -> Iterator[None]:
    """Other tests share the home, which remembers where the last run went."""
    yield
    workshop.home.keep_tracking(workshop.home.tracking("capitals"))


def test_a_run_while_the_server_is_down_is_completed_later(
    workshop: Workshop, first: Run, kept_here_again: None
) -> None:
    port = free_port()
    store = workshop.home.tracking("capitals", f"http://127.0.0.1:{port}")
    quick = ("training.epochs=1", "training.seed=77", "evaluation.thresholds={}", f"tracking_uri={store.uri}")
    pending = workshop.run(*quick).result.mlflow_run_id
    assert pending.startswith("pending-") and len(executions(workshop, pending)) >= 11
    waiting = workshop.fovea("sync")
    assert waiting.returncode == 1 and f"{pending}: still waiting." in waiting.stdout
    with server(port, workshop.folder, f"sqlite:///{workshop.folder / 'server.db'}"):
        done = workshop.fovea("sync", "--json")
        assert done.returncode == 0, done.stderr
        run_id = json.loads(done.stdout)["completed"][pending]
        run = store.client().get_run(run_id)
        assert run.info.status == "FINISHED" and run.data.metrics["training/loss"] > 0
        losses = store.client().get_metric_history(run_id, "training/loss")
        assert [point.step for point in losses] == [5, 10, 15]
        assert {"config.yaml", "tokenizer"} <= {item.path for item in store.client().list_artifacts(run_id)}
    assert not executions(workshop, pending) and len(executions(workshop, run_id)) >= 11
    assert run_id in {model.mlflow_run_id for model in lineage.models(workshop.home)}
