"""What every client of a model server can do, whichever way it asks."""

from __future__ import annotations

import abc
import dataclasses
import random
import time
from collections.abc import Mapping
from typing import Any

from serving.errors import ServingError, Status

BYTES_SUFFIX = "_bytes"  # an output whose name ends so holds bytes, not text: TensorFlow Serving's rule for JSON


FIRST_WAIT_S, LONGEST_WAIT_S = 0.05, 2.0  # between two tries


@dataclasses.dataclass(frozen=True)
class Tls:
    """What secures a connection: PEM, as bytes.

    Attributes:
        authorities: that sign the server's certificate; None: those that this machine trusts.
        key: of the client, for servers that ask who calls; for gRPC alone, and so is the next.
        certificate: of the client.
    """

    authorities: bytes | None = None
    key: bytes | None = None
    certificate: bytes | None = None


class Client(abc.ABC):
    """A connection to one model."""

    def __init__(self, timeout_s: float, retry: bool) -> None:
        """Args: how long a call may take, and whether it is tried again within that time while nobody answers."""
        self._timeout_s, self._retry = timeout_s, retry

    def predict(self, signature: str, inputs: Mapping[str, Any]) -> dict[str, Any]:
        """Run a signature on named lists (or arrays); ServingError if the server refuses.

        Text goes in as `str` (bytes as `bytes`) and comes out as nested lists of `str`, or of `bytes` if the output's
        name ends in `_bytes`; numbers come out as arrays. Over gRPC, lists of floats go in as float32 and of ints as
        int64: give an array where a signature has another type.

        UNAVAILABLE, which says that a server is not there (yet) or has too much to do, is tried again with exponential
        backoff until the deadline: a prediction can be asked for twice without harm.
        """
        end_s = time.monotonic() + self._timeout_s
        wait_s = FIRST_WAIT_S
        while True:
            try:
                return self._predict(signature, inputs, max(end_s - time.monotonic(), 0.001))
            except ServingError as error:
                is_late = time.monotonic() + wait_s >= end_s
                if error.status is not Status.UNAVAILABLE or not self._retry or is_late:
                    raise
            time.sleep(random.uniform(0.5, 1.0) * wait_s)  # so that clients of one server do not all come at once
            wait_s = min(2 * wait_s, LONGEST_WAIT_S)

    @abc.abstractmethod
    def _predict(self, signature: str, inputs: Mapping[str, Any], timeout_s: float) -> dict[str, Any]:
        """One try of `predict`."""

    @abc.abstractmethod
    def close(self) -> None:
        """Close the connection."""

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
