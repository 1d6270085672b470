"""A run goes on while MLflow cannot be used, and is completed later: a real server that is down, a locked database."""

from __future__ import annotations

import pathlib
import sqlite3
import tempfile

import pytest

from components import model_digest, registry, tracking
from components.curves import Curves
from components.tracking_store import Store
from tests.components import postgresql
from tests.components.mlflow_server import free_port, server


def use(run: tracking.Run, folder: pathlib.Path) -> None:
    """Something of each kind."""
    with Curves(run) as curves:
        curves.began(2, 0)
        curves.step(1, {"loss": 2.0})
        curves.epoch(2, {"validation_loss": 1.0})
    path = folder / "overwritten.txt"
    path.write_text("as it was")
    run.file(path, "texts")
    path.write_text("later")
    run.text("it’s\u2028text", "a.txt")
    run.table({"source": ["tea"]}, "rows.json")
    run.datasets({"train": dict.fromkeys(("name", "digest", "source_type", "source"), "x")})
    run.model(export(folder))
    inner = tracking.open_run(run.store, "Trainer, attempt 1", {}, {}, parent=run)
    inner.end(tracking.FAILED, "ValueError: why")


def export(folder: pathlib.Path) -> registry.Export:
    """A pushed model, as far as MLflow looks into it."""
    pushed = folder / "models" / "7"
    pushed.mkdir(parents=True, exist_ok=True)
    (pushed / "saved_model.pb").write_bytes(b"graph")
    return registry.Export("away", str(pushed), model_digest.of_folder(pushed), 3, str(pushed), ["tea"])


def check(run_id: str, store: Store, folder: pathlib.Path) -> None:
    client = store.client()
    run = client.get_run(run_id)
    assert run.data.params["a"] == "1" and run.info.status == "FINISHED"
    assert run.data.metrics["training/loss"] == 2.0 and run.data.metrics["validation/loss"] == 1.0
    assert (
        pathlib.Path(client.download_artifacts(run_id, "texts/overwritten.txt", str(folder))).read_text() == "as it was"
    )
    assert pathlib.Path(client.download_artifacts(run_id, "a.txt", str(folder))).read_text() == "it’s\u2028text"
    assert run.inputs.dataset_inputs[0].dataset.name == "x"
    version = next(one for one in registry.versions(client, "away") if one.aliases == ("champion",))
    (folder / "downloads").mkdir(exist_ok=True)
    found = registry.download(store, "away", version.version, folder / "downloads")
    assert model_digest.of_folder(found) == version.digest and registry.champions(client, "away") == [version.version]
    (inner,) = client.search_runs([run.info.experiment_id], f"tags.`mlflow.parentRunId` = '{run_id}'")
    assert inner.info.status == "FAILED" and inner.data.tags["fovea.error"] == "ValueError: why"


def test_a_server_that_is_down(tmp_path: pathlib.Path, capfd: pytest.CaptureFixture[str]) -> None:
    """Down from the start, then down in the middle; each run is complete when it is back."""
    port = free_port()
    store = Store(f"http://127.0.0.1:{port}", "", "away", str(tmp_path / "state"))
    first = tracking.open_run(store, "first", {}, {"a": "1"})
    use(first, tmp_path)
    first.end(tracking.FINISHED)
    told = capfd.readouterr().err
    assert told.count("Connection refused; the run goes on") == 1 and len(told.splitlines()) == 1
    assert first.id.startswith("pending-")
    assert tracking.find_run(store, "first").key == first.key
    with pytest.raises(tracking.Unavailable, match="Connection refused"):
        first.catch_up()
    backend = f"sqlite:///{tmp_path / 'mlflow.db'}"
    with server(port, tmp_path, backend):
        ids = {run.key: run.catch_up() for run in tracking.left_over(store)}
        check(ids[first.key], store, tmp_path)
        assert store.client().get_run(ids[first.key]).data.tags["fovea.pending_id"] == first.key
        assert not tracking.left_over(store)
        second = tracking.open_run(store, "second", {}, {"a": "1"})
    use(second, tmp_path)
    second.end(tracking.FINISHED)
    assert capfd.readouterr().err.count("the run goes on") == 1
    with server(port, tmp_path, backend):
        for run in tracking.left_over(store):
            run.catch_up()
        check(second.id, store, tmp_path)
    assert not tracking.left_over(store)


def test_a_locked_database(tmp_path: pathlib.Path, capfd: pytest.CaptureFixture[str]) -> None:
    store = Store(f"sqlite:///{tmp_path / 'mlflow.db'}", str(tmp_path / "mlflow"), "locked", str(tmp_path / "state"))
    run = tracking.open_run(store, "first", {}, {"a": "1"})
    capfd.readouterr()
    with sqlite3.connect(tmp_path / "mlflow.db", isolation_level=None) as other:
        other.execute("BEGIN EXCLUSIVE")
        use(run, tmp_path)
        told = capfd.readouterr().err
        assert told.count("database is locked; the run goes on") == 1 and len(told.splitlines()) == 1
        other.execute("ROLLBACK")
    other.close()
    run.end(tracking.FINISHED)
    for left in tracking.left_over(store):
        left.catch_up()
    check(run.id, store, tmp_path)
    assert not tracking.left_over(store)


@pytest.mark.skipif(not postgresql.installed(), reason="PostgreSQL is not installed (Debian: postgresql)")
def test_a_server_on_postgresql() -> None:
    with tempfile.TemporaryDirectory() as folder, postgresql.running(pathlib.Path(folder)) as uri:
        port, path = free_port(), pathlib.Path(folder)
        store = Store(f"http://127.0.0.1:{port}", "", "postgresql", str(path / "state"))
        with server(port, path, uri):
            run = tracking.open_run(store, "first", {}, {"a": "1"})
            use(run, path)
            run.end(tracking.FINISHED)
            check(run.id, store, path)
        assert not tracking.left_over(store)
        beside = Store(uri, str(path / "artifacts"), "beside", str(path / "state"))  # the database itself, no server
        inner = tracking.open_run(beside, "first", {}, {"a": "1"})
        inner.end(tracking.FINISHED)
        assert beside.client().get_run(inner.id).info.status == "FINISHED"


def test_a_database_that_is_down_is_not_waited_for(tmp_path: pathlib.Path, capfd: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("psycopg2")
    uri = f"postgresql+psycopg2://who:secret@127.0.0.1:{free_port()}/mlflow"
    run = tracking.open_run(Store(uri, "", "down", str(tmp_path / "state")), "first", {}, {})
    told = capfd.readouterr().err
    assert run.id.startswith("pending-") and "Connection refused" in told and "secret" not in told
