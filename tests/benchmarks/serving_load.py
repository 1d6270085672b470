"""Load on a model server, from a light process of its own: `python -m tests.benchmarks.serving_load '{...}'`.

Requests are bytes before and answers stay bytes, so that the clients leave the processors to the server. Closed
loop: so many clients, each with one request under way. Open loop: requests come when they come (Poisson), and are late
from then on, however long they wait for their turn.
"""

from __future__ import annotations

import asyncio
import base64
import collections
import dataclasses
import json
import math
import pathlib
import random
import signal
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import uvloop

from serving import wire
from serving.grpc_client import PREDICT
from tests.benchmarks import light_grpc, light_http

PERCENTILES = (50, 90, 99)

Call = Callable[[bytes], Awaitable[bytes]]


@dataclasses.dataclass(frozen=True)
class Order:
    """What is asked of the process.

    Attributes:
        address: of the server, HOST:PORT, or http://HOST:PORT over REST.
        requests: a file, a request in base64 a line (`PredictRequest`, or the JSON of REST); they are sent in order,
            again and again.
        path: of REST.
        clients: of a closed loop, each with a connection of its own.
        rate: requests a second of an open loop, over gRPC; 0: a closed one.
        seconds: how long requests are sent, at most: SIGTERM ends it in order.
        count: so many requests instead.
        versions: say which version gave each answer.
    """

    address: str
    requests: str
    path: str = ""
    clients: int = 1
    rate: float = 0.0
    seconds: float = 0.0
    count: int = 0
    versions: bool = False


@dataclasses.dataclass
class Outcome:
    """What came of it: seconds by the monotonic clock."""

    began_s: float = 0.0
    ended_s: float = 0.0
    latencies_s: list[float] = dataclasses.field(default_factory=list)
    failures: collections.Counter[str] = dataclasses.field(default_factory=collections.Counter)
    seen: list[tuple[float, float, int]] = dataclasses.field(default_factory=list)  # sent, answered, version

    def document(self) -> dict[str, Any]:
        """As JSON has it."""
        return {
            "answers": len(self.latencies_s),
            "seconds": self.ended_s - self.began_s,
            "per_second": len(self.latencies_s) / (self.ended_s - self.began_s),
            "milliseconds": {f"p{percent}": 1000 * percentile(self.latencies_s, percent) for percent in PERCENTILES},
            "failures": dict(self.failures),
            "client_cpu_seconds": time.process_time(),
            "seen": self.seen,
        }


def percentile(values: Sequence[float], percent: float) -> float:
    """The smallest value that so many percent do not exceed: [1, 2, 3, 4], 50 -> 2."""
    ordered = sorted(values)
    return ordered[max(0, math.ceil(len(ordered) * percent / 100) - 1)] if ordered else float("nan")


def start(order: Order) -> subprocess.Popen[str]:
    """The process, which connects and then begins; see `result`."""
    asked = json.dumps(dataclasses.asdict(order))
    return subprocess.Popen(
        [sys.executable, "-m", "tests.benchmarks.serving_load", asked], stdout=subprocess.PIPE, text=True
    )


def result(process: subprocess.Popen[str]) -> dict[str, Any]:
    """Its `Outcome.document`, when it is done."""
    output, _ = process.communicate()
    if process.returncode:
        raise RuntimeError(f"the load ended with code {process.returncode}; standard error says why")
    return dict(json.loads(output))


def load(order: Order) -> dict[str, Any]:
    """Start, and wait for the result."""
    return result(start(order))


class _Load:
    def __init__(self, order: Order) -> None:
        self._order, self._outcome = order, Outcome()
        self._requests = [base64.b64decode(line) for line in pathlib.Path(order.requests).read_text().splitlines()]
        self._sent, self._told_to_end = 0, False

    def _end(self) -> None:
        self._told_to_end = True

    async def run(self) -> Outcome:
        calls = await (self._over_rest() if self._order.path else self._over_grpc())
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, self._end)
        outcome = self._outcome
        outcome.began_s = time.monotonic()
        if self._order.rate:
            await self._open(calls)
        else:
            clients = [self._client(calls[number % len(calls)]) for number in range(self._order.clients)]
            await asyncio.gather(*clients)
        outcome.ended_s = time.monotonic()
        return outcome

    async def _over_grpc(self) -> list[Call]:
        return [(await light_grpc.connect(self._order.address, PREDICT)).ask for _ in range(self._order.clients)]

    async def _over_rest(self) -> list[Call]:
        self._requests = [light_http.post(self._order.path, body) for body in self._requests]
        connections = [await light_http.connect(self._order.address) for _ in range(self._order.clients)]
        return [connection.ask for connection in connections]

    async def _client(self, call: Call) -> None:
        while self._goes_on():
            await self._ask(call, time.monotonic())

    async def _open(self, calls: Sequence[Call]) -> None:
        arrivals = random.Random(7)
        due_s, tasks = time.monotonic(), set()
        while self._goes_on():
            due_s += arrivals.expovariate(self._order.rate)
            await asyncio.sleep(max(0.0, due_s - time.monotonic()))
            tasks.add(asyncio.create_task(self._ask(calls[self._sent % len(calls)], due_s)))
        await asyncio.gather(*tasks)

    def _goes_on(self) -> bool:
        if self._told_to_end:
            return False
        if self._order.count:
            return self._sent < self._order.count
        return time.monotonic() < self._outcome.began_s + self._order.seconds

    async def _ask(self, call: Call, due_s: float) -> None:
        request = self._requests[self._sent % len(self._requests)]
        self._sent += 1
        try:
            answer = await call(request)
        except (light_http.RefusedError, OSError) as error:
            self._outcome.failures[str(error)] += 1
            return
        answered_s = time.monotonic()
        self._outcome.latencies_s.append(answered_s - due_s)
        if self._order.versions:
            version = wire.PredictResponse.FromString(answer).model_spec.version.value
            self._outcome.seen.append((due_s, answered_s, version))


def main() -> None:
    """Do what the argument says, and print the outcome."""
    order = Order(**json.loads(sys.argv[1]))
    print(json.dumps(uvloop.run(_Load(order).run()).document()))


if __name__ == "__main__":
    main()
