"""A hundred thousand requests that no client should send, on both ports: the server answers, and forgets them."""

from __future__ import annotations

import pathlib
import time
from collections.abc import Iterator

from tests.benchmarks import serving_load
from tests.benchmarks.serving_line import Line
from tests.benchmarks.serving_server import MODEL, Measured, ask, mixed, request_file
from tests.benchmarks.serving_speed import CLIENTS
from tests.serving.malformed import cases
from tests.serving.malformed_client import send

HEAVY = 5  # of each kind that takes tens of megabytes
MOST_MORE, SETTLES_S = 0.10, 10.0


def malformed(served: Measured, folder: pathlib.Path, count: int, seconds: float) -> Iterator[Line]:
    """Send so many, some of each kind, and ask an ordinary question after them.

    The memory before is that of a server at work, not of one that nobody has asked yet.
    """
    ordinary = request_file(folder / "ordinary", [[text] for text in mixed(1000, seed=4)])
    serving_load.load(serving_load.Order(served.server.grpc_address, ordinary, clients=CLIENTS, seconds=seconds))
    time.sleep(SETTLES_S)
    before_mb, began_s = served.memory_mb(), time.monotonic()
    report = send(cases(5, count, MODEL, min(HEAVY, count // 1000)), served.server.grpc_port, served.server.rest_port)
    seconds = time.monotonic() - began_s
    wrong: dict[str, int] = {}
    for case, status in report.wrong:
        key = f"{case.kind} ({case.way}): {status}, not one of {sorted(case.allowed)}"
        wrong[key] = wrong.get(key, 0) + 1
    alive = served.server.process.poll() is None and ask(served.server.grpc_address, "fovea") == served.answer
    yield Line(
        "malformed requests on both ports",
        f"{sum(report.statuses.values()):,} in {seconds:.0f} s",
        "it answers as before" if alive else "IT DOES NOT ANSWER",
        str(len(report.wrong)),
        "no crash, no hang, 0 wrong statuses",
        alive and not report.wrong,
        {"wrong": wrong, "statuses": {f"{kind}: {status}": n for (kind, status), n in report.statuses.items()}},
    )
    end_s = time.monotonic() + SETTLES_S
    while (after_mb := served.memory_mb()) > (1 + MOST_MORE) * before_mb and time.monotonic() < end_s:
        time.sleep(0.5)
    more = after_mb / before_mb - 1
    bar = f"at most {MOST_MORE:.0%} more"
    yield Line(
        "memory after them",
        f"{after_mb:,.0f} MB",
        f"{before_mb:,.0f} MB before",
        f"{more:+.1%}",
        bar,
        more <= MOST_MORE,
    )
