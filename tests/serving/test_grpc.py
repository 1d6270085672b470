"""The gRPC API of a running server, by TensorFlow Serving's own stubs, held against the contract."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest
import tensorflow as tf
from tensorflow.core.framework import tensor_pb2
from tensorflow_serving.apis import (
    get_model_metadata_pb2,
    get_model_status_pb2,
    model_service_pb2_grpc,
    predict_pb2,
    prediction_service_pb2_grpc,
)

from tests.serving.tiny_server import Gate, Server

FLOAT, STRING = 1, 7


@pytest.fixture(scope="module")
def channel(server: Server) -> Iterator[grpc.Channel]:
    options = [("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1)]
    with grpc.insecure_channel(server.grpc_address, options=options) as opened:
        yield opened


@pytest.fixture(scope="module")
def stub(channel: grpc.Channel) -> Any:
    return prediction_service_pb2_grpc.PredictionServiceStub(channel)


def request(signature: str = "", outputs: tuple[str, ...] = (), **inputs: Any) -> predict_pb2.PredictRequest:
    message = predict_pb2.PredictRequest(output_filter=outputs)
    message.model_spec.name = "tiny"
    message.model_spec.signature_name = signature
    for name, value in inputs.items():
        message.inputs[name].CopyFrom(value if isinstance(value, tensor_pb2.TensorProto) else proto(value))
    return message


def proto(value: Any) -> Any:
    return tf.make_tensor_proto(np.float32(value) if isinstance(value, float) else value)


def refusal(call: Any, message: Any) -> tuple[str, str]:
    with pytest.raises(grpc.RpcError) as caught:
        call(message, timeout=30)
    return caught.value.code().name, caught.value.details()


def test_predict(stub: Any) -> None:
    response = stub.Predict(request(text=["one", "seven"]), timeout=30)
    assert tf.make_ndarray(response.outputs["text"]).tolist() == [b"eins", b"?"]
    np.testing.assert_array_equal(tf.make_ndarray(response.outputs["score"]), np.float32([3 / 4, 5 / 4]))
    assert set(response.outputs) == {"text", "score", "version"}
    assert response.model_spec.name == "tiny"
    assert response.model_spec.signature_name == "serving_default"
    assert response.model_spec.version.value >= 1


def test_floats_come_in_float_val(stub: Any) -> None:
    output = stub.Predict(request("half", x=tf.make_tensor_proto(np.float32([3, 5]))), timeout=30).outputs["y"]
    assert (list(output.float_val), output.tensor_content, output.dtype) == ([1.5, 2.5], b"", FLOAT)


def test_output_filter(stub: Any) -> None:
    response = stub.Predict(request("", ("score",), text=["one"]), timeout=30)
    assert list(response.outputs) == ["score"]


def test_no_check_of_the_shape_against_the_signature(stub: Any) -> None:
    response = stub.Predict(request("half", x=tf.make_tensor_proto(np.float32([[2, 4], [6, 8]]))), timeout=30)
    assert tf.make_ndarray(response.outputs["y"]).tolist() == [[1, 2], [3, 4]]


def test_messages_larger_than_grpcs_default(stub: Any) -> None:
    text = b"x" * (5 * 2**20)
    response = stub.Predict(request("echo", raw=[text]), timeout=30)
    assert response.outputs["raw_bytes"].string_val[0] == text


def spec_of(message: Any, **fields: Any) -> Any:
    for name, value in fields.items():
        if name == "version":
            message.model_spec.version.value = value
        else:
            setattr(message.model_spec, name, value)
    return message


def bad_proto() -> Any:
    return tensor_pb2.TensorProto(dtype=FLOAT, tensor_content=b"abc", tensor_shape={"dim": [{"size": 1}]})


@pytest.mark.parametrize(
    ("make", "code", "details"),
    [
        (
            lambda: spec_of(request(text=["a"]), name="other"),
            "NOT_FOUND",
            "Servable not found for request: Latest(other)",
        ),
        (
            lambda: spec_of(request(text=["a"]), version=997),
            "NOT_FOUND",
            "Servable not found for request: Specific(tiny, 997)",
        ),
        (
            lambda: spec_of(request(text=["a"]), version_label="stable"),
            "INVALID_ARGUMENT",
            "Unrecognized servable version label: stable",
        ),
        (predict_pb2.PredictRequest, "INVALID_ARGUMENT", "Missing ModelSpec"),
        (lambda: spec_of(request(text=["a"]), name=""), "INVALID_ARGUMENT", "ModelSpec has no name specified."),
        (lambda: request("s", text=["a"]), "FAILED_PRECONDITION", 'Serving signature key "s" not found.'),
        (
            lambda: request("half"),
            "INVALID_ARGUMENT",
            "input size does not match signature: 0!=1 len({}) != len({x}). Sent extra: {}. Missing but required: {x}.",
        ),
        (
            lambda: request("half", x=1.0, z=1.0),
            "INVALID_ARGUMENT",
            "input size does not match signature: 2!=1 len({x,z}) != len({x}). Sent extra: {z}."
            " Missing but required: {}.",
        ),
        (
            lambda: request("half", z=1.0),
            "INVALID_ARGUMENT",
            "Signature input alias: x(feed name: half_x:0) not found in request and no default value provided. Inputs"
            " expected to be in the request {z}, or default input alias set: ",
        ),
        (
            lambda: request("half", x=tf.make_tensor_proto(np.int64([1]))),
            "INVALID_ARGUMENT",
            "Expects arg[0] to be float but int64 is provided",
        ),
        (lambda: request("half", x=["a"]), "INVALID_ARGUMENT", "Expects arg[0] to be float but string is provided"),
        (lambda: request("half", x=bad_proto()), "INVALID_ARGUMENT", "tensor parsing error: x"),
        (
            lambda: request("half", ("z",), x=1.0),
            "INVALID_ARGUMENT",
            "output tensor alias not found in signature: z Outputs expected to be in the set {y}.",
        ),
        (lambda: request("half", ("y", "y"), x=1.0), "INVALID_ARGUMENT", "duplicate output tensor alias: y"),
    ],
)
def test_predict_refuses(stub: Any, make: Any, code: str, details: str) -> None:
    assert refusal(stub.Predict, make()) == (code, details)


def test_an_ops_own_error_comes_as_it_is(stub: Any) -> None:
    code, details = refusal(stub.Predict, request("pick", index=[7]))
    assert code == "INVALID_ARGUMENT"
    assert details.startswith("indices[0] = 7 is not in [0, 3)\n\t [[{{")


def test_long_messages_are_cut(stub: Any) -> None:
    _, details = refusal(stub.Predict, request("s" * 2000, text=["a"]))
    assert details == ('Serving signature key "' + "s" * 2000)[:1024] + "...TRUNCATED"
    # 1,024 bytes, of which the last two are a part of one more.
    cut = 'Serving signature key "' + "☃" * 333 + "...TRUNCATED"
    assert refusal(stub.Predict, request("☃" * 2000, text=["a"])) == ("FAILED_PRECONDITION", cut)


def test_the_deadline_ends_a_call(stub: Any, tmp_path: Path) -> None:
    gate = Gate(tmp_path / "gate")
    with pytest.raises(grpc.RpcError) as caught:
        stub.Predict(request("wait", path=gate.path), timeout=0.3)
    gate.open()
    assert caught.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED


def test_the_rest_is_unimplemented(channel: grpc.Channel) -> None:
    session_run = channel.unary_unary("/tensorflow.serving.SessionService/SessionRun")
    assert refusal(session_run, b"")[0] == "UNIMPLEMENTED"


def test_metadata(stub: Any) -> None:
    message = get_model_metadata_pb2.GetModelMetadataRequest(metadata_field=["signature_def"])
    message.model_spec.name = "tiny"
    response = stub.GetModelMetadata(message, timeout=30)
    signatures = get_model_metadata_pb2.SignatureDefMap()
    assert response.metadata["signature_def"].Unpack(signatures)
    signature = signatures.signature_def["serving_default"]
    assert {name: info.dtype for name, info in signature.inputs.items()} == {"text": STRING}
    assert (response.model_spec.name, response.model_spec.version.value >= 1) == ("tiny", True)


@pytest.mark.parametrize(
    ("fields", "name", "code", "details"),
    [
        ([], "tiny", "INVALID_ARGUMENT", "GetModelMetadataRequest must specify at least one metadata_field"),
        (["signature_def"], "other", "NOT_FOUND", "Servable not found for request: Latest(other)"),
        (["signature_def"], "", "INVALID_ARGUMENT", "Missing ModelSpec"),
        (["signature_def", "x"], "tiny", "INVALID_ARGUMENT", "Metadata field %s is not supportedx"),
    ],
)
def test_metadata_refuses(stub: Any, fields: list[str], name: str, code: str, details: str) -> None:
    message = get_model_metadata_pb2.GetModelMetadataRequest(metadata_field=fields)
    if name:
        message.model_spec.name = name
    assert refusal(stub.GetModelMetadata, message) == (code, details)


def test_status(channel: grpc.Channel) -> None:
    models = model_service_pb2_grpc.ModelServiceStub(channel)
    message = get_model_status_pb2.GetModelStatusRequest()
    assert refusal(models.GetModelStatus, message) == ("INVALID_ARGUMENT", "Missing ModelSpec")
    message.model_spec.name = "tiny"
    states = models.GetModelStatus(message, timeout=30).model_version_status
    assert [state.version for state in states] == sorted((state.version for state in states), reverse=True)
    assert get_model_status_pb2.ModelVersionStatus.AVAILABLE in [state.state for state in states]
    message.model_spec.version.value = 991
    assert refusal(models.GetModelStatus, message) == ("NOT_FOUND", "Could not find version 991 of model tiny")
    message = get_model_status_pb2.GetModelStatusRequest()
    message.model_spec.name = "other"
    assert refusal(models.GetModelStatus, message) == ("NOT_FOUND", "Could not find any versions of model other")
