"""Classify, Regress and MultiInference over gRPC: their messages, around `serving.inference`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tensorflow_serving.apis import classification_pb2, inference_pb2, model_pb2, regression_pb2

from serving.core import ServerCore
from serving.errors import ServingError, Status
from serving.inference import CLASSIFY, REGRESS, Classifications, Method, Regressions, infer
from serving.multi_inference import multi_infer
from serving.signatures import SERVING_DEFAULT

Call = Callable[[Any, int], Any]  # (request, timeout_ms) -> response


def inference_methods(core: ServerCore) -> dict[str, tuple[Call, Any]]:
    """The methods of PredictionService that take examples: name -> function, class of its request."""
    return {
        "Classify": (lambda request, ms: _classify(core, request, ms), classification_pb2.ClassificationRequest),
        "Regress": (lambda request, ms: _regress(core, request, ms), regression_pb2.RegressionRequest),
        "MultiInference": (lambda request, ms: _multi(core, request, ms), inference_pb2.MultiInferenceRequest),
    }


def _classify(
    core: ServerCore, request: classification_pb2.ClassificationRequest, timeout_ms: int
) -> classification_pb2.ClassificationResponse:
    result, spec = _infer(core, CLASSIFY, request, timeout_ms)
    return classification_pb2.ClassificationResponse(result=_classification_result(result), model_spec=spec)


def _regress(
    core: ServerCore, request: regression_pb2.RegressionRequest, timeout_ms: int
) -> regression_pb2.RegressionResponse:
    result, spec = _infer(core, REGRESS, request, timeout_ms)
    return regression_pb2.RegressionResponse(result=_regression_result(result), model_spec=spec)


def _infer(core: ServerCore, method: Method[Any], request: Any, timeout_ms: int) -> tuple[Any, model_pb2.ModelSpec]:
    if not request.HasField("model_spec"):
        raise ServingError(Status.INVALID_ARGUMENT, "Missing ModelSpec")
    spec = request.model_spec
    with core.handle(spec) as handle:
        result = infer(handle.servable, method, spec.signature_name, request.input, timeout_ms)
    return result, _answered(spec, handle.version)


def _multi(
    core: ServerCore, request: inference_pb2.MultiInferenceRequest, timeout_ms: int
) -> inference_pb2.MultiInferenceResponse:
    first = request.tasks[0].model_spec if request.tasks else model_pb2.ModelSpec()  # its version is that of all
    with core.handle(first) as handle:
        results = multi_infer(handle.servable, request.tasks, request.input, timeout_ms)
    response = inference_pb2.MultiInferenceResponse()
    for task, result in zip(request.tasks, results, strict=True):
        answer = response.results.add(model_spec=_answered(task.model_spec, handle.version))
        if task.method_name == CLASSIFY.name:
            answer.classification_result.CopyFrom(_classification_result(result))
        else:
            answer.regression_result.CopyFrom(_regression_result(result))
    return response


def _answered(spec: model_pb2.ModelSpec, version: int) -> model_pb2.ModelSpec:
    """The request's ModelSpec with the version and the signature that answered."""
    answered = model_pb2.ModelSpec(name=spec.name, signature_name=spec.signature_name or SERVING_DEFAULT)
    answered.version.value = version
    return answered


def _classification_result(results: Classifications) -> classification_pb2.ClassificationResult:
    message = classification_pb2.ClassificationResult()
    for row in results:
        classes = message.classifications.add().classes
        for label, score in row:  # a label that is not UTF-8 would be a message that no client can read
            classes.add(label=label.decode("utf-8", "replace"), score=score)
    return message


def _regression_result(results: Regressions) -> regression_pb2.RegressionResult:
    return regression_pb2.RegressionResult(regressions=[regression_pb2.Regression(value=value) for value in results])
