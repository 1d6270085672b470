"""Versions that come, break and go under a running server."""

from __future__ import annotations

import shutil
import socket
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import tensorflow as tf
from tensorflow_serving.apis import prediction_log_pb2

from serving.client import ServingError, Status, connect
from serving.flags import Flags
from serving.server import serve
from tests.serving.tiny_server import Gate, Server, export_tiny_model, free_port, running, wait_until

AddVersion = Callable[..., int]


def version_of(client: Any) -> int:
    return int(client.predict("serving_default", {"text": ["one"]})["version"][0])


def write_warm_up(path: Path, *records: bytes) -> None:
    folder = path / "assets.extra"
    folder.mkdir()
    with tf.io.TFRecordWriter(str(folder / "tf_serving_warmup_requests")) as writer:
        for record in records:
            writer.write(record)


def warm_up_record(signature: str, **inputs: Any) -> bytes:
    logged = prediction_log_pb2.PredictionLog()
    request = logged.predict_log.request
    request.model_spec.signature_name = signature
    for name, value in inputs.items():
        request.inputs[name].CopyFrom(tf.make_tensor_proto(value))
    return bytes(logged.SerializeToString())


def test_a_new_version_takes_over_under_calls(server: Server, add_version: AddVersion, tmp_path: Path) -> None:
    gate = Gate(tmp_path / "gate")
    answers: list[dict[str, Any]] = []
    seen: list[int] = []
    with connect(server.grpc_address, model="tiny") as client:
        old = version_of(client)
        in_flight = threading.Thread(target=lambda: answers.append(client.predict("wait", {"path": gate.path})))
        in_flight.start()
        gate.wait_held()
        new = add_version()

        def taken_over() -> bool:
            seen.append(version_of(client))
            return seen[-1] == new

        wait_until(taken_over, f"version {new}")
        assert seen == sorted(seen) and set(seen) <= {old, new}
        server.wait_state(old, "UNLOADING")  # not END: a request is in flight
        with pytest.raises(ServingError, match=rf"NOT_FOUND: Servable not found for request: Specific\(tiny, {old}\)"):
            connect(server.grpc_address, "tiny", version=old).predict("serving_default", {"text": ["one"]})
        gate.open()
        in_flight.join()
        assert answers[0]["version"] == old
    server.wait_state(old, "END")
    assert server.states()[new]["state"] == "AVAILABLE"
    assert f"model tiny version {new} loaded" in server.log()


def test_a_broken_version_leaves_the_old_one(server: Server, add_version: AddVersion) -> None:
    with connect(server.rest_address, model="tiny") as client:
        old = version_of(client)
        broken = add_version(lambda path: (path / "saved_model.pb").unlink())
        state = server.wait_state(broken, "END")
        assert state["status"]["error_code"] == "NOT_FOUND"
        assert state["status"]["error_message"].startswith("Could not find SavedModel .pb or .pbtxt")
        assert version_of(client) == old
        assert server.states()[old]["state"] == "AVAILABLE"
        assert version_of(client) < add_version_and_wait(server, add_version)


def add_version_and_wait(server: Server, add_version: AddVersion) -> int:
    number = add_version()
    server.wait_state(number, "AVAILABLE")
    return number


def test_warm_up_requests_are_replayed_and_a_failing_one_fails_the_load(
    server: Server, add_version: AddVersion
) -> None:
    good = warm_up_record("serving_default", text=["one"])
    bad = warm_up_record("pick", index=[11])
    warm = add_version(lambda path: write_warm_up(path, good, good))
    server.wait_state(warm, "AVAILABLE")
    cold = add_version(lambda path: write_warm_up(path, good, bad))
    assert "indices[0] = 11 is not in [0, 3)" in server.wait_state(cold, "END")["status"]["error_message"]
    garbage = add_version(lambda path: write_warm_up(path, b"\xff\xff"))
    message = server.wait_state(garbage, "END")["status"]["error_message"]
    assert message.startswith("Failed to parse warmup record: ")
    assert server.states()[warm]["state"] == "AVAILABLE"


