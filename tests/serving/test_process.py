"""How the server's process begins and ends."""

from __future__ import annotations

import contextlib
import signal
import socket
import threading
from pathlib import Path
from typing import Any

import pytest

from serving.client import ServingError, connect
from tests.serving.tiny_server import Gate, export_tiny_model, running, wait_until

SERVER, COMMAND = ("-m", "serving.server"), ("-m", "pipeline.cli", "serve")
IMPATIENT = """
import sys
from serving import server
server.DRAIN_TIMEOUT_S = server.CLOSE_TIMEOUT_S = 1
server.run(sys.argv[1:])
"""


@pytest.mark.parametrize(
    ("how", "signal_"), [(SERVER, signal.SIGTERM), (SERVER, signal.SIGINT), (COMMAND, signal.SIGTERM)]
)
def test_requests_in_flight_finish(how: tuple[str, ...], signal_: signal.Signals, tmp_path: Path) -> None:
    export_tiny_model(tmp_path / "models" / "007", version=7)
    gates = [Gate(tmp_path / "grpc"), Gate(tmp_path / "rest")]
    answers: list[Any] = []

    def call(address: str, gate: Gate) -> None:
        with connect(address, "tiny") as client:
            answers.append(client.predict("wait", {"path": gate.path}))

    threads = "--tensorflow_inter_op_parallelism=7"  # a request that waits keeps one
    with running(tmp_path / "models", tmp_path / "log", threads, how=how) as server:
        server.wait_ready()
        addresses = (server.grpc_address, server.rest_address)
        calls = [threading.Thread(target=call, args=pair) for pair in zip(addresses, gates, strict=True)]
        for thread in calls:
            thread.start()
        for gate in gates:
            gate.wait_held()
        server.process.send_signal(signal_)
        wait_until(lambda: "stopping" in server.log(), "the signal to be heard")
        for gate in gates:
            gate.open()
        for thread in calls:
            thread.join()
        assert [int(answer["version"]) for answer in answers] == [7, 7]
        assert server.process.wait(30) == 0
        assert "version 7 unloaded" in server.log()


def test_a_request_that_does_not_end_ends_with_the_process(tmp_path: Path) -> None:
    export_tiny_model(tmp_path / "models" / "1", version=1)
    gate = Gate(tmp_path / "gate")

    def call(address: str) -> None:
        with connect(address, "tiny", timeout_s=1e6, retry=False) as client, contextlib.suppress(ServingError):
            client.predict("wait", {"path": gate.path})

    with running(tmp_path / "models", tmp_path / "log", how=("-c", IMPATIENT)) as server:
        server.wait_ready()
        thread = threading.Thread(target=call, args=[server.grpc_address])
        thread.start()
        gate.wait_held()
        server.process.send_signal(signal.SIGTERM)
        assert server.process.wait(60) == 0
        thread.join()
        assert "stopped while a model was still loading or running a request" in server.log()


def test_until_a_model_is_there_no_port_is_open_and_a_signal_ends_the_server(tmp_path: Path) -> None:
    (tmp_path / "models").mkdir()
    with running(tmp_path / "models", tmp_path / "log") as server:
        wait_until(lambda: "No versions of model tiny found" in server.log(), "the server to look for versions")
        for port in (server.grpc_port, server.rest_port):
            with pytest.raises(ConnectionRefusedError), socket.create_connection(("localhost", port)):
                pass
        server.process.send_signal(signal.SIGTERM)
        assert server.process.wait(60) == 0
