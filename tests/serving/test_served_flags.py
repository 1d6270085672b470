"""Flags whose effect a client sees, on one server that has them all."""

from __future__ import annotations

import http.client
import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest
import tensorflow as tf
from tensorflow_serving.apis import predict_pb2, prediction_service_pb2_grpc

from serving.client import connect
from serving.errors import ServingError, Status, http_status
from serving.flags import Flags
from serving.life import ModelVersions, Retries
from serving.pollers import BasePathPoller
from serving.server import main, serve
from serving.versions import latest
from tests.serving.test_version_life import warm_up_record, write_warm_up
from tests.serving.test_versions import load
from tests.serving.tiny_server import Gate, Server, export_tiny_model, free_port, running


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("flags")
    export_tiny_model(folder / "models" / "3", version=3)
    write_warm_up(folder / "models" / "3", warm_up_record("pick", index=[11]))
    (folder / "monitoring").write_text("prometheus_config { enable: true }")
    return folder


@pytest.fixture(scope="module")
def flagged(folder: Path) -> Iterator[Server]:
    flags = ["--enable_model_warmup=false", "--enable_serialization_as_tensor_content", "--rest_api_timeout_in_ms=200"]
    flags += ["--rest_api_enable_cors_support", f"--monitoring_config_file={folder}/monitoring"]
    flags += [f"--grpc_socket_path={folder}/socket", "--tensorflow_session_parallelism=7"]
    flags += ["--grpc_channel_arguments=grpc.max_receive_message_length=100000", "--file_system_poll_wait_seconds=0"]
    with running(folder / "models", folder / "log", *flags) as started:
        started.wait_ready()  # without its warm-up request, which fails
        yield started


def test_a_unix_socket(flagged: Server, folder: Path) -> None:
    with connect(f"unix:{folder}/socket", "tiny") as client:
        assert client.predict("half", {"x": [3.0]})["y"].tolist() == [1.5]


def test_values_in_tensor_content(flagged: Server) -> None:
    request = predict_pb2.PredictRequest()
    request.model_spec.name, request.model_spec.signature_name = "tiny", "half"
    request.inputs["x"].CopyFrom(tf.make_tensor_proto([3.0, 5.0]))
    with grpc.insecure_channel(flagged.grpc_address) as channel:
        answer = prediction_service_pb2_grpc.PredictionServiceStub(channel).Predict(request, timeout=60)
    output = answer.outputs["y"]
    assert (list(output.float_val), tf.make_ndarray(output).tolist()) == ([], [1.5, 2.5])


def test_options_of_grpc_itself(flagged: Server, server: Server) -> None:
    with connect(server.grpc_address, "tiny") as client:
        assert len(client.predict("half", {"x": [3.0] * 30_000})["y"]) == 30_000
    with connect(flagged.grpc_address, "tiny", retry=False) as client:
        assert len(client.predict("half", {"x": [3.0] * 20_000})["y"]) == 20_000
        with pytest.raises(ServingError, match=r"RESOURCE_EXHAUSTED: .*larger than max.* 100000"):
            client.predict("half", {"x": [3.0] * 30_000})


def test_a_thread_of_grpc_for_each_request_and_no_more(folder: Path, tmp_path: Path) -> None:
    gate = Gate(tmp_path / "gate")
    flags = "--grpc_max_threads=1", "--enable_model_warmup=false", "--tensorflow_inter_op_parallelism=7"
    with running(folder / "models", tmp_path / "log", *flags) as started:
        started.wait_ready()
        with connect(started.grpc_address, "tiny", retry=False) as patient:
            waits = threading.Thread(target=lambda: patient.predict("wait", {"path": gate.path}))
            waits.start()
            gate.wait_held()
            with connect(started.grpc_address, "tiny", retry=False, timeout_s=0.2) as hasty:
                with pytest.raises(ServingError, match="DEADLINE_EXCEEDED"):
                    hasty.predict("half", {"x": [3.0]})
                with connect(started.rest_address, "tiny") as rest:  # which has its own
                    assert rest.predict("half", {"x": [3.0]})["y"].tolist() == [1.5]
            gate.open()
            waits.join()
            assert patient.predict("half", {"x": [3.0]})["y"].tolist() == [1.5]


def test_the_timeout_of_rest(flagged: Server) -> None:
    status, answer = flagged.predict({"signature_name": "endless", "inputs": 3})
    assert status == 504 and list(answer) == ["error"]


