"""`:classify` and `:regress` of a running server over REST: a TF 1 model that has them, and Keras exports."""

from __future__ import annotations

import base64
import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import keras
import pytest
import tensorflow as tf
from google.protobuf import text_format
from tensorflow_serving.apis import prediction_log_pb2

from tests.serving.example_model import CLASSIFY, export_example_model
from tests.serving.stubs import config_of
from tests.serving.tiny_server import Server, running

PATH = "/v1/models/tiny"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("examples")
    export_example_model(folder / "tiny" / "1")
    config = config_of(folder, tiny='version_labels { key: "stable" value: 1 }')
    (folder / "config").write_text(text_format.MessageToString(config))
    with running(folder / "tiny", folder / "log", f"--model_config_file={folder}/config") as started:
        started.wait_ready()
        yield started


def post(server: Server, method: str, body: Any, path: str = PATH) -> tuple[int, Any]:
    status, content = server.http("POST", f"{path}:{method}", body)
    return status, json.loads(content)


def add(server: Server, number: int, export: Callable[[Path], None]) -> None:
    staging = server.base_path.parent / f"staging-{number}"
    export(staging)
    os.rename(staging, server.base_path / str(number))


def test_classify(server: Server) -> None:
    body = {"signature_name": "classify", "examples": [{"x": 1.0}, {"x": [0.25], "unused": "a"}, {}]}
    expected = [[["low", -1.0], ["high", 1.0]], [["low", -0.25], ["high", 0.25]], [["low", -0.0], ["high", 0.0]]]
    assert post(server, "classify", body) == (200, {"results": expected})
    for version in ("versions/1", "labels/stable", "Labels/st%61ble"):
        assert post(server, "classify", body, f"{PATH}/{version}") == (200, {"results": expected})


def test_the_scores_of_labels_alone_are_zero(server: Server) -> None:
    encoded = base64.b64encode("größe".encode()).decode()
    body = {"signature_name": "classes", "examples": [{"word": {"b64": encoded}}, {"word": "b"}]}
    assert post(server, "classify", body) == (200, {"results": [[["größe", 0.0]], [["b", 0.0]]]})


def test_regress(server: Server) -> None:
    for path in (PATH, f"{PATH}/labels/stable"):
        body = {"examples": [{"x": 1.0}, {"x": 0.5}]}
        assert post(server, "regress", body, path) == (200, {"results": [2.5, 2.25]})
    body = {"signature_name": "regress", "context": {"x": 4.0}, "examples": [{}, {"x": 2.0}]}
    assert server.http("POST", f"{PATH}:regress", body) == (200, b'{"results": [5.0, 4.0]}')


@pytest.mark.parametrize(
    ("path", "body", "status", "message"),
    [
        ("/v1/models/m:regress", {"examples": [{}]}, 404, "Servable not found for request: Latest(m)"),
        (f"{PATH}/versions/9:classify", {"examples": [{}]}, 404, "Servable not found for request: Specific(tiny, 9)"),
        (f"{PATH}/labels/a:regress", {"examples": [{}]}, 400, "Unrecognized servable version label: a"),
        ("/v1/models/m:regress", {}, 400, "When method is classify, key 'examples' is expected and was not found"),
        (f"{PATH}:classify", b"", 400, "JSON Parse error: The document is empty"),
        (f"{PATH}:classify", {"examples": []}, 400, "'examples' value is an empty array"),
        (f"{PATH}:classify", {"examples": [{}]}, 400, "Expected classification signature outputs to contain at least"),
        (
            f"{PATH}:classify",
            {"signature_name": "s", "examples": [{}]},
            400,
            "No signature was found with the name: s",
        ),
        (
            f"{PATH}:regress",
            {"examples": [{"x": 1}]},
            400,
            "Data types don't match. Data type: int64 but expected type",
        ),
        (f"{PATH}:regress", {"examples": [{"x": [1.0, 2.0]}]}, 400, "Number of float values != expected."),
        (
            f"{PATH}:regress",
            {"signature_name": "wide_value", "examples": [{}]},
            400,
            "Expected output Tensor shape to be either [batch_size] or [batch_size, 1] but got [1,2]",
        ),
    ],
)
def test_errors(server: Server, path: str, body: Any, status: int, message: str) -> None:
    answered, content = server.http("POST", path, body)
    assert answered == status
    assert message in json.loads(content)["error"]


def export_keras(path: Path) -> None:
    model = keras.Sequential([keras.Input([2]), keras.layers.Dense(1)])
    model.export(path, verbose=False)


def export_keras_of_examples(path: Path) -> None:
    """What a Keras model needs for these APIs: signatures that parse examples, with the names that they ask for."""
    model = keras.Sequential([keras.Input([1]), keras.layers.Dense(2, use_bias=False, kernel_initializer="ones")])
    archive = keras.export.ExportArchive()
    archive.track(model)

    def parsed(inputs: tf.Tensor) -> tf.Tensor:
        return tf.io.parse_example(inputs, {"x": tf.io.FixedLenFeature([1], tf.float32)})["x"]

    examples = [tf.TensorSpec([None], tf.string, "inputs")]
    archive.add_endpoint("classify", lambda inputs: {"scores": model(parsed(inputs))}, examples)
    archive.add_endpoint("serving_default", lambda inputs: {"outputs": model(parsed(inputs))[:, 0]}, examples)
    archive.write_out(path, verbose=False)


def test_a_keras_export_without_examples(server: Server) -> None:
    add(server, 2, export_keras)
    server.wait_state(2, "AVAILABLE")
    for method, message in (
        ("classify", "No classification inputs found in SignatureDef: inputs {"),
        ("regress", "No regression inputs found in SignatureDef: inputs {"),
    ):
        status, answer = post(server, method, {"examples": [{"x": 1.0}]})
        assert status == 400
        assert message in answer["error"]


def test_a_keras_export_that_takes_examples(server: Server) -> None:
    add(server, 3, export_keras_of_examples)
    server.wait_state(3, "AVAILABLE")
    body = {"signature_name": "classify", "examples": [{"x": 1.5}]}
    assert post(server, "classify", body) == (200, {"results": [[["", 1.5], ["", 1.5]]]})
    assert post(server, "regress", {"examples": [{"x": 1.5}, {"x": 2.5}]}) == (200, {"results": [1.5, 2.5]})


def warm_up_requests(*, classified: str) -> list[bytes]:
    classify, regress, several = (prediction_log_pb2.PredictionLog() for _ in range(3))
    classify.classify_log.request.model_spec.signature_name = classified
    several.multi_inference_log.request.tasks.add(method_name=CLASSIFY).model_spec.name = "tiny"
    several.multi_inference_log.request.tasks[0].model_spec.signature_name = "scores"
    for request in (classify.classify_log.request, regress.regress_log.request, several.multi_inference_log.request):
        request.input.example_list.examples.add()
    return [bytes(log.SerializeToString()) for log in (regress, several, classify)]


def test_warm_up_requests_are_replayed(server: Server) -> None:
    for number, classified, state in ((5, "classify", "AVAILABLE"), (6, "two_inputs", "END")):

        def export(path: Path, classified: str = classified) -> None:
            export_example_model(path)
            (path / "assets.extra").mkdir()
            with tf.io.TFRecordWriter(str(path / "assets.extra" / "tf_serving_warmup_requests")) as writer:
                for record in warm_up_requests(classified=classified):
                    writer.write(record)

        add(server, number, export)
        server.wait_state(number, state)
    assert server.states()[6]["status"]["error_message"] == "Expected one input Tensor."
