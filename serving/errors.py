"""The statuses of a request, the same over gRPC and REST.

`ServingError(Status.NOT_FOUND, "Servable not found for request: Latest(m)")` is NOT_FOUND with that text over gRPC and
`404 {"error": "Servable not found for request: Latest(m)"}` over REST.
"""

from __future__ import annotations

import enum

GRPC_MESSAGE_LIMIT = 1024  # bytes; TensorFlow Serving cuts what is longer


class Status(enum.IntEnum):
    """gRPC's status codes, which TensorFlow's error codes equal."""

    OK = 0
    CANCELLED = 1
    UNKNOWN = 2
    INVALID_ARGUMENT = 3
    DEADLINE_EXCEEDED = 4
    NOT_FOUND = 5
    ALREADY_EXISTS = 6
    PERMISSION_DENIED = 7
    RESOURCE_EXHAUSTED = 8
    FAILED_PRECONDITION = 9
    ABORTED = 10
    OUT_OF_RANGE = 11
    UNIMPLEMENTED = 12
    INTERNAL = 13
    UNAVAILABLE = 14
    DATA_LOSS = 15
    UNAUTHENTICATED = 16


HTTP_STATUS = {
    Status.OK: 200,
    Status.INVALID_ARGUMENT: 400,
    Status.FAILED_PRECONDITION: 400,
    Status.OUT_OF_RANGE: 400,
    Status.UNAUTHENTICATED: 401,
    Status.PERMISSION_DENIED: 403,
    Status.NOT_FOUND: 404,
    Status.ABORTED: 409,
    Status.ALREADY_EXISTS: 409,
    Status.RESOURCE_EXHAUSTED: 429,
    Status.CANCELLED: 499,
    Status.UNIMPLEMENTED: 501,
    Status.UNAVAILABLE: 503,
    Status.DEADLINE_EXCEEDED: 504,
}
HTTP_STATUS_OF_THE_OTHERS = 500


class ServingError(Exception):
    """A request, or the loading of a version, that ended with a status other than OK."""

    def __init__(self, status: Status, message: str) -> None:
        super().__init__(f"{status.name}: {message}")
        self.status = status
        self.message = message


def http_status(status: Status) -> int:
    """The HTTP status of a gRPC status."""
    return HTTP_STATUS.get(status, HTTP_STATUS_OF_THE_OTHERS)


def status_of_http(code: int) -> Status:
    """The gRPC status that an HTTP status most likely was (several become 400): 404 -> NOT_FOUND."""
    for status, http_code in HTTP_STATUS.items():
        if http_code == code:
            return status
    return Status.UNKNOWN


def truncated(message: str) -> str:
    """A message as gRPC sends it."""
    sent = message.encode(errors="replace")
    if len(sent) <= GRPC_MESSAGE_LIMIT:
        return message
    return sent[:GRPC_MESSAGE_LIMIT].decode(errors="ignore") + "...TRUNCATED"
