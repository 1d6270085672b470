"""MLflow's pages of runs, as `fovea ui` serves them, in a real browser."""

from __future__ import annotations

import contextlib
import os
import pathlib
import re
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator

import pytest

from components import tracking
from pipeline import digest
from pipeline.result import Run
from tests.end_to_end import browser
from tests.end_to_end.conftest import Workshop

PATIENCE_MS = 20_000
POLL_S = 0.2
Browse = Callable[[str, str], str]


@pytest.fixture(scope="module")
def browse(workshop: Workshop, first: Run, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browse]:
    """(A pipeline's name, id of its MLflow run) -> the text of the run's page."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    folder = tmp_path_factory.mktemp("ui")
    with (folder / "log").open("wb") as log:
        ui = subprocess.Popen(
            [sys.executable, "-m", "pipeline.cli", "ui", "--port", str(port)],
            stdout=log,
            stderr=log,
            cwd=digest.PROJECT,
            env={**os.environ, "FOVEA_HOME": str(workshop.home.root)},
        )

    def page(name: str, run_id: str) -> str:
        experiment = workshop.home.tracking(name).client().get_experiment_by_name(name)
        address = f"http://127.0.0.1:{port}/#/experiments/{experiment.experiment_id}/runs/{run_id}"
        found = browser.elements(address, folder / "profile", PATIENCE_MS)
        return re.sub(r"\|+", "|", re.sub(r"<[^>]*>", "|", found))

    try:
        _wait(ui, port, folder / "log")
        yield page
    finally:
        ui.terminate()
        ui.wait()


def _wait(ui: subprocess.Popen[bytes], port: int, log: pathlib.Path) -> None:
    while True:
        with contextlib.suppress(urllib.error.URLError, OSError):
            urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=10).close()
            return
        with contextlib.suppress(subprocess.TimeoutExpired):
            ui.wait(POLL_S)
            raise RuntimeError(f"`fovea ui` ended: {log.read_text()}")


@browser.needed
def test_the_page_of_a_finished_run(first: Run, browse: Browse) -> None:
    page = browse("capitals", first.result.mlflow_run_id)
    assert "|Finished|" in page
    for part in (
        "|training/loss|",
        "|test/sequence_error_rate|",
        "|model.units|",
        "|system/cpu_utilization_percentage|",
    ):
        assert part in page


@browser.needed
def test_the_page_of_a_failed_run(workshop: Workshop, browse: Browse) -> None:
    with pytest.raises(Exception, match="vocabulary_size is 7"):
        workshop.run("tokenizer={source: {kind: bpe, vocabulary_size: 7}, target: {kind: word}}", "name=unwell")
    store = workshop.home.tracking("unwell")
    client = store.client()
    (run,) = client.search_runs([client.get_experiment_by_name("unwell").experiment_id])
    page = browse("unwell", run.info.run_id)
    assert "|Failed|" in page and "fovea.error" in page


@browser.needed
def test_the_page_of_a_killed_run(workshop: Workshop, browse: Browse) -> None:
    run = tracking.open_run(workshop.home.tracking("ended"), "2026-01-01T00:00", {}, {})
    run.end(tracking.KILLED)
    assert "|Killed|" in browse("ended", run.id)
