"""Throughput and latency: batching against none, gRPC against a call in process, and load by its rate."""

from __future__ import annotations

import dataclasses
import pathlib
import statistics
import sys
from collections.abc import Iterator, Sequence
from typing import Any

from tests.benchmarks import serving_load
from tests.benchmarks.serving_line import Line, shown
from tests.benchmarks.serving_server import PREDICT_PATH, Measured, mixed, request_file, rest_request_file, words
from tests.benchmarks.worker import Worker

CLIENTS, BATCH, BATCHES = 32, 32, 16
LEAST_BATCHING, LEAST_OF_IN_PROCESS, MOST_P99 = 4.0, 0.85, 10.0
SHARES = (0.25, 0.5, 0.75, 0.9)  # of the throughput of a closed loop


def batching(plain: Measured, batched: Measured, folder: pathlib.Path, rounds: int, seconds: float) -> Iterator[Line]:
    """Single-row clients over REST and over gRPC, with batching and without, in turns."""
    rows = [[word] for word in words(2000, seed=1)]
    order = serving_load.Order("", "", clients=CLIENTS, seconds=seconds)
    rest = dataclasses.replace(order, requests=rest_request_file(folder / "words.json", rows), path=PREDICT_PATH)
    grpc = dataclasses.replace(order, requests=request_file(folder / "words", rows))
    for name, api, address in (
        ("REST", rest, lambda side: side.server.rest_address),
        ("gRPC", grpc, lambda side: side.server.grpc_address),
    ):
        with_, without = (dataclasses.replace(api, address=address(side)) for side in (batched, plain))
        yield from _batching(name, with_, without, rounds)


def _batching(api: str, with_: serving_load.Order, without: serving_load.Order, rounds: int) -> Iterator[Line]:
    sides: dict[str, list[dict[str, Any]]] = {"with": [], "without": []}
    for _ in range(rounds):
        for name, order in (("without", without), ("with", with_)):
            sides[name].append(_answered(serving_load.load(order)))
    rates = {name: statistics.median(run["per_second"] for run in runs) for name, runs in sides.items()}
    ratio = rates["with"] / rates["without"]
    yield Line(
        f"batching, {CLIENTS} clients of single rows over {api}: rows/s",
        f"{rates['with']:,.0f} with",
        f"{rates['without']:,.0f} without",
        f"{ratio:.2f}x",
        f"at least {LEAST_BATCHING:.0f}x",
        ratio >= LEAST_BATCHING,
        sides,
    )
    latencies = {name: _median_ms(runs) for name, runs in sides.items()}
    spread = latencies["with"]["p99"] / latencies["with"]["p50"]
    yield Line(
        f"batching over {api}: latency",
        shown(latencies["with"]),
        shown(latencies["without"]),
        f"{spread:.1f}x p50",
        f"p99 under {MOST_P99:.0f}x p50",
        spread < MOST_P99,
        latencies,
    )


def in_process(plain: Measured, model: pathlib.Path, folder: pathlib.Path, rounds: int, count: int) -> Iterator[Line]:
    """Requests of a batch over gRPC, and the same SavedModel called in a process of its own, in turns."""
    pool = words(BATCH * BATCHES, seed=2)
    batches = [pool[first : first + BATCH] for first in range(0, len(pool), BATCH)]
    file = request_file(folder / "batches", batches)
    asked = {"model": str(model), "batches": batches}
    worker = Worker(sys.executable, "tests.benchmarks.serving_side", 2, asked)
    count = max(1, count // BATCHES) * BATCHES  # the same batches on both sides
    rates: dict[str, list[float]] = {"over gRPC": [], "in process": []}
    try:
        for _ in range(rounds):
            rates["in process"].append(BATCH * count / worker.run(count)["seconds"])
            order = serving_load.Order(plain.server.grpc_address, file, count=count)
            rates["over gRPC"].append(BATCH * _answered(serving_load.load(order))["per_second"])
    finally:
        worker.close()
    ratio = statistics.median(g / p for g, p in zip(rates["over gRPC"], rates["in process"], strict=True))
    ours, other = (f"{statistics.median(values):,.0f} {name}" for name, values in rates.items())
    bar = f"at least {LEAST_OF_IN_PROCESS}x"
    yield Line(
        f"Predict of {BATCH} rows: rows/s", ours, other, f"{ratio:.2f}x", bar, ratio >= LEAST_OF_IN_PROCESS, rates
    )


def load(batched: Measured, folder: pathlib.Path, seconds: float) -> Iterator[Line]:
    """Texts of mixed lengths, one a request: closed loops, then open ones by their rate."""
    file = request_file(folder / "mixed", [[text] for text in mixed(1000, seed=3)])
    address = batched.server.grpc_address
    most = 0.0
    for clients in (1, 8, CLIENTS):
        run = _answered(serving_load.load(serving_load.Order(address, file, clients=clients, seconds=seconds)))
        most = max(most, run["per_second"])
        name = f"mixed lengths, closed loop of {clients}"
        yield Line(name, f"{run['per_second']:,.0f} rows/s", shown(run["milliseconds"]), figures=run)
    for share in SHARES:
        order = serving_load.Order(address, file, clients=8, rate=share * most, seconds=seconds)
        run = _answered(serving_load.load(order))
        name = f"mixed lengths, open loop at {share:.0%} of that"
        yield Line(name, f"{order.rate:,.0f} rows/s offered", shown(run["milliseconds"]), figures=run)


def _answered(run: dict[str, Any]) -> dict[str, Any]:
    """A load that must not have failed."""
    if run["failures"]:
        raise RuntimeError(f"requests failed: {run['failures']}")
    return run


def _median_ms(runs: Sequence[dict[str, Any]]) -> dict[str, float]:
    return {name: statistics.median(run["milliseconds"][name] for run in runs) for name in runs[0]["milliseconds"]}
