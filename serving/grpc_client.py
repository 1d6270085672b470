"""Predict over gRPC."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import grpc
import numpy as np

from serving import wire
from serving.connection import BYTES_SUFFIX, Client, Tls
from serving.errors import ServingError, Status
from serving.tensors import object_array, read_tensor, write_tensor

MAX_MESSAGE_BYTES = 2**31 - 1
PREDICT = "/tensorflow.serving.PredictionService/Predict"


class GrpcClient(Client):
    """A client of `host:port`, or of `unix:path`; threads may share it."""

    def __init__(
        self, address: str, model: str, version: int | None, timeout_s: float, retry: bool, tls: Tls | None
    ) -> None:
        super().__init__(timeout_s, retry)
        self._model = model
        self._version = version
        options = [
            ("grpc.max_receive_message_length", MAX_MESSAGE_BYTES),
            ("grpc.max_send_message_length", MAX_MESSAGE_BYTES),
            (
                "grpc.initial_reconnect_backoff_ms",
                100,
            ),  # gRPC's own waits up to two minutes for a server that went away
            ("grpc.max_reconnect_backoff_ms", 1000),
        ]
        if tls is None:
            self._channel = grpc.insecure_channel(address, options=options)
        else:
            credentials = grpc.ssl_channel_credentials(tls.authorities, tls.key, tls.certificate)
            self._channel = grpc.secure_channel(address, credentials, options=options)
        self._call = self._channel.unary_unary(
            PREDICT,
            request_serializer=wire.PredictRequest.SerializeToString,
            response_deserializer=wire.PredictResponse.FromString,
        )

    def _predict(self, signature: str, inputs: Mapping[str, Any], timeout_s: float) -> dict[str, Any]:
        request = wire.PredictRequest()
        request.model_spec.name = self._model
        request.model_spec.signature_name = signature
        if self._version is not None:
            request.model_spec.version.value = self._version
        for name, values in inputs.items():
            write_tensor(_to_array(values), request.inputs[name])
        try:
            response = self._call(request, timeout=timeout_s)
        except grpc.RpcError as error:
            raise ServingError(Status[error.code().name], error.details() or "") from error
        return {name: _to_python(name, read_tensor(tensor)) for name, tensor in response.outputs.items()}

    def close(self) -> None:
        """Close the channel."""
        self._channel.close()


def _to_array(values: Any) -> np.ndarray[Any, Any]:
    """["a"] -> [b"a"] of objects, [0.5] -> float32, [1] -> int64; an array of numbers stays as it is."""
    array = np.array(values, dtype=object) if _holds_text(values) else np.asarray(values)
    if array.dtype.kind in "OSU":
        flat = [item.encode() if isinstance(item, str) else item for item in array.ravel().tolist()]
        return object_array(flat, array.shape)
    if array.dtype == np.float64 and not isinstance(values, np.ndarray):
        return array.astype(np.float32)
    return array


def _holds_text(values: Any) -> bool:
    while isinstance(values, list | tuple) and values:
        values = values[0]
    return isinstance(values, str | bytes)


def _to_python(name: str, array: np.ndarray[Any, Any]) -> Any:
    if array.dtype != object:
        return array
    if not name.endswith(BYTES_SUFFIX):
        array = object_array([item.decode("utf-8", "surrogateescape") for item in array.ravel()], array.shape)
    return array.tolist()
