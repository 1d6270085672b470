"""Tracking, on a real MLflow store in SQLite."""

from __future__ import annotations

import contextlib

import pytest

from components import tracking


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> tracking.Store:
    folder = tmp_path_factory.mktemp("mlflow")
    made = tracking.Store(f"sqlite:///{folder / 'mlflow.db'}", str(folder / "artifacts"), "a")
    with tracking.made_beside(made):
        pass
    assert (folder / "mlflow.db").exists()
    return made


def test_a_run_is_found_by_its_pipeline_run(store: tracking.Store) -> None:
    first = tracking.open_run(store, "2026-01-01T00:00", {"k": "v"}, {"long": "x" * 9999})
    second = tracking.open_run(store, "2026-01-02T00:00", {}, {})
    assert tracking.find_run(store, "2026-01-01T00:00") == first != second
    run = store.client().get_run(first)
    assert run.data.tags["k"] == "v" and len(run.data.params["long"]) == tracking.MAX_PARAMETER_CHARACTERS


def test_curves_are_by_step_and_a_resumed_training_says_so(store: tracking.Store) -> None:
    run_id = tracking.open_run(store, "curves", {}, {})
    curves = tracking.Curves(store, run_id)
    curves.began(total_steps=40, done_steps=20)
    curves.step(25, {"loss": 1.5})
    curves.step(30, {"loss": 1.0})
    curves.epoch(30, {"validation_loss": 1.25})
    client = store.client()
    history = client.get_metric_history(run_id, "training/loss")
    assert [(point.step, point.value) for point in history] == [(25, 1.5), (30, 1.0)]
    assert client.get_run(run_id).data.metrics["validation/loss"] == 1.25
    assert client.get_run(run_id).data.tags["fovea.resumed_from_step"] == "20"


def test_a_run_ends_as_its_body_does(store: tracking.Store) -> None:
    ends = (("FINISHED", None), ("FAILED", ValueError("why")), ("KILLED", KeyboardInterrupt()))
    for status, error in ends:
        run_id = tracking.open_run(store, status, {}, {})
        with contextlib.suppress(ValueError, KeyboardInterrupt), tracking.closed_at_the_end(store, run_id):
            if error:
                raise error
        run = store.client().get_run(run_id)
        assert run.info.status == status
        assert run.data.tags.get("fovea.error") == ("ValueError: why" if status == "FAILED" else None)


def test_a_run_whose_process_died_is_closed_by_the_next(store: tracking.Store) -> None:
    died = tracking.open_run(store, "died", {}, {})
    tracking.open_run(store, "next", {}, {})
    assert store.client().get_run(died).info.status == "KILLED"


def test_a_missing_run_is_named(store: tracking.Store) -> None:
    with pytest.raises(LookupError, match=r"no MLflow run of 'a' has the tag fovea.pipeline_run_id='never'"):
        tracking.find_run(store, "never")
