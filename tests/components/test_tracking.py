"""Tracking, on a real MLflow store in SQLite."""

from __future__ import annotations

import contextlib
import json
import pathlib
import subprocess
import sys

import pytest

from components import system_metrics, tracking, tracking_store
from components.curves import Curves
from components.tracking_store import Store, without_passwords
from components.training import DivergenceError


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    folder = tmp_path_factory.mktemp("mlflow")
    made = Store(f"sqlite:///{folder / 'mlflow.db'}", str(folder / "artifacts"), "a", str(folder / "state"))
    with tracking_store.made_beside(made):
        pass
    assert (folder / "mlflow.db").exists()
    return made


def test_a_run_is_found_by_its_pipeline_run(store: Store) -> None:
    first = tracking.open_run(store, "2026-01-01T00:00", {"k": "v"}, {"long": "x" * 9999})
    second = tracking.open_run(store, "2026-01-02T00:00", {}, {str(number): "" for number in range(250)})
    assert tracking.find_run(store, "2026-01-01T00:00").id == first.id != second.id
    run = store.client().get_run(first.id)
    assert run.data.tags["k"] == "v" and len(run.data.params["long"]) == tracking.MAX_PARAMETER_CHARACTERS
    assert len(store.client().get_run(second.id).data.params) == 250
    first.end(tracking.FINISHED)
    second.end(tracking.FINISHED)
    assert tracking.find_run(store, "2026-01-02T00:00").id == second.id  # by its tag: nothing is left of it elsewhere
    assert not list(store.journals.iterdir())


def test_a_store_that_could_not_be_made_is_not_there(tmp_path: pathlib.Path) -> None:
    path = tmp_path / "mlflow.db"
    small = (
        "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, 50_000)); "
        f"from components.tracking_store import Store; Store('sqlite:///{path}', '', '', '').client()"
    )
    ended = subprocess.run([sys.executable, "-c", small], capture_output=True, text=True, check=False)
    assert ended.returncode and "OperationalError" in ended.stderr
    assert not list(tmp_path.glob("mlflow.db*"))


def test_curves_are_by_step_and_a_resumed_training_says_so(store: Store) -> None:
    run = tracking.open_run(store, "curves", {}, {})
    with pytest.raises(DivergenceError), Curves(run) as curves:
        curves.began(total_steps=40, done_steps=20)
        curves.step(25, {"loss": 1.5})
        curves.step(30, {"loss": 1.0})
        curves.epoch(30, {"validation_loss": 1.25})
        curves.step(35, {"loss": 7.0})
        raise DivergenceError
    client = store.client()
    history = client.get_metric_history(run.id, "training/loss")
    assert [(point.step, point.value) for point in history] == [(25, 1.5), (30, 1.0), (35, 7.0)]
    assert client.get_run(run.id).data.metrics["validation/loss"] == 1.25
    assert client.get_run(run.id).data.tags["fovea.resumed_from_step"] == "20"


def test_metrics_of_slices_have_names_that_mlflow_takes(store: Store) -> None:
    run = tracking.open_run(store, "slices", {}, {})
    odd = {"slice/group:en+f1/bleu": 1.5, "slice/group:Søren, 7 (b)/bleu": 2.5, "slice/group:a//b/../bleu": 4.5}
    run.metrics({**odd, "slice/source_length:1-2 s/bleu": 3.5, f"slice/group:{'x' * 400}/bleu": 5.5})
    logged = dict(store.client().get_run(run.id).data.metrics)
    (long,) = (name for name in logged if "xxx" in name)
    assert logged.pop(long) == 5.5 and len(long) == 250
    assert logged == {
        "slice/group:en_f1/bleu": 1.5,
        "slice/group:Søren_ 7 _b_/bleu": 2.5,
        "slice/group:a/_/b/_/bleu": 4.5,
        "slice/source_length:1-2 s/bleu": 3.5,
    }


def test_a_run_that_somebody_deleted_is_forgotten(store: Store) -> None:
    run = tracking.open_run(store, "deleted", {}, {})
    store.client().delete_run(run.id)
    with tracking.forgotten_if_gone(run):
        run.end(tracking.KILLED)
    assert run.key not in [left.key for left in tracking.left_over(store)]
    with pytest.raises(ZeroDivisionError), tracking.forgotten_if_gone(run):
        raise ZeroDivisionError


def test_a_store_is_kept_for_its_owner_and_named_without_its_password(tmp_path: pathlib.Path) -> None:
    secret = Store("postgresql+psycopg2://u:secret@host/db", "", "a", "state")
    secret.keep(tmp_path / "a" / "store.json")
    assert Store.read(tmp_path / "a" / "store.json") == secret
    assert (tmp_path / "a" / "store.json").stat().st_mode & 0o077 == 0
    assert secret.name() == "postgresql+psycopg2://…@host/db"
    assert without_passwords(f"fovea run a.yaml --set tracking_uri={secret.uri}").endswith("//…@host/db")


def test_a_run_ends_as_its_body_does(store: Store) -> None:
    ends = (("FINISHED", None), ("FAILED", ValueError("why")), ("KILLED", KeyboardInterrupt()))
    for status, error in ends:
        opened = tracking.open_run(store, status, {}, {})
        with contextlib.suppress(ValueError, KeyboardInterrupt), tracking.closed_at_the_end(opened):
            if error:
                raise error
        run = store.client().get_run(opened.id)
        assert run.info.status == status and run.info.end_time >= run.info.start_time
        assert run.data.tags.get("fovea.error") == ("ValueError: why" if status == "FAILED" else None)


def test_a_run_within_another_has_it_for_a_parent(store: Store) -> None:
    outer = tracking.open_run(store, "outer", {}, {})
    inner = tracking.open_run(store, "inner", {}, {"a": "1"}, parent=outer, began_ms=1000)
    assert [run.key for run in tracking.unfinished(store)][-2:] == [outer.key, inner.key]
    inner.end(tracking.FINISHED)
    found = store.client().get_run(inner.id)
    assert found.data.tags["mlflow.parentRunId"] == outer.id and found.info.start_time == 1000
    assert tracking.RUN_TAG not in found.data.tags


def test_what_else_a_run_holds(store: Store, tmp_path: pathlib.Path) -> None:
    run, client = tracking.open_run(store, "more", {}, {}), store.client()
    (tmp_path / "a.txt").write_text("A")
    run.file(tmp_path / "a.txt", "one")
    run.folder(tmp_path, "all")
    run.table({"source": ["tea"], "right": [True]}, "rows.json")
    fields = {"name": "n", "digest": "0f", "source_type": "reverse", "source": "{}", "schema": "{}", "profile": "{}"}
    run.datasets({"train": fields, "test": {**fields, "digest": "1f"}})
    with system_metrics.sampled(run):
        pass
    assert {item.path for item in client.list_artifacts(run.id)} == {"one", "all", "rows.json"}
    assert {one.tags[0].value: one.dataset.digest for one in client.get_run(run.id).inputs.dataset_inputs} == {
        "train": "0f",
        "test": "1f",
    }
    assert json.loads(client.get_run(run.id).data.tags["mlflow.loggedArtifacts"])[0]["type"] == "table"
    assert 0 <= client.get_run(run.id).data.metrics["system/system_memory_usage_percentage"] <= 100


def test_a_missing_run_is_named(store: Store) -> None:
    with pytest.raises(LookupError, match=r"no MLflow run of 'a' has the tag fovea.pipeline_run_id='never'"):
        tracking.find_run(store, "never")