def test_a_thousand_warm_up_requests_and_no_more(server: Server, add_version: AddVersion) -> None:
    record = warm_up_record("half", x=[3.0])
    most = add_version(lambda path: write_warm_up(path, *[record] * 1000))
    server.wait_state(most, "AVAILABLE")
    more = add_version(lambda path: write_warm_up(path, *[record] * 1001))
    message = server.wait_state(more, "END")["status"]["error_message"]
    assert message.startswith("Number of warmup records exceeds the maximum (1000) at ")


def test_versions_that_are_deleted(tmp_path: Path) -> None:
    for number in (1, 2):
        export_tiny_model(tmp_path / "models" / str(number), version=number)
    with running(tmp_path / "models", tmp_path / "log") as server, connect(server.grpc_address, "tiny") as client:
        server.wait_ready()
        assert (version_of(client), set(server.states())) == (2, {2})
        shutil.rmtree(tmp_path / "models" / "2")
        server.wait_state(2, "END")
        assert (version_of(client), server.states()[1]["state"]) == (1, "AVAILABLE")
        assert server.http("GET", "/readyz") == (200, b"ok\n")
        shutil.rmtree(tmp_path / "models" / "1")
        server.wait_state(1, "END")
        assert server.http("GET", "/readyz")[0] == 503
        assert server.http("GET", "/livez") == (200, b"ok\n")
        with pytest.raises(ServingError, match=r"NOT_FOUND: Servable not found for request: Latest\(tiny\)"):
            version_of(client)


def test_a_broken_version_is_tried_again(tmp_path: Path) -> None:
    export_tiny_model(tmp_path / "export", version=3)
    graph = tmp_path / "models" / "3" / "saved_model.pb"
    shutil.copytree(tmp_path / "export", graph.parent, ignore=lambda *_: ["saved_model.pb"])
    flags = "--max_num_load_retries=100000", "--load_retry_interval_micros=100000"
    with running(tmp_path / "models", tmp_path / "log", *flags) as server:
        # With intervals of a minute, the default, five tries would take longer than this waits.
        wait_until(lambda: server.log().count("failed to load: NOT_FOUND: Could not find SavedModel") > 4, "five tries")
        (tmp_path / "export" / "saved_model.pb").rename(graph)
        server.wait_ready()
        assert server.states()[3]["state"] == "AVAILABLE"


def test_a_server_whose_only_version_is_broken_does_not_start(tmp_path: Path, capfd: Any) -> None:
    (tmp_path / "3").mkdir()
    flags = Flags(str(tmp_path), "m", port=free_port(), max_num_load_retries=2, load_retry_interval_micros=-1)
    assert serve(flags, [], threading.Event()) == 1
    said = capfd.readouterr().err
    assert "failed to start: NOT_FOUND: Could not find SavedModel" in said
    assert said.count("version 3 failed to load: NOT_FOUND") == 1 + 2
    with pytest.raises(ServingError) as caught:
        connect(f"localhost:{flags.port}", "m").predict("serving_default", {})
    assert caught.value.status is Status.UNAVAILABLE


@pytest.mark.parametrize("taken", ["gRPC", "REST"])
def test_a_port_that_is_taken(taken: str, tmp_path: Path, capfd: Any) -> None:
    export_tiny_model(tmp_path / "2", version=2)
    with socket.create_server(("0.0.0.0", 0)) as listener:
        port = listener.getsockname()[1]
        ports = {"gRPC": (port, free_port()), "REST": (free_port(), port)}[taken]
        flags = Flags(str(tmp_path), port=ports[0], rest_api_port=ports[1])
        assert serve(flags, [], threading.Event()) == 1
    error = capfd.readouterr().err
    assert f"failed to start: {taken} cannot listen on " in error
    assert str(port) in error
