"""The model server, measured in one run on loopback: `python -m tests.benchmarks.serving MODEL`. See README.md."""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import functools
import json
import os
import pathlib
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator

from tests.benchmarks import machine
from tests.benchmarks.serving_line import Line, table
from tests.benchmarks.serving_malformed import malformed
from tests.benchmarks.serving_server import BATCHED, Measured, started
from tests.benchmarks.serving_speed import batching, in_process, load
from tests.benchmarks.serving_start import client_start, server_start
from tests.benchmarks.serving_swaps import swaps

PARTS = ("start", "batching", "in_process", "load", "swaps", "malformed")


def main() -> None:
    """Measure and print."""
    options = _arguments()
    machine.keep_to(options.threads)
    others, began_s = machine.Others(), time.monotonic()
    with tempfile.TemporaryDirectory(prefix="fovea-serving-") as folder:
        lines = []
        for line in measure(options, pathlib.Path(folder)):
            print(f"{line.name}: {line.ours}; {line.other}; {line.result}", file=sys.stderr, flush=True)
            lines.append(line)
    others.own(_children_cpu_s())
    warning = others.warning()
    if options.json:
        document = {
            "machine": machine.name(),
            "warning": warning,
            "lines": [dataclasses.asdict(line) for line in lines],
        }
        print(json.dumps(document, indent=2))
    else:
        print(machine.name(), table(lines), *filter(None, [warning]), f"{time.monotonic() - began_s:.0f} s", sep="\n")
    raise SystemExit(1 if any(line.met is False for line in lines) else 0)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, prog="python -m tests.benchmarks.serving")
    parser.add_argument(
        "model", type=pathlib.Path, help="a pushed version: after `make run`, .fovea/models/pronounce/N"
    )
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=PARTS)
    parser.add_argument("--seconds", type=float, default=6.0, help="of a load")
    parser.add_argument("--rounds", type=int, default=5, help="of a comparison, in turns")
    parser.add_argument("--versions", type=int, default=10)
    parser.add_argument("--malformed", type=int, default=100_000)
    parser.add_argument("--threads", type=int, default=2, help="processors for everything, the clients too")
    parser.add_argument("--flags", default="", help="of both servers, such as --tensorflow_intra_op_parallelism=1")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    if not (options.model / "saved_model.pb").exists():
        parser.error(f"{options.model} holds no saved_model.pb; `make run` pushes .fovea/models/pronounce/VERSION")
    return options


def measure(options: argparse.Namespace, folder: pathlib.Path) -> Iterator[Line]:
    """The parts, on servers of the model: one as it comes, one with `serving/batching.pbtxt`."""
    with contextlib.ExitStack() as ended:

        @functools.cache  # started when they are first needed, and not while another is measured
        def server(*flags: str) -> Measured:
            place = folder / ("batched" if flags else "plain")
            return ended.enter_context(started(options.model, place, *flags, *options.flags.split()))

        def both() -> list[Measured]:
            return [server(), server(*BATCHED)]

        seconds, rounds, model = options.seconds, options.rounds, options.model
        parts: dict[str, Callable[[], Iterable[Line]]] = {
            "start": lambda: [*server_start(both()), *client_start(server(), rounds)],
            "batching": lambda: batching(*both(), folder, rounds, seconds),
            "in_process": lambda: in_process(server(), model, folder, rounds, int(20 * seconds)),
            "load": lambda: load(server(*BATCHED), folder, seconds / 2),
            "swaps": lambda: swaps(server(*BATCHED), model, folder, options.versions, seconds / 2),
            "malformed": lambda: malformed(server(*BATCHED), folder, options.malformed, seconds),
        }
        for name in PARTS:
            if name in options.parts:
                yield from parts[name]()


def _children_cpu_s() -> float:
    """What this process and those that it waited for have used."""
    times = os.times()
    return times.user + times.system + times.children_user + times.children_system


if __name__ == "__main__":
    main()
