"""A model server in a process of its own, for as long as it is asked: what serves a candidate before it is pushed."""

from __future__ import annotations

import contextlib
import dataclasses
import pathlib
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator

PROJECT = pathlib.Path(__file__).resolve().parent.parent
LOCALHOST = "127.0.0.1"
START_TIMEOUT_S = 600.0  # a model with many buckets compiles for minutes
STOP_TIMEOUT_S = 60.0
POLL_S = 0.05
LOG_LINES = 5


class ServerFailedError(RuntimeError):
    """The server does not come up with this model; the text has the end of its log.

    Attributes:
        passing: it was killed or slow, which may be the machine's doing.
    """

    def __init__(self, text: str, passing: bool) -> None:
        super().__init__(text)
        self.passing = passing


@dataclasses.dataclass(frozen=True)
class Server:
    """A server of one model. gRPC is on a Unix socket, which needs no port to be free."""

    process: subprocess.Popen[bytes]
    log: pathlib.Path
    socket: pathlib.Path
    rest_port: int

    @property
    def grpc_address(self) -> str:
        """For `serving.client.connect`."""
        return f"unix:{self.socket}"

    @property
    def rest_address(self) -> str:
        """For `serving.client.connect`."""
        return f"http://{LOCALHOST}:{self.rest_port}"

    def wait_ready(self) -> None:
        """Until it answers: no port opens before the model is loaded and warm. ServerFailedError if it never does."""
        deadline_s = time.monotonic() + START_TIMEOUT_S
        while not self._listens():
            with contextlib.suppress(subprocess.TimeoutExpired):
                status = self.process.wait(POLL_S)
                _refuse_a_taken_port(self.rest_port)
                ended = f"the server ended with status {status}: {self._end_of_log()}"
                raise ServerFailedError(ended, passing=status < 0)
            if time.monotonic() > deadline_s:
                slow = f"the server is not ready after {START_TIMEOUT_S:.0f} s: {self._end_of_log()}"
                raise ServerFailedError(slow, passing=True)

    def _listens(self) -> bool:
        with contextlib.suppress(OSError):
            socket.create_connection((LOCALHOST, self.rest_port), timeout=1).close()
            return True
        return False

    def _end_of_log(self) -> str:
        return " | ".join(self.log.read_text(errors="replace").splitlines()[-LOG_LINES:])


def _refuse_a_taken_port(port: int) -> None:
    """OSError if somebody else took the port: no fault of the model's, so no verdict on it."""
    with socket.create_server(("", port)):
        pass


def _free_port() -> int:
    with socket.create_server(("", 0)) as listener:
        return int(listener.getsockname()[1])


@contextlib.contextmanager
def served(saved_model: pathlib.Path, name: str) -> Iterator[Server]:
    """A starting server of this SavedModel, under a name; it ends with the block. See `Server.wait_ready`."""
    with tempfile.TemporaryDirectory(prefix="fovea-") as folder:
        base = pathlib.Path(folder, "models")
        base.mkdir()
        (base / "1").symlink_to(saved_model.resolve(), target_is_directory=True)
        log, path, port = pathlib.Path(folder, "log"), pathlib.Path(folder, "grpc"), _free_port()
        flags = ["--port=0", f"--grpc_socket_path={path}", f"--rest_api_port={port}", "--max_num_load_retries=0"]
        flags += [f"--model_name={name}", f"--model_base_path={base}"]
        with log.open("wb") as out:
            process = subprocess.Popen(
                [sys.executable, "-m", "serving.server", *flags], stdout=out, stderr=out, cwd=PROJECT
            )
        try:
            yield Server(process, log, path, port)
        finally:
            _stop(process)


def _stop(process: subprocess.Popen[bytes]) -> None:
    process.send_signal(signal.SIGTERM)
    try:
        process.wait(STOP_TIMEOUT_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
