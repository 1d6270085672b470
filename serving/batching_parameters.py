"""How requests are batched: TensorFlow Serving's BatchingParameters, a text protobuf.

max_batch_size { value: 128 }
batch_timeout_micros { value: 2000 }
"""

from __future__ import annotations

import dataclasses
from typing import Any

from serving import text_config, wire
from serving.errors import ServingError, Status

# BatchingParameters of session_bundle_config.proto, which tensorflow-serving-api does not ship.
_CLASS = wire.message_classes(
    "fovea.batching",
    {
        "Int64Value": [(1, "int64", "value")],
        "BoolValue": [(1, "bool", "value")],
        "StringValue": [(1, "string", "value")],
        "BatchingParameters": [
            (1, "Int64Value", "max_batch_size"),
            (2, "Int64Value", "batch_timeout_micros"),
            (3, "Int64Value", "max_enqueued_batches"),
            (4, "Int64Value", "num_batch_threads"),
            (5, "StringValue", "thread_pool_name"),
            (6, "*int64", "allowed_batch_sizes"),
            (7, "bool", "pad_variable_length_inputs"),
            (8, "Int64Value", "max_execution_batch_size"),
            (9, "BoolValue", "enable_large_batch_splitting"),
        ],
    },
)["BatchingParameters"]


FILE = "batching_params.pbtxt"  # of a version's own parameters, in its folder


@dataclasses.dataclass(frozen=True)
class Parameters:
    """See the module; sizes are rows.

    Attributes:
        max_batch_size: the largest request, and the largest batch.
        batch_timeout_micros: how long a batch waits to become full; see `serving/batching.py`.
        max_enqueued_batches: of one kind, that wait for a thread; one more is UNAVAILABLE.
        num_batch_threads: runs of the model at once; None: as many as there are processors.
        allowed_batch_sizes: batches are filled up to one of these.
        pad_variable_length_inputs: fill inputs of unequal shapes up, which is for inputs with a mask of their own.
        enable_large_batch_splitting: larger requests run in parts
        max_execution_batch_size: of so many rows; None: of max_batch_size.
    """

    max_batch_size: int = 1000
    batch_timeout_micros: int = 0
    max_enqueued_batches: int = 10
    num_batch_threads: int | None = None
    allowed_batch_sizes: tuple[int, ...] = ()
    pad_variable_length_inputs: bool = False
    enable_large_batch_splitting: bool = False
    max_execution_batch_size: int | None = None

    def __post_init__(self) -> None:
        """Raises ValueError, whose text names the parameter."""
        for name in ("max_batch_size", "max_enqueued_batches", "num_batch_threads", "max_execution_batch_size"):
            if getattr(self, name) is not None and getattr(self, name) < 1:
                raise ValueError(f"{name} must be positive; was {getattr(self, name)}")
        if self.batch_timeout_micros < 0:
            raise ValueError(f"batch_timeout_micros must be non-negative; was {self.batch_timeout_micros}")
        if self.execution_limit > self.max_batch_size:
            limits = f"{self.max_execution_batch_size} and {self.max_batch_size}"
            raise ValueError(f"max_execution_batch_size must be at most max_batch_size; were {limits}")
        sizes, last = list(self.allowed_batch_sizes), self.execution_limit
        if sizes and (sizes != sorted(set(sizes)) or sizes[0] < 1):
            raise ValueError(f"allowed_batch_sizes entries must be monotonically increasing; were {sizes}")
        if sizes and sizes[-1] != last:
            raise ValueError(f"Last entry in allowed_batch_sizes must match the largest batch: {sizes[-1]} and {last}")

    @property
    def execution_limit(self) -> int:
        """The largest batch."""
        parts = self.max_execution_batch_size if self.enable_large_batch_splitting else None
        return parts or self.max_batch_size

    def allowed(self, rows: int) -> int:
        """The smallest size that is allowed and holds so many rows."""
        return min((size for size in self.allowed_batch_sizes if size >= rows), default=rows)


def read(text: str, origin: str) -> Parameters:
    """Of a text protobuf; the ServingError, INVALID_ARGUMENT, names the file, and the line or the parameter."""
    message = text_config.parse(_CLASS, text, origin)
    given: dict[str, Any] = {}
    for field, value in message.ListFields():
        if field.name == "allowed_batch_sizes":
            given[field.name] = tuple(value)
        elif field.name != "thread_pool_name":
            given[field.name] = getattr(value, "value", value)
    try:
        return Parameters(**given)
    except ValueError as error:
        raise ServingError(Status.INVALID_ARGUMENT, f"{origin}: {error}") from error
