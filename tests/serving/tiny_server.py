"""A tiny model, and a real server of it in a process of its own."""

from __future__ import annotations

import contextlib
import dataclasses
import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

MODEL = "tiny"
ROOT = Path(__file__).parents[2]
DEADLINE_S = 180.0


def wait_until(condition: Callable[[], Any], what: str, deadline_s: float = DEADLINE_S) -> Any:
    """The first true value of `condition`."""
    end = time.monotonic() + deadline_s
    while not (value := condition()):
        assert time.monotonic() < end, f"{what}: not within {deadline_s} s"
        time.sleep(0.02)
    return value


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


class Gate:
    """Holds requests of the signature `wait` inside the server, until it is opened."""

    def __init__(self, path: Path) -> None:
        self.path = str(path)
        os.mkfifo(path)

    def wait_held(self) -> None:
        wait_until(lambda: os.path.exists(f"{self.path}.started"), "a request at the gate")

    def open(self) -> None:
        pipe = os.open(self.path, os.O_RDONLY | os.O_NONBLOCK)

        def through() -> bytes:
            try:
                return os.read(pipe, 7)
            except BlockingIOError:  # the request is on its way through
                return b""

        wait_until(through, "the request to go through the gate")
        os.close(pipe)


@dataclasses.dataclass
class Server:
    """A running `python -m serving.server`."""

    base_path: Path
    grpc_port: int
    rest_port: int
    process: subprocess.Popen[bytes]
    log_path: Path

    @property
    def grpc_address(self) -> str:
        return f"localhost:{self.grpc_port}"

    @property
    def rest_address(self) -> str:
        return f"http://localhost:{self.rest_port}"

    def log(self) -> str:
        return self.log_path.read_text()

    def wait_ready(self) -> None:
        def ready() -> bool:
            assert self.process.poll() is None, f"the server ended:\n{self.log()}"
            return "ready on" in self.log()

        wait_until(ready, "the server's start")

    def http(self, method: str, path: str, body: Any = None, **headers: str) -> tuple[int, bytes]:
        content = body if isinstance(body, bytes) or body is None else json.dumps(body).encode()
        connection = http.client.HTTPConnection("localhost", self.rest_port, timeout=DEADLINE_S)
        with contextlib.closing(connection):
            connection.request(method, path, content, {name.replace("_", "-"): v for name, v in headers.items()})
            response = connection.getresponse()
            return response.status, response.read()

    def predict(self, body: Any, path: str = f"/v1/models/{MODEL}:predict") -> tuple[int, Any]:
        status, content = self.http("POST", path, body)
        return status, json.loads(content)

    def states(self) -> dict[int, dict[str, Any]]:
        """{1: {"version": "1", "state": "AVAILABLE", "status": {...}}}."""
        _, content = self.http("GET", f"/v1/models/{MODEL}")
        return {int(state["version"]): state for state in json.loads(content)["model_version_status"]}

    def wait_state(self, version: int, state: str) -> dict[str, Any]:
        found = wait_until(
            lambda: (s := self.states().get(version)) and s["state"] == state and s, f"version {version} to be {state}"
        )
        return dict(found)


@contextlib.contextmanager
def running(
    base_path: Path,
    log_path: Path,
    *flags: str,
    ports: tuple[int, int] | None = None,
    how: Sequence[str] = ("-m", "serving.server"),
) -> Iterator[Server]:
    grpc_port, rest_port = ports or (free_port(), free_port())
    command = [sys.executable, *how, f"--port={grpc_port}", f"--rest_api_port={rest_port}"]
    command += [f"--model_name={MODEL}", "--model_base_path", str(base_path), "--max_num_load_retries=0", *flags]
    with log_path.open("wb") as log:
        process = subprocess.Popen(command, stderr=log, stdout=log, cwd=ROOT, env={**os.environ, "PYTHONPATH": "."})
    try:
        yield Server(base_path, grpc_port, rest_port, process, log_path)
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
        try:
            process.wait(DEADLINE_S)
        except subprocess.TimeoutExpired:
            process.kill()
            raise


def export_tiny_model(path: Path, version: int) -> None:
    """A SavedModel whose outputs can be told by hand, with one signature for each thing that a server must do."""
    import tensorflow as tf

    class Tiny(tf.Module):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.version = tf.Variable(version, dtype=tf.int64)
            words = tf.lookup.KeyValueTensorInitializer(["one"], ["eins"])
            self.words = tf.lookup.StaticHashTable(words, default_value="?")

    tiny = Tiny()

    def text(text: tf.Tensor) -> dict[str, tf.Tensor]:
        length = tf.strings.length(text)
        version = tf.fill(tf.shape(text), tiny.version)
        return {"text": tiny.words.lookup(text), "score": tf.cast(length, tf.float32) / 4.0, "version": version}

    def pair(text: tf.Tensor, target: tf.Tensor) -> dict[str, tf.Tensor]:
        return {"score": tf.cast(text == target, tf.float32), "pieces": tf.stack([text, target], axis=1)}

    def half(x: tf.Tensor) -> dict[str, tf.Tensor]:
        return {"y": x / 2.0}

    def add(a: tf.Tensor, b: tf.Tensor) -> dict[str, tf.Tensor]:
        return {"sum": a + b, "rows": tf.shape(a)[0]}

    def pick(index: tf.Tensor) -> dict[str, tf.Tensor]:
        return {"picked": tf.gather(tf.constant([2.0, 3.0, 5.0]), index)}

    def echo(raw: tf.Tensor) -> dict[str, tf.Tensor]:
        return {"raw_bytes": raw}

    def narrow(x: tf.Tensor) -> dict[str, tf.Tensor]:
        return {"y": x}

    def narrowed(x: tf.Tensor) -> dict[str, tf.Tensor]:
        return {"y": tf.cast(x, tf.float16)}

    def wait(path: tf.Tensor) -> dict[str, tf.Tensor]:
        tf.io.write_file(path + ".started", "")
        tf.io.write_file(path, "through")  # into a named pipe: blocks until someone opens it to read
        return {"version": tf.identity(tiny.version)}

    def endless(x: tf.Tensor) -> dict[str, tf.Tensor]:
        """Until it is cancelled, between two of its steps."""
        (y,) = tf.while_loop(lambda y: y >= 0, lambda y: ((y + 1) % 7,), (x,))
        return {"y": y}

    def signature(function: Callable[..., Any], **specs: Any) -> Any:
        named = [tf.TensorSpec(shape, dtype, name) for name, (shape, dtype) in specs.items()]
        return tf.function(function).get_concrete_function(*named)

    signatures = {
        "serving_default": signature(text, text=([None], tf.string)),
        "pair": signature(pair, text=([None], tf.string), target=([None], tf.string)),
        "half": signature(half, x=([None], tf.float32)),
        "add": signature(add, a=([None], tf.float32), b=([None], tf.float32)),
        "pick": signature(pick, index=([None], tf.int32)),
        "echo": signature(echo, raw=([None], tf.string)),
        "narrow": signature(narrow, x=([None], tf.float16)),
        "narrowed": signature(narrowed, x=([None], tf.float32)),
        "wait": signature(wait, path=([], tf.string)),
        "endless": signature(endless, x=([], tf.int32)),
    }
    tf.saved_model.save(tiny, str(path), signatures=signatures)
