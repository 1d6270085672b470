"""The gRPC side: PredictionService and ModelService over a ServerCore. What is not registered here is UNIMPLEMENTED."""

from __future__ import annotations

import concurrent.futures
import contextlib
import dataclasses
import functools
import os
import traceback
from collections.abc import Callable
from typing import Any

import grpc
from google.protobuf.message import DecodeError
from tensorflow_serving.apis import (
    get_model_metadata_pb2,
    get_model_status_pb2,
    model_management_pb2,
    predict_pb2,
)

from serving import memory
from serving.core import ServerCore
from serving.errors import ServingError, Status, truncated
from serving.grpc_inference import inference_methods
from serving.health import Health
from serving.monitoring import Monitor
from serving.predict import predict
from serving.saved_model import NO_TIMEOUT
from serving.signatures import SERVING_DEFAULT
from serving.tensors import read_tensor, write_tensor
from serving.text_config import Tls

MAX_MESSAGE_BYTES = 2**31 - 1
LOOKAHEAD_BYTES = 4 * 2**20  # of a message: what a client may send before it hears that the rest may come, too
GIVES_WAY = os.SCHED_BATCH  # of a thread that interrupts nobody when it wakes up
MAX_DEADLINE_S = 365 * 24 * 3600
UNDECODED = "Exception deserializing request!"  # gRPC's own words
CODES = {code.value[0]: code for code in grpc.StatusCode}

Method = Callable[[Any, int], Any]  # (request, timeout_ms) -> response


@dataclasses.dataclass(frozen=True)
class Settings:
    """What flags say of the gRPC side."""

    threads: int
    as_content: bool  # outputs go into `tensor_content`
    health: bool = False  # register grpc.health.v1
    tls: Tls | None = None
    channel_arguments: tuple[tuple[str, int | str], ...] = ()


def channel_arguments(text: str) -> tuple[tuple[str, int | str], ...]:
    """gRPC's own options: "grpc.keepalive_time_ms=5000,grpc.lb_policy_name=rr"."""
    pairs = [part.partition("=") for part in text.split(",") if part]
    return tuple((name, int(value) if value.lstrip("-").isdigit() else value) for name, _, value in pairs)


