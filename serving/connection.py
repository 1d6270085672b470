"""What every client of a model server can do, whichever way it asks."""

from __future__ import annotations

import abc
from collections.abc import Mapping
from typing import Any

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
