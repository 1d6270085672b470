"""A real MLflow server for tests."""

from __future__ import annotations

import contextlib
import os
import pathlib
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator

PATIENCE_S = 120


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextlib.contextmanager
def server(port: int, folder: pathlib.Path, backend: str) -> Iterator[None]:
    """MLflow's own, up and answering."""
    arguments = ["--backend-store-uri", backend, "--artifacts-destination", str(folder / "served"), "--workers", "1"]
    command = [sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(port), *arguments]
    log = (folder / "server.log").open("ab")
    quiet = {**os.environ, "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
    running = subprocess.Popen(command, stdout=log, stderr=log, env=quiet, start_new_session=True)
    try:
        for _ in range(PATIENCE_S * 5):
            with contextlib.suppress(urllib.error.URLError, ConnectionError):
                urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=5)
                break
            with contextlib.suppress(subprocess.TimeoutExpired):
                running.wait(timeout=0.2)
                break
        assert running.poll() is None, (folder / "server.log").read_text()[-2000:]
        yield
    finally:
        running.terminate()
        running.wait()
        log.close()
