"""A server that is killed and started again: its clients go on by themselves, within their deadlines."""

from __future__ import annotations

import threading
from pathlib import Path

from serving.client import connect
from tests.serving.tiny_server import DEADLINE_S, export_tiny_model, free_port, running, wait_until

CLIENTS = 4  # of gRPC, and of REST
ASKED_AT_LEAST = 20  # by each client, before and after


def test_clients_wait_for_a_server_that_was_killed(tmp_path: Path) -> None:
    ports = free_port(), free_port()
    export_tiny_model(tmp_path / "models" / "1", version=1)
    answered = [0] * 2 * CLIENTS
    stop = threading.Event()

    def ask(number: int, address: str) -> None:
        with connect(address, model="tiny", timeout_s=2 * DEADLINE_S) as client:
            while not stop.is_set():
                assert client.predict("serving_default", {"text": ["one"]})["text"] == ["eins"]
                answered[number] += 1

    with running(tmp_path / "models", tmp_path / "log-1", ports=ports) as server:
        server.wait_ready()
        addresses = [server.grpc_address, server.rest_address] * CLIENTS
        clients = [threading.Thread(target=ask, args=item) for item in enumerate(addresses)]
        for client in clients:
            client.start()
        wait_until(lambda: min(answered) >= ASKED_AT_LEAST, "answers of the first server")
        server.process.kill()
        server.process.wait()
    with running(tmp_path / "models", tmp_path / "log-2", ports=ports) as again:
        again.wait_ready()
        more = [asked + ASKED_AT_LEAST for asked in answered]
        wait_until(lambda: all(now >= then for now, then in zip(answered, more, strict=True)), "more answers")
        stop.set()
        for client in clients:
            client.join(DEADLINE_S)
            assert not client.is_alive()