def test_every_answer_has_cors_headers(flagged: Server, server: Server) -> None:
    for asked, origin in ((flagged, "*"), (server, None)):
        connection = http.client.HTTPConnection("localhost", asked.rest_port)
        for path in ("/v1/models/tiny", "/v1/models/none"):
            connection.request("GET", path)
            response = connection.getresponse()
            response.read()
            assert response.headers["Access-Control-Allow-Origin"] == origin
        connection.close()


def test_counts_are_at_tensorflow_servings_path(flagged: Server) -> None:
    status, content = flagged.http("GET", "/monitoring/prometheus/metrics")
    assert status == 200 and b"# TYPE :tensorflow:serving:request_count counter" in content


def test_a_version_by_number_over_rest(flagged: Server) -> None:
    _, content = flagged.http("GET", "/v1/models/tiny/versions/3/metadata")
    assert json.loads(content)["model_spec"]["version"] == "3"
    status, content = flagged.http("GET", "/v1/models/tiny/versions/7/metadata")
    assert (status, json.loads(content)) == (404, {"error": "Servable not found for request: Specific(tiny, 7)"})


def test_versions_are_looked_for_once(flagged: Server, folder: Path, tmp_path: Path) -> None:
    with running(folder / "models", tmp_path / "log", "--enable_model_warmup=false") as looks_on:
        looks_on.wait_ready()
        export_tiny_model(tmp_path / "4", version=4)
        (tmp_path / "4").rename(folder / "models" / "4")
        looks_on.wait_state(4, "AVAILABLE")
        assert list(flagged.states()) == [3]


def test_tags_that_the_model_does_not_have(folder: Path, capfd: Any) -> None:
    flags = Flags(str(folder / "models"), port=free_port(), max_num_load_retries=0, saved_model_tags="serve,gpu")
    assert serve(flags, [], threading.Event()) == 1
    message = "failed to start: NOT_FOUND: Could not find meta graph def matching supplied tags: { serve gpu }"
    assert message in capfd.readouterr().err


def test_a_warm_up_request_is_run_as_often_as_the_flag_says(tmp_path: Path) -> None:
    class Counter(tf.Module):
        def __init__(self) -> None:
            self.runs = tf.Variable(0)

        @tf.function(input_signature=[tf.TensorSpec([None], tf.float32, "x")])
        def run(self, x: tf.Tensor) -> dict[str, tf.Tensor]:
            return {"runs": tf.fill(tf.shape(x), self.runs.assign_add(1))}

    counter = Counter()
    tf.saved_model.save(counter, str(tmp_path / "models" / "1"), signatures=counter.run)
    write_warm_up(tmp_path / "models" / "1", warm_up_record("serving_default", x=[5.0]))
    with running(tmp_path / "models", tmp_path / "log", "--num_request_iterations_for_warmup=3") as started:
        started.wait_ready()
        assert started.predict({"instances": [5.0]}) == (200, {"predictions": [4]})


def test_a_base_path_that_is_looked_at_once(tmp_path: Path) -> None:
    (tmp_path / "1").mkdir()
    model = ModelVersions("once", load, Retries(0))
    BasePathPoller(model, str(tmp_path), latest(), interval_s=0).start()  # type: ignore[arg-type]
    assert [state.number for state in model.states()] == [1]
    assert "poller of once" not in [thread.name for thread in threading.enumerate()]
    model.close()


def test_the_version_of_the_server(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"Fovea model server, TensorFlow {tf.__version__}\n"


def test_statuses_over_http() -> None:
    expected = {
        "OK": 200, "INVALID_ARGUMENT": 400, "FAILED_PRECONDITION": 400, "OUT_OF_RANGE": 400, "UNAUTHENTICATED": 401,
        "PERMISSION_DENIED": 403, "NOT_FOUND": 404, "ABORTED": 409, "ALREADY_EXISTS": 409, "RESOURCE_EXHAUSTED": 429,
        "CANCELLED": 499, "UNIMPLEMENTED": 501, "UNAVAILABLE": 503, "DEADLINE_EXCEEDED": 504, "UNKNOWN": 500,
        "INTERNAL": 500, "DATA_LOSS": 500,
    }  # fmt: skip
    assert {status.name: http_status(status) for status in Status} == expected