class GrpcServer:
    """Listens from `start` on; `address` is `host:port` or `unix:path`."""

    def __init__(self, core: ServerCore, settings: Settings, monitor: Monitor) -> None:
        self._core, self._settings, self._monitor = core, settings, monitor
        options = [  # of one that is there twice the first counts
            *settings.channel_arguments,
            ("grpc.max_receive_message_length", MAX_MESSAGE_BYTES),
            ("grpc.max_send_message_length", MAX_MESSAGE_BYTES),
            ("grpc.so_reuseport", 0),  # a port that is taken is an error
            ("grpc.http2.bdp_probe", 0),  # no ping for each message, to learn how much may be under way: always so much
            ("grpc.http2.lookahead_bytes", LOOKAHEAD_BYTES),
        ]
        self._pool = concurrent.futures.ThreadPoolExecutor(settings.threads, "grpc", _schedule, (GIVES_WAY,))
        # gRPC's own threads give way, too: a thread is as the one that starts it.
        self._server = self._pool.submit(grpc.server, self._pool, options=options).result()
        self._health = Health()
        health = (self._health.handler(),) if settings.health else ()
        self._server.add_generic_rpc_handlers((*self._handlers(), *health))

    def start(self, addresses: list[str]) -> None:
        """Open the ports; OSError names the one that cannot be opened."""
        for address in addresses:
            self._open(address)
        self._pool.submit(self._server.start).result()

    def _open(self, address: str) -> None:
        tls = self._settings.tls
        try:
            if tls is None:
                self._server.add_insecure_port(address)
            else:
                pairs = [(tls.key, tls.certificate)]
                credentials = grpc.ssl_server_credentials(pairs, tls.authorities, tls.verify_clients)
                self._server.add_secure_port(address, credentials)
        except RuntimeError as error:
            raise OSError(f"gRPC cannot listen on {address}: is it taken?") from error

    def stop(self, grace_s: float) -> None:
        """Refuse new calls and let those in flight finish."""
        self._health.stop()
        self._server.stop(grace_s).wait()

    def _handlers(self) -> tuple[grpc.GenericRpcHandler, ...]:
        services: dict[str, dict[str, tuple[Method, Any]]] = {
            "tensorflow.serving.PredictionService": {
                "Predict": (self._predict, predict_pb2.PredictRequest),
                **inference_methods(self._core),
                "GetModelMetadata": (
                    lambda request, _: self._core.metadata(request),
                    get_model_metadata_pb2.GetModelMetadataRequest,
                ),
            },
            "tensorflow.serving.ModelService": {
                "GetModelStatus": (
                    lambda request, _: self._core.status(request),
                    get_model_status_pb2.GetModelStatusRequest,
                ),
                "HandleReloadConfigRequest": (self._reload, model_management_pb2.ReloadConfigRequest),
            },
        }
        return tuple(
            grpc.method_handlers_generic_handler(
                service, {name: self._handler(name, method, request) for name, (method, request) in methods.items()}
            )
            for service, methods in services.items()
        )

    def _handler(self, name: str, method: Method, request_class: Any) -> grpc.RpcMethodHandler:
        def call(message: bytes, context: grpc.ServicerContext) -> Any:
            context.add_callback(functools.partial(memory.ended, len(message)))
            try:
                request = request_class.FromString(message)
            except DecodeError:  # here and not in gRPC's own deserializer, of whose failures each keeps 12 kB for ever
                context.abort(grpc.StatusCode.INTERNAL, UNDECODED)
            with self._monitor.request(name, "GRPC") as seen:
                try:
                    return method(request, _timeout_ms(context.time_remaining()))
                except ServingError as error:
                    seen.status = error.status.name
                    context.abort(CODES[int(error.status)], truncated(error.message))
                except Exception as error:  # a fault of the server: the caller hears of it, the log has the place
                    traceback.print_exc()
                    seen.status = Status.INTERNAL.name
                    context.abort(grpc.StatusCode.INTERNAL, truncated(f"{type(error).__name__}: {error}"))

        return grpc.unary_unary_rpc_method_handler(
            call, response_serializer=lambda message: message.SerializeToString()
        )

    def _reload(self, request: Any, timeout_ms: int) -> Any:
        _schedule(os.SCHED_OTHER)  # what it loads has threads that run models
        try:
            return self._core.reload(request, timeout_ms)
        finally:
            _schedule(GIVES_WAY)

    def _predict(self, request: predict_pb2.PredictRequest, timeout_ms: int) -> predict_pb2.PredictResponse:
        if not request.HasField("model_spec"):
            raise ServingError(Status.INVALID_ARGUMENT, "Missing ModelSpec")
        spec = request.model_spec
        with self._core.handle(spec) as handle:
            outputs = predict(
                handle.servable,
                spec.signature_name,
                request.inputs,
                read_tensor,
                list(request.output_filter),
                timeout_ms,
            )
        response = predict_pb2.PredictResponse()
        response.model_spec.name = spec.name
        response.model_spec.signature_name = spec.signature_name or SERVING_DEFAULT
        response.model_spec.version.value = handle.version
        for name, array in outputs.items():
            write_tensor(array, response.outputs[name], self._settings.as_content)
        return response


def _schedule(policy: int) -> None:
    """How this thread gets a processor from now on, and those that it starts.

    A request wakes a dozen threads, one after the other, and each would take the processor and its caches from a run.
    """
    with contextlib.suppress(OSError):  # a container may not let it choose
        os.sched_setscheduler(0, policy, os.sched_param(0))


def _timeout_ms(remaining_s: float | None) -> int:
    if remaining_s is None or remaining_s > MAX_DEADLINE_S:  # gRPC says "no deadline" with infinity
        return NO_TIMEOUT
    return max(1, int(remaining_s * 1000))
