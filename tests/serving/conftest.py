"""One server of the tiny model for the whole session."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.serving.tiny_server import Server, export_tiny_model, running


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Serves version 1 at first; tests of versions add their own, with higher numbers."""
    folder = tmp_path_factory.mktemp("server")
    base_path = folder / "models"
    base_path.mkdir()
    threads = "--tensorflow_inter_op_parallelism=7"  # a request that waits keeps one, and a machine may have one core
    with running(base_path, folder / "log", threads) as started:  # it starts while the model is made
        export_tiny_model(folder / "export", version=1)
        os.rename(folder / "export", base_path / "1")
        started.wait_ready()
        yield started


@pytest.fixture(scope="session")
def add_version(server: Server) -> Callable[..., int]:
    """A function that gives the session's server another version, the next number, and returns the number."""

    def add(edit: Callable[[Path], None] = lambda path: None) -> int:
        number = max(int(path.name) for path in server.base_path.iterdir()) + 1
        staging = server.base_path.parent / f"staging-{number}"
        export_tiny_model(staging, version=number)
        edit(staging)
        os.rename(staging, server.base_path / str(number))
        return number

    return add
