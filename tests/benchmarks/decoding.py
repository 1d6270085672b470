"""Decoding by an exported Transformer against CTranslate2 with the same weights: `python -m tests.benchmarks.decoding`.

Raw strings in, raw strings out, in batches sorted by length; each side in a process of its own, on the same processors,
taking turns. Both search without a length penalty, so that they search for the same answers. See README.md.
"""

from __future__ import annotations

import argparse
import contextlib
import gzip
import json
import pathlib
import statistics
import sys
import tempfile
from collections.abc import Mapping
from typing import Any

from tests.benchmarks import machine
from tests.benchmarks.worker import Worker

CASES = {"batch 32, beam 5": (32, 5), "batch 32, greedy": (32, 1), "batch 1, beam 5": (1, 5)}
THEIRS = "CTranslate2"
OURS = {"Fovea, compiled": True, "Fovea, without_xla": False}


def main() -> None:
    """Measure and print."""
    options = _arguments()
    machine.keep_to(options.threads)
    report = measure(options.model, _lines(options.sources)[: options.rows], options.rounds, options.threads)
    print(json.dumps(report, indent=2) if options.json else text(report))


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, prog="python -m tests.benchmarks.decoding")
    parser.add_argument("--model", required=True, help="path of an exported Transformer")
    parser.add_argument("--sources", type=pathlib.Path, required=True, help="a text a line, also .gz")
    parser.add_argument("--rows", type=int, help="only the first so many")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--json", action="store_true")
    return parser.parse_args()


def _lines(path: pathlib.Path) -> list[str]:
    with gzip.open(path, "rt") if path.suffix == ".gz" else path.open() as file:
        return [line.strip() for line in file]


def measure(model: str, sources: list[str], rounds: int, threads: int) -> dict[str, Any]:
    """{"cases": {case: {side: {"target_tokens_per_s", "against", "alike"}}}, ...}."""
    cases, warnings = {}, []
    with tempfile.TemporaryDirectory() as folder:
        for case, (batch, beam) in CASES.items():
            asked = {"model": model, "sources": sources, "batch": batch, "beam": beam, "threads": threads}
            asked["folder"] = f"{folder}/{batch}-{beam}"
            cases[case], warning = _case(asked, rounds, threads)
            warnings.append(warning)
    return {"machine": machine.name(), "rows": len(sources), "warning": max(warnings), "cases": cases}


def _case(asked: Mapping[str, Any], rounds: int, threads: int) -> tuple[dict[str, Any], str]:
    with contextlib.ExitStack() as ended:
        workers = {}
        for name, side in {
            THEIRS: {"compiled": None},
            **{name: {"compiled": how} for name, how in OURS.items()},
        }.items():
            workers[name] = Worker(sys.executable, "tests.benchmarks.decoding_side", threads, {**asked, **side})
            ended.callback(workers[name].close)
        seconds: dict[str, list[float]] = {name: [] for name in workers}
        others = machine.Others()
        for _ in range(rounds):
            for name, worker in workers.items():
                done = worker.run(1)
                others.own(done["cpu_seconds"])
                seconds[name].append(done["seconds"])
        answers = {name: worker.facts["answers"] for name, worker in workers.items()}
        sides = {
            name: {
                "framework": workers[name].facts["framework"],
                "target_tokens_per_s": workers[name].facts["tokens"] / statistics.median(seconds[name]),
                "against": statistics.median(t / s for s, t in zip(seconds[name], seconds[THEIRS], strict=True)),
                "alike": statistics.mean(a == b for a, b in zip(answers[name], answers[THEIRS], strict=True)),
            }
            for name in workers
        }
        return sides, others.warning()


def text(report: Mapping[str, Any]) -> str:
    """The table that a person reads."""
    lines = [f"{report['machine']}; {report['rows']} texts; target tokens are pieces of the answers"]
    for case, sides in report["cases"].items():
        lines.append(f"{case:20} {'target tokens/s':>15} {'x ' + THEIRS:>14} {'same answers':>13}")
        for name, side in sides.items():
            lines.append(
                f"  {name:18} {side['target_tokens_per_s']:15,.0f} {side['against']:14.2f} {side['alike']:13.1%}"
            )
    return "\n".join([*lines, *filter(None, [report["warning"]])])


if __name__ == "__main__":
    main()
