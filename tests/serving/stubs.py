"""TensorFlow Serving's own stubs for a running server: what answers, or with which status and text it is refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import grpc
from google.protobuf import text_format
from tensorflow_serving.apis import (
    get_model_metadata_pb2,
    get_model_status_pb2,
    model_management_pb2,
    model_service_pb2_grpc,
    predict_pb2,
    prediction_service_pb2_grpc,
)
from tensorflow_serving.config import model_server_config_pb2

from tests.serving.tiny_server import Server

Refusal = tuple[str, str]


def config_of(models: Path, **texts: str) -> Any:
    """one="version_labels {...}" -> the configuration of that model."""
    config = model_server_config_pb2.ModelServerConfig()
    config.model_config_list.SetInParent()
    for name, text in texts.items():
        base_path = "" if "base_path" in text else f'base_path: "{models / name}"'
        platform = "" if "model_platform" in text else 'model_platform: "tensorflow"'
        text_format.Parse(f'name: "{name}" {base_path} {platform} {text}', config.model_config_list.config.add())
    return config


class Served:
    """A running server, with TensorFlow Serving's stubs."""

    def __init__(self, server: Server, models: Path) -> None:
        self.server = server
        self.models = models
        self.channel = grpc.insecure_channel(server.grpc_address)
        self._prediction = prediction_service_pb2_grpc.PredictionServiceStub(self.channel)
        self._model = model_service_pb2_grpc.ModelServiceStub(self.channel)

    def predict(self, name: str, **choice: Any) -> int | Refusal:
        """The version that answers."""
        request = predict_pb2.PredictRequest()
        _fill(request.model_spec, name, **choice)
        request.model_spec.signature_name = "half"
        request.inputs["x"].dtype = 1
        request.inputs["x"].tensor_shape.dim.add(size=1)
        answer = _answer(self._prediction.Predict, request)
        return answer if isinstance(answer, tuple) else int(answer.model_spec.version.value)

    def metadata(self, name: str, **choice: Any) -> int | Refusal:
        request = get_model_metadata_pb2.GetModelMetadataRequest(metadata_field=["signature_def"])
        _fill(request.model_spec, name, **choice)
        answer = _answer(self._prediction.GetModelMetadata, request)
        return answer if isinstance(answer, tuple) else int(answer.model_spec.version.value)

    def states(self, name: str, **choice: Any) -> dict[int, str] | Refusal:
        request = get_model_status_pb2.GetModelStatusRequest()
        _fill(request.model_spec, name, **choice)
        answer = _answer(self._model.GetModelStatus, request)
        if isinstance(answer, tuple):
            return answer
        names = get_model_status_pb2.ModelVersionStatus.State
        return {status.version: names.Name(status.state) for status in answer.model_version_status}

    def reload(self, config: Any = None, timeout_s: float = 60.0, **texts: str) -> Refusal | None:
        """Ask for a new list; None if it is there."""
        request = model_management_pb2.ReloadConfigRequest(
            config=config_of(self.models, **texts) if config is None else config
        )
        answer = _answer(self._model.HandleReloadConfigRequest, request, timeout_s)
        if isinstance(answer, tuple):
            return answer
        assert answer.HasField("status")
        assert (answer.status.error_code, answer.status.error_message) == (0, "")
        return None

    def get(self, path: str) -> tuple[int, Any]:
        status, content = self.server.http("GET", path)
        return status, json.loads(content)


def _fill(spec: Any, name: str, version: int | None = None, label: str = "") -> None:
    spec.name = name
    if version is not None:
        spec.version.value = version
    if label:
        spec.version_label = label


def _answer(method: Any, request: Any, timeout_s: float = 30.0) -> Any:
    try:
        return method(request, timeout=timeout_s)
    except grpc.RpcError as error:
        return error.code().name, error.details()
