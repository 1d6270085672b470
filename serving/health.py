"""grpc.health.v1, for orchestrators that ask whether a server serves: `Check` and `Watch` of the service ""."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any

import grpc

from serving import wire

SERVING, NOT_SERVING = 1, 2
_CLASSES = wire.message_classes(
    "fovea.health",
    {"HealthCheckRequest": [(1, "string", "service")], "HealthCheckResponse": [(1, "int32", "status")]},
)
Request, Response = _CLASSES["HealthCheckRequest"], _CLASSES["HealthCheckResponse"]


class Health:
    """Serving until `stop`. The messages are those of grpc/health/v1/health.proto on the wire."""

    def __init__(self) -> None:
        self._stopped = threading.Event()

    def stop(self) -> None:
        """From now on: not serving."""
        self._stopped.set()

    def handler(self) -> grpc.GenericRpcHandler:
        """The service, to be added to a server."""
        coding = {
            "request_deserializer": Request.FromString,
            "response_serializer": lambda message: message.SerializeToString(),
        }
        return grpc.method_handlers_generic_handler(
            "grpc.health.v1.Health",
            {
                "Check": grpc.unary_unary_rpc_method_handler(self._check, **coding),
                "Watch": grpc.unary_stream_rpc_method_handler(self._watch, **coding),
            },
        )

    def _check(self, request: Any, context: grpc.ServicerContext) -> Any:
        if request.service:
            context.abort(grpc.StatusCode.NOT_FOUND, "")
        return Response(status=NOT_SERVING if self._stopped.is_set() else SERVING)

    def _watch(self, request: Any, context: grpc.ServicerContext) -> Iterator[Any]:
        if request.service:
            context.abort(grpc.StatusCode.NOT_FOUND, "")
        yield Response(status=NOT_SERVING if self._stopped.is_set() else SERVING)
        while context.is_active() and not self._stopped.wait(0.2):
            pass
        if context.is_active():
            yield Response(status=NOT_SERVING)
