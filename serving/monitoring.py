"""What a server counts of its requests, in Prometheus' text form.

:tensorflow:serving:request_count{model_name="m",status="OK"} 3                          as TensorFlow Serving has it
:tensorflow:serving:request_latency_bucket{model_name="m",API="Predict",entrypoint="GRPC",le="1889"} 2   microseconds
fovea_request_seconds_bucket{model="m",version="3",signature="align",method="Predict",status="OK",le="0.1"} 3
"""

from __future__ import annotations

import bisect
import contextlib
import contextvars
import dataclasses
import threading
import time
from collections.abc import Iterator

MICROSECONDS = tuple(10 * 1.8**exponent for exponent in range(33))  # TensorFlow Serving's buckets
SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
INFERENCE = ("predict", "classify", "regress")  # what TensorFlow Serving counts, and of that times what is OK
COUNT, LATENCY, OURS = (
    ":tensorflow:serving:request_count",
    ":tensorflow:serving:request_latency",
    "fovea_request_seconds",
)

Labels = tuple[tuple[str, str], ...]


@dataclasses.dataclass
class Seen:
    """A request that is being answered, as far as it is known yet."""

    method: str  # of the API, such as "Predict"
    entrypoint: str  # "GRPC" or "REST"
    model: str = ""
    version: str = ""
    signature: str = ""
    status: str = "OK"


_current: contextvars.ContextVar[Seen | None] = contextvars.ContextVar("request", default=None)


def note(**facts: str) -> None:
    """Say of the request that this thread answers: note(model="m", version="3")."""
    seen = _current.get()
    if seen is not None:
        for name, value in facts.items():
            setattr(seen, name, value)


class _Histogram:
    """Counts by upper bound, and the sum."""

    def __init__(self, bounds: tuple[float, ...]) -> None:
        self.bounds, self.counts, self.sum = bounds, [0] * (len(bounds) + 1), 0.0

    def add(self, value: float) -> None:
        self.counts[bisect.bisect_left(self.bounds, value)] += 1
        self.sum += value

    def lines(self, name: str, labels: Labels) -> Iterator[str]:
        total = 0
        for bound, count in zip((*self.bounds, float("inf")), self.counts, strict=True):
            total += count
            yield f"{name}_bucket{_braced((*labels, ('le', _number(bound))))} {total}"
        yield f"{name}_sum{_braced(labels)} {_number(self.sum)}"
        yield f"{name}_count{_braced(labels)} {total}"


class Monitor:
    """The counts of one server; threads may share it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._counts: dict[Labels, int] = {}
        self._histograms: dict[str, dict[Labels, _Histogram]] = {LATENCY: {}, OURS: {}}

    @contextlib.contextmanager
    def request(self, method: str, entrypoint: str) -> Iterator[Seen]:
        """Count the request that the body answers; it sets the status where that is not OK."""
        seen, began_s = Seen(method, entrypoint), time.perf_counter()
        token = _current.set(seen)
        try:
            yield seen
        finally:
            _current.reset(token)
            self._count(seen, time.perf_counter() - began_s)

    def _count(self, seen: Seen, seconds: float) -> None:
        counted = (("model_name", seen.model), ("status", seen.status))
        timed = (("model_name", seen.model), ("API", seen.method), ("entrypoint", seen.entrypoint))
        names = ("model", "version", "signature", "method", "status")
        ours = tuple((name, getattr(seen, name)) for name in names)
        with self._lock:
            if seen.method.lower() in INFERENCE:
                self._counts[counted] = self._counts.get(counted, 0) + 1
                if seen.status == "OK":
                    self._histograms[LATENCY].setdefault(timed, _Histogram(MICROSECONDS)).add(1e6 * seconds)
            self._histograms[OURS].setdefault(ours, _Histogram(SECONDS)).add(seconds)

    def text(self) -> str:
        """All of it, for Prometheus to scrape."""
        with self._lock:
            lines = [f"# TYPE {COUNT} counter"]
            lines += [f"{COUNT}{_braced(labels)} {count}" for labels, count in sorted(self._counts.items())]
            for name, histograms in self._histograms.items():
                lines.append(f"# TYPE {name} histogram")
                for labels, histogram in sorted(histograms.items()):
                    lines += histogram.lines(name, labels)
        return "\n".join(lines) + "\n"


def _braced(labels: Labels) -> str:
    escaped = ((name, value.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")) for name, value in labels)
    return "{" + ",".join(f'{name}="{value}"' for name, value in escaped) + "}"


def _number(value: float) -> str:
    return "+Inf" if value == float("inf") else f"{value:.6g}"
