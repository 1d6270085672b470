"""The client of our server and of TensorFlow Serving, without TensorFlow.

>>> with connect("localhost:8500", model="pronounce") as client:  # REST: connect("http://localhost:8501", ...)
...     client.predict("serving_default", {"text": ["fovea"]})
{"text": ["F OW1 V IY0 AH0"], "score": array([-0.25], dtype=float32)}
"""

from __future__ import annotations

import abc
from collections.abc import Mapping
from typing import Any

from serving.errors import ServingError, Status

__all__ = ["Client", "ServingError", "Status", "connect"]

BYTES_SUFFIX = "_bytes"  # an output whose name ends so holds bytes, not text: TensorFlow Serving's rule for JSON


class Client(abc.ABC):
    """A connection to one model."""

    @abc.abstractmethod
    def predict(self, signature: str, inputs: Mapping[str, Any]) -> dict[str, Any]:
        """Run a signature on named lists (or arrays); ServingError if the server refuses.

        Text goes in as `str` (bytes as `bytes`) and comes out as nested lists of `str`, or of `bytes` if the output's
        name ends in `_bytes`; numbers come out as arrays. Over gRPC, lists of floats go in as float32 and of ints as
        int64: give an array where a signature has another type.
        """

    @abc.abstractmethod
    def close(self) -> None:
        """Close the connection."""

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def connect(address: str, model: str = "default", version: int | None = None, timeout_s: float = 30.0) -> Client:
    """A client of `host:8500` (gRPC) or `http://host:8501` (REST); each call has the deadline `timeout_s`."""
    if address.startswith(("http://", "https://")):
        from serving.rest_client import RestClient

        return RestClient(address, model, version, timeout_s)
    from serving.grpc_client import GrpcClient  # gRPC and protobuf, which REST does without

    return GrpcClient(address, model, version, timeout_s)
