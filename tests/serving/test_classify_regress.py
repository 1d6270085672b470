"""Classify, Regress and MultiInference of a running server, over gRPC, held against the contract."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.protobuf import text_format
from tensorflow.core.example import example_pb2
from tensorflow_serving.apis import (
    classification_pb2,
    inference_pb2,
    input_pb2,
    predict_pb2,
    prediction_service_pb2_grpc,
    regression_pb2,
)

from tests.serving.example_model import CLASSIFY, PREDICT, REGRESS, export_example_model
from tests.serving.stubs import config_of
from tests.serving.test_monitoring import value as counted
from tests.serving.tiny_server import Server, running


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("examples")
    export_example_model(folder / "tiny" / "5")
    return folder


@pytest.fixture(scope="module")
def example_server(model: Path) -> Iterator[Server]:
    config = config_of(model, tiny='version_labels { key: "stable" value: 5 }')
    (model / "config").write_text(text_format.MessageToString(config))
    (model / "monitoring").write_text("prometheus_config { enable: true }")
    flags = f"--model_config_file={model}/config", f"--monitoring_config_file={model}/monitoring"
    with running(model / "tiny", model / "log", *flags) as started:
        started.wait_ready()
        yield started


@pytest.fixture(scope="module")
def stub(example_server: Server) -> Iterator[Any]:
    with grpc.insecure_channel(example_server.grpc_address) as channel:
        yield prediction_service_pb2_grpc.PredictionServiceStub(channel)


def example(**features: float | bytes) -> example_pb2.Example:
    message = example_pb2.Example()
    for name, value in features.items():
        feature = message.features.feature[name]
        (feature.bytes_list if isinstance(value, bytes) else feature.float_list).value.append(value)
    return message


def examples(*xs: float) -> input_pb2.Input:
    return input_pb2.Input(example_list=input_pb2.ExampleList(examples=[example(x=x) for x in xs]))


def classification(signature: str, *xs: float) -> classification_pb2.ClassificationRequest:
    return fill(classification_pb2.ClassificationRequest(input=examples(*xs)), signature)


def regression(signature: str, *xs: float) -> regression_pb2.RegressionRequest:
    return fill(regression_pb2.RegressionRequest(input=examples(*xs)), signature)


def fill(message: Any, signature: str, name: str = "tiny") -> Any:
    message.model_spec.name, message.model_spec.signature_name = name, signature
    return message


def tasks(*pairs: tuple[str, str], xs: tuple[float, ...] = (2,)) -> inference_pb2.MultiInferenceRequest:
    message = inference_pb2.MultiInferenceRequest(input=examples(*xs))
    for signature, method in pairs:
        fill(message.tasks.add(method_name=method), signature)
    return message


def refusal(call: Any, message: Any) -> tuple[str, str]:
    with pytest.raises(grpc.RpcError) as caught:
        call(message, timeout=30)
    return caught.value.code().name, caught.value.details()


def classes(result: classification_pb2.ClassificationResult) -> list[list[tuple[str, float]]]:
    return [[(each.label, each.score) for each in row.classes] for row in result.classifications]


def values(result: regression_pb2.RegressionResult) -> list[float]:
    return [each.value for each in result.regressions]


def spec_of(response: Any) -> tuple[str, str, int]:
    spec = response.model_spec
    return spec.name, spec.signature_name, spec.version.value


def test_classify(stub: Any) -> None:
    response = stub.Classify(classification("classify", 1, 0.25), timeout=30)
    assert classes(response.result) == [[("low", -1), ("high", 1)], [("low", -0.25), ("high", 0.25)]]
    assert spec_of(response) == ("tiny", "classify", 5)


def test_classify_with_scores_or_labels_alone(stub: Any) -> None:
    assert classes(stub.Classify(classification("scores", 1), timeout=30).result) == [[("", -1), ("", 1)]]
    request = fill(classification_pb2.ClassificationRequest(), "classes")
    request.input.example_list.examples.extend([example(word="größe".encode()), example(word=b"\xff")])
    assert classes(stub.Classify(request, timeout=30).result) == [[("größe", 0)], [("\N{REPLACEMENT CHARACTER}", 0)]]


def test_regress(stub: Any) -> None:
    response = stub.Regress(regression("regress", 1, 0.5), timeout=30)
    assert (values(response.result), spec_of(response)) == ([3.5, 3.25], ("tiny", "regress", 5))


def test_the_default_signature_is_named_in_the_response(stub: Any) -> None:
    request = regression("", 1)
    request.model_spec.version.value = 5
    response = stub.Regress(request, timeout=30)
    assert (values(response.result), spec_of(response)) == ([2.5], ("tiny", "serving_default", 5))


def test_a_context_goes_into_every_example_and_the_examples_own_features_win(stub: Any) -> None:
    request = fill(regression_pb2.RegressionRequest(), "regress")
    listed = request.input.example_list_with_context
    listed.context.CopyFrom(example(x=4.0, n=1.0))
    listed.examples.extend([example(), example(x=2.0), example(n=7.0)])
    assert values(stub.Regress(request, timeout=30).result) == [5, 4, 5]


def test_multi_inference(stub: Any) -> None:
    request = tasks(("", REGRESS), ("classify", CLASSIFY), ("regress", REGRESS), xs=(2, 0))
    response = stub.MultiInference(request, timeout=30)
    assert [result.WhichOneof("result") for result in response.results] == [
        "regression_result",
        "classification_result",
        "regression_result",
    ]
    assert [spec_of(result) for result in response.results] == [
        ("tiny", "serving_default", 5),
        ("tiny", "classify", 5),
        ("tiny", "regress", 5),
    ]
    assert values(response.results[0].regression_result) == [3, 2]
    assert classes(response.results[1].classification_result)[0] == [("low", -2), ("high", 2)]
    assert values(response.results[2].regression_result) == [4, 3]


def test_multi_inference_feeds_each_signature_by_its_own_input(stub: Any) -> None:
    response = stub.MultiInference(tasks(("regress", REGRESS), ("regress_y", REGRESS)), timeout=30)
    assert [values(result.regression_result) for result in response.results] == [[4], [3]]


def labelled(request: Any, label: str) -> Any:
    for spec in [request.model_spec] if hasattr(request, "model_spec") else [task.model_spec for task in request.tasks]:
        spec.version_label = label
    return request


def test_a_version_by_its_label(stub: Any) -> None:
    for call, request in (
        (stub.Classify, classification("classify", 1)),
        (stub.Regress, regression("regress", 1)),
        (stub.MultiInference, tasks(("regress", REGRESS))),
    ):
        response = call(labelled(request, "stable"), timeout=30)
        (spec,) = {spec_of(result) for result in getattr(response, "results", [response])}
        assert spec[2] == 5
        unrecognized = "INVALID_ARGUMENT", "Unrecognized servable version label: Stable"
        assert refusal(call, labelled(request, "Stable")) == unrecognized


def test_what_is_asked_is_counted_by_its_signatures(stub: Any, example_server: Server) -> None:
    stub.Classify(classification("scores", 1), timeout=30)
    stub.MultiInference(tasks(("regress", REGRESS), ("classify", CLASSIFY)), timeout=30)
    text = example_server.http("GET", "/monitoring/prometheus/metrics")[1].decode()
    for method, signature in (("Classify", "scores"), ("MultiInference", "classify,regress")):
        labels = {"model": "tiny", "version": "5", "method": method, "signature": signature, "status": "OK"}
        assert counted(text, "fovea_request_seconds_count", **labels) >= 1


def test_method_names_do_not_matter_by_default(stub: Any) -> None:
    assert classes(stub.Classify(classification("as_predict", 1), timeout=30).result) == [[("", -1), ("", 1)]]
    assert values(stub.Regress(regression("nameless", 1), timeout=30).result) == [3.5]


@pytest.mark.parametrize(
    ("signature", "message"),
    [
        ("s", "No signature was found with the name: s"),
        ("two_inputs", "Expected one input Tensor."),
        ("three_outputs", "Expected one or two output Tensors, found 3"),
        ("flat_scores", "Expected Tensor shape: [batch_size num_classes] but got [2]"),
        ("flat_classes", "Expected Tensor shape: [batch_size num_classes] but got [2]"),
        ("integer_scores", "Expected scores Tensor of DT_FLOAT. Got: DT_INT64"),
        ("number_classes", "Expected classes Tensor of DT_STRING. Got: DT_FLOAT"),
        ("too_many_classes", "Expected classes output batch size of 2. Got: 4"),
        ("too_many_scores", "Expected scores output batch size of 2. Got: 4"),
        ("unlike", "Tensors class and score should match in dim_size(1). Got 2 vs. 1"),
    ],
)
def test_classify_refuses(stub: Any, signature: str, message: str) -> None:
    assert refusal(stub.Classify, classification(signature, 1, 2)) == ("INVALID_ARGUMENT", message)


@pytest.mark.parametrize(
    ("signature", "message"),
    [
        ("s", "No signature was found with the name: s"),
        ("two_inputs", "Expected one input Tensor."),
        ("two_values", "Expected one output Tensor."),
        (
            "wide_value",
            "Expected output Tensor shape to be either [batch_size] or [batch_size, 1] but got [2,2]",
        ),
        ("scalar_value", "Expected output Tensor shape to be either [batch_size] or [batch_size, 1] but got []"),
        ("too_many_values", "Input batch size did not match output batch size: 2 vs. 4"),
        ("string_value", "Expected output Tensor of DT_FLOAT.  Got: DT_STRING"),
        ("float_input", "Expects arg[0] to be float but string is provided"),
    ],
)
def test_regress_refuses(stub: Any, signature: str, message: str) -> None:
    assert refusal(stub.Regress, regression(signature, 1, 2)) == ("INVALID_ARGUMENT", message)


@pytest.mark.parametrize(
    ("method", "signature", "message"),
    [
        (
            "Classify",
            "no_outputs",
            'Expected classification signature outputs to contain at least one of "classes" or "scores". Signature was:'
            ' inputs {\n  key: "inputs"\n  value {\n    name: "examples:0"\n    dtype: DT_STRING\n',
        ),
        ("Classify", "other_input", 'No classification inputs found in SignatureDef: inputs {\n  key: "text"\n'),
        ("Regress", "other_input_value", 'No regression inputs found in SignatureDef: inputs {\n  key: "text"\n'),
        ("Regress", "other_value", 'No regression outputs found in SignatureDef: inputs {\n  key: "inputs"\n'),
    ],
)
def test_a_signature_of_another_kind_is_shown(stub: Any, method: str, signature: str, message: str) -> None:
    request = classification(signature, 1) if method == "Classify" else regression(signature, 1)
    code, details = refusal(getattr(stub, method), request)
    assert code == "INVALID_ARGUMENT"
    assert details.startswith(message)


@pytest.mark.parametrize(
    "request_input",
    [
        input_pb2.Input(),
        input_pb2.Input(example_list=input_pb2.ExampleList()),
        input_pb2.Input(example_list_with_context=input_pb2.ExampleListWithContext(context=example(x=1.0))),
    ],
)
def test_no_examples(stub: Any, request_input: input_pb2.Input) -> None:
    empty = ("INVALID_ARGUMENT", "Input is empty.")
    request = fill(classification_pb2.ClassificationRequest(input=request_input), "classify")
    assert refusal(stub.Classify, request) == empty
    assert refusal(stub.Regress, fill(regression_pb2.RegressionRequest(input=request_input), "regress")) == empty
    several = tasks(("regress", REGRESS))
    several.input.CopyFrom(request_input)
    assert refusal(stub.MultiInference, several) == empty


def test_a_graphs_own_error_comes_as_it_is(stub: Any) -> None:
    request = fill(regression_pb2.RegressionRequest(), "regress")
    request.input.example_list.examples.extend([example(x=b"one")])
    code, details = refusal(stub.Regress, request)
    assert code == "INVALID_ARGUMENT"
    assert "Key: x, Index: 0.  Data types don't match. Data type: string but expected type: float" in details


@pytest.mark.parametrize(
    ("name", "version", "code", "message"),
    [
        ("other", None, "NOT_FOUND", "Servable not found for request: Latest(other)"),
        ("tiny", 7, "NOT_FOUND", "Servable not found for request: Specific(tiny, 7)"),
        ("", None, "INVALID_ARGUMENT", "ModelSpec has no name specified."),
    ],
)
def test_a_model_that_is_not_there(stub: Any, name: str, version: int | None, code: str, message: str) -> None:
    for call, request in ((stub.Classify, classification("", 1)), (stub.Regress, regression("", 1))):
        request.model_spec.name = name
        if version:
            request.model_spec.version.value = version
        assert refusal(call, request) == (code, message)


def test_no_model_spec(stub: Any) -> None:
    missing = ("INVALID_ARGUMENT", "Missing ModelSpec")
    assert refusal(stub.Classify, classification_pb2.ClassificationRequest(input=examples(1))) == missing
    assert refusal(stub.Regress, regression_pb2.RegressionRequest(input=examples(1))) == missing
    nameless = ("INVALID_ARGUMENT", "ModelSpec has no name specified.")
    assert refusal(stub.MultiInference, inference_pb2.MultiInferenceRequest(input=examples(1))) == nameless


def renamed(request: inference_pb2.MultiInferenceRequest, name: str) -> inference_pb2.MultiInferenceRequest:
    request.tasks[-1].model_spec.name = name
    return request


@pytest.mark.parametrize(
    ("request_", "code", "message"),
    [
        (tasks(("s", REGRESS)), "INVALID_ARGUMENT", "Requested signature not found in model graph: s"),
        (
            tasks(("regress", REGRESS), ("regress", CLASSIFY)),
            "INVALID_ARGUMENT",
            "Duplicate evaluation of signature: regress",
        ),
        (
            tasks(("", REGRESS), ("serving_default", REGRESS)),
            "INVALID_ARGUMENT",
            "Duplicate evaluation of signature: serving_default",
        ),
        (tasks(("regress", PREDICT)), "UNIMPLEMENTED", f"Unsupported signature method_name: {PREDICT}"),
        (
            renamed(tasks(("regress", REGRESS), ("classify", CLASSIFY)), "other"),
            "INVALID_ARGUMENT",
            "All ModelSpecs in a MultiInferenceRequest must access the same model name.",
        ),
        (
            renamed(tasks(("regress", REGRESS), ("classify", CLASSIFY)), ""),
            "INVALID_ARGUMENT",
            "Found ModelSpec with an empty model name.",
        ),
        (renamed(tasks(("regress", REGRESS)), "m"), "NOT_FOUND", "Servable not found for request: Latest(m)"),
        (tasks(("regress", REGRESS), ("two_values", REGRESS)), "INVALID_ARGUMENT", "Expected one output Tensor."),
    ],
)
def test_multi_inference_refuses(
    stub: Any, request_: inference_pb2.MultiInferenceRequest, code: str, message: str
) -> None:
    assert refusal(stub.MultiInference, request_) == (code, message)


def test_method_names_are_checked_if_asked(model: Path) -> None:
    with running(model / "tiny", model / "checked", "--enable_signature_method_name_check") as server:
        server.wait_ready()
        with grpc.insecure_channel(server.grpc_address) as channel:
            stub = prediction_service_pb2_grpc.PredictionServiceStub(channel)
            assert values(stub.Regress(regression("regress", 1), timeout=30).result) == [3.5]
            message = f"Expected classification signature method_name to be {CLASSIFY}. Was: {PREDICT}"
            assert refusal(stub.Classify, classification("as_predict", 1)) == ("INVALID_ARGUMENT", message)
            message = f"Expected regression signature method_name to be {REGRESS}. Was: {CLASSIFY}"
            assert refusal(stub.Regress, regression("three_outputs", 1)) == ("INVALID_ARGUMENT", message)
            assert refusal(stub.MultiInference, tasks(("classify", REGRESS))) == ("INVALID_ARGUMENT", message)
            message = (
                f"Expected prediction signature method_name to be one of {{{PREDICT}, {CLASSIFY}, {REGRESS}}}. Was: "
            )
            assert refusal(stub.Predict, fill(predict_pb2.PredictRequest(), "nameless")) == ("INTERNAL", message)
