"""The files that flags name: text protobufs of TensorFlow Serving, whose messages its Python package does not ship.

monitoring  prometheus_config { enable: true path: "/monitoring/prometheus/metrics" }
TLS         server_key: "-----BEGIN..." server_cert: "-----BEGIN..." custom_ca: "" client_verify: false
"""

from __future__ import annotations

import dataclasses
from typing import Any

from google.protobuf import text_format

from serving import wire
from serving.errors import ServingError, Status

METRICS_PATH = "/monitoring/prometheus/metrics"

_MONITORING = wire.message_classes(
    "fovea.monitoring",
    {
        "PrometheusConfig": [(1, "bool", "enable"), (2, "string", "path")],
        "MonitoringConfig": [(1, "PrometheusConfig", "prometheus_config")],
    },
)["MonitoringConfig"]
_TLS = wire.message_classes(
    "fovea.tls",
    {
        "SSLConfig": [
            (1, "string", "server_key"),
            (2, "string", "server_cert"),
            (3, "string", "custom_ca"),
            (4, "bool", "client_verify"),
        ]
    },
)["SSLConfig"]


@dataclasses.dataclass(frozen=True)
class Tls:
    """What the gRPC port is secured with: PEM, as bytes."""

    key: bytes
    certificate: bytes
    authorities: bytes | None  # that sign the certificates of clients
    verify_clients: bool


def metrics_path(text: str, origin: str) -> str:
    """Where the counts of requests are served; "" where they are not."""
    prometheus = parse(_MONITORING, text, origin).prometheus_config
    return (prometheus.path or METRICS_PATH) if prometheus.enable else ""


def tls(text: str, origin: str) -> Tls:
    """Key and certificate of the server, and who may call it."""
    message = parse(_TLS, text, origin)
    for name in ("server_key", "server_cert"):
        if not getattr(message, name).startswith("-----BEGIN"):
            raise ServingError(Status.INVALID_ARGUMENT, f"{origin}: {name}: expected PEM, which begins -----BEGIN")
    authorities = message.custom_ca.encode() or None
    if message.client_verify and authorities is None:
        raise ServingError(Status.INVALID_ARGUMENT, f"{origin}: client_verify needs custom_ca, which signs clients")
    return Tls(message.server_key.encode(), message.server_cert.encode(), authorities, message.client_verify)


def read_file(path: str) -> str:
    """A file that a flag names."""
    try:
        with open(path, encoding="utf-8") as file:
            return file.read()
    except (OSError, UnicodeDecodeError) as error:
        raise ServingError(Status.INVALID_ARGUMENT, f"{path} cannot be read: {error}") from error


def parse(message_class: Any, text: str, origin: str) -> Any:
    """A message of a text protobuf; the error names file, line and column."""
    try:
        return text_format.Parse(text, message_class())
    except text_format.ParseError as error:
        raise ServingError(Status.INVALID_ARGUMENT, f"{origin}:{error}") from error
