"""grpc.health.v1, for orchestrators that ask whether a server serves: `Check` and `Watch` of the service ""."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import grpc

from serving import wire

SERVING, NOT_SERVING, SERVICE_UNKNOWN = 1, 2, 3
_CLASSES = wire.message_classes(
    "fovea.health",
    {"HealthCheckRequest": [(1, "string", "service")], "HealthCheckResponse": [(1, "int32", "status")]},
)
Request, Response = _CLASSES["HealthCheckRequest"], _CLASSES["HealthCheckResponse"]

Send = Callable[[Any], None]


class Health:
    """Serving until `stop`. The messages are those of grpc/health/v1/health.proto on the wire."""

    def __init__(self) -> None:
        self._watch = _Watch()

    def stop(self) -> None:
        """From now on: not serving."""
        self._watch.stop()

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
        return Response(status=self._watch.status)


class _Watch:
    """The status now, and when it changes, which ends the streams. A stream that waits holds none of gRPC's threads."""

    experimental_non_blocking = True  # gRPC gives it what sends, and the stream stays open until that is given None

    def __init__(self) -> None:
        self.status = SERVING
        self._lock = threading.Lock()
        self._sends: dict[grpc.ServicerContext, Send] = {}  # of the streams that are open

    def __call__(self, request: Any, context: grpc.ServicerContext, send: Send) -> None:
        with self._lock:  # and not while sending, which waits for the thread that says of others that they ended
            status = SERVICE_UNKNOWN if request.service else self.status
            stays = self.status == SERVING and context.add_callback(lambda: self._ended(context))
            if stays:
                self._sends[context] = send
        send(Response(status=status))
        if not stays:
            send(None)

    def _ended(self, context: grpc.ServicerContext) -> None:
        with self._lock:
            self._sends.pop(context, None)

    def stop(self) -> None:
        """Tell all, and end their streams."""
        with self._lock:
            self.status = NOT_SERVING
            sends, self._sends = [*self._sends.values()], {}
        for send in sends:
            send(Response(status=NOT_SERVING))
            send(None)
