"""The client of our server and of TensorFlow Serving, without TensorFlow.

>>> with connect("localhost:8500", model="pronounce") as client:  # REST: connect("http://localhost:8501", ...)
...     client.predict("serving_default", {"text": ["fovea"]})
{"text": ["F OW1 V IY0 AH0"], "score": array([-0.25], dtype=float32)}
"""

from __future__ import annotations

from serving.connection import Client, Tls
from serving.errors import ServingError, Status

__all__ = ["Client", "ServingError", "Status", "Tls", "connect"]


def connect(
    address: str,
    model: str = "default",
    version: int | None = None,
    timeout_s: float = 30.0,
    retry: bool = True,
    tls: Tls | None = None,
) -> Client:
    """A client of `host:8500` (gRPC) or `http://host:8501` (REST); each call has the deadline `timeout_s`.

    With `retry` a call waits within its deadline for a server that is not there; without, it says so at once. `tls`
    secures gRPC, and says whom to trust where the address begins with https.
    """
    if address.startswith(("http://", "https://")):
        from serving.rest_client import RestClient

        return RestClient(address, model, version, timeout_s, retry, tls)
    from serving.grpc_client import GrpcClient  # gRPC and protobuf, which REST does without

    return GrpcClient(address, model, version, timeout_s, retry, tls)
