"""How long it takes to begin: a server until its first answer, and a client that imports no TensorFlow."""

from __future__ import annotations

import os
import pathlib
import resource
import statistics
import subprocess
import sys
from collections.abc import Iterator, Sequence

from tests.benchmarks.serving_line import Line
from tests.benchmarks.serving_server import MODEL, Measured, ask

LONGEST_START_S, LONGEST_IMPORT_S = 12.0, 0.3
ROOT = pathlib.Path(__file__).parents[2]


def server_start(servers: Sequence[Measured]) -> Iterator[Line]:
    """Of servers that were started one after the other."""
    slowest = max(server.start_s for server in servers)
    times = ", ".join(f"{server.start_s:.1f} s" for server in servers)
    yield Line(
        "start of the server to its first answer",
        times,
        "",
        f"{slowest:.1f} s",
        f"at most {LONGEST_START_S:.0f} s",
        slowest <= LONGEST_START_S,
    )
    assert {ask(server.server.rest_address, "fovea") for server in servers} == {server.answer for server in servers}


def client_start(server: Measured, rounds: int) -> Iterator[Line]:
    """CPU time of processes that import the client, or ask a question by the command line."""
    imported = _cpu_s([sys.executable, "-c", "import serving.rest_client"], rounds)
    yield Line(
        "import serving.rest_client: CPU time",
        f"{imported:.2f} s",
        f"{_cpu_s([sys.executable, '-c', 'pass'], rounds):.2f} s of Python alone",
        f"{imported:.2f} s",
        f"under {LONGEST_IMPORT_S} s",
        imported < LONGEST_IMPORT_S,
    )
    command = [str(pathlib.Path(sys.executable).with_name("fovea")), "predict", "--model", MODEL, "fovea", "--server"]
    rest = _cpu_s([*command, server.server.rest_address], rounds)
    grpc = _cpu_s([*command, server.server.grpc_address], rounds)
    yield Line("fovea predict --server: CPU time", f"{rest:.2f} s over REST", f"{grpc:.2f} s over gRPC")


def _cpu_s(command: Sequence[str], rounds: int) -> float:
    """The median of user and system time; the first run, which may write byte code, does not count."""
    seconds = []
    for _ in range(rounds + 1):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run(command, check=True, cwd=ROOT, stdout=subprocess.DEVNULL, env={**os.environ, "PYTHONPATH": "."})
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        seconds.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    return statistics.median(seconds[1:])
