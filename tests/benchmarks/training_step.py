"""A training step against plain PyTorch's: `python -m tests.benchmarks.training_step [--model transformer]`.

Forward, backward, clipping and Adam; each side in a process of its own, on the same processors, taking turns round by
round, so that what the machine does besides falls on all alike. See README.md beside this file.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import json
import statistics
import subprocess
import sys
from collections.abc import Mapping, Sequence
from typing import Any

from tests.benchmarks import machine
from tests.benchmarks.worker import SIZES, Size, Worker

OURS = {
    "Fovea": {"jit_compile": False},
    "Fovea, jit_compile": {"jit_compile": True},
    "Fovea, bfloat16": {"precision": "mixed_bfloat16"},
}
PLAIN = "PyTorch"
THEIRS = {PLAIN: {}, "PyTorch, fused Adam": {"fused": True}, "PyTorch, bfloat16": {"autocast": True}}

MISSING = """{interpreter} has no PyTorch, which is no dependency of this project. In an environment of its own:
  python3 -m venv DIR && DIR/bin/pip install torch    (its CPU build is enough)
and then --torch-python DIR/bin/python"""


def main() -> None:
    """Measure and print."""
    options = _arguments()
    require_torch(options.torch_python)
    machine.keep_to(options.threads)
    size = dataclasses.replace(
        SIZES[options.model],
        dropout=options.dropout,
        label_smoothing=options.label_smoothing,
        threads=options.threads,
    )
    report = measure(size, options.torch_python, options.rounds, options.steps)
    print(json.dumps(report, indent=2) if options.json else text(report))


def require_torch(interpreter: str) -> None:
    """Exit where it is missing."""
    if subprocess.run([interpreter, "-c", "import torch"], capture_output=True, check=False).returncode:
        print(MISSING.format(interpreter=interpreter), file=sys.stderr)
        sys.exit(2)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, prog="python -m tests.benchmarks.training_step")
    parser.add_argument("--torch-python", default=sys.executable, help="an interpreter that has PyTorch")
    parser.add_argument("--model", choices=sorted(SIZES), default="rnn")
    parser.add_argument("--rounds", type=int, default=11)
    parser.add_argument("--steps", type=int, default=8, help="of each side in a round")
    parser.add_argument("--threads", type=int, default=Size.threads)
    parser.add_argument("--dropout", type=float, default=Size.dropout)
    parser.add_argument("--label-smoothing", type=float, default=Size.label_smoothing)
    parser.add_argument("--json", action="store_true")
    return parser.parse_args()


def measure(size: Size, torch_python: str, rounds: int, steps: int) -> dict[str, Any]:
    """{"size": ..., "sides": {name: {"framework", "milliseconds", "target_tokens_per_s", "against": ...}}, ...}."""
    with contextlib.ExitStack() as ended:
        workers: dict[str, Worker] = {}
        for sides, interpreter, module in (
            (OURS, sys.executable, "tests.benchmarks.fovea_side"),
            (THEIRS, torch_python, "tests.benchmarks.torch_side"),
        ):
            for name, options in sides.items():
                asked = {"size": dataclasses.asdict(size), "options": options}
                workers[name] = Worker(interpreter, module, size.threads, asked)
                ended.callback(workers[name].close)
        _require_same_size({name: worker.facts["parameters"] for name, worker in workers.items()})
        others = machine.Others()
        seconds, losses = take_turns(workers, rounds, steps, others)
        return {
            "machine": machine.name(),
            "size": dataclasses.asdict(size),
            "rounds": rounds,
            "steps_a_round": steps,
            "warning": others.warning(),
            "sides": {
                name: {**worker.facts, "loss": losses[name], **_figures(name, seconds, size)}
                for name, worker in workers.items()
            },
        }


def take_turns(
    workers: Mapping[str, Worker], rounds: int, steps: int, others: machine.Others
) -> tuple[dict[str, list[float]], dict[str, float]]:
    """So many steps of every side in each round -> (seconds a step, a number a round; the last loss) of each side."""
    seconds: dict[str, list[float]] = {name: [] for name in workers}
    losses = {}
    for _ in range(rounds):
        for name, worker in workers.items():
            done = worker.run(steps)
            others.own(done["cpu_seconds"])
            seconds[name].append(done["seconds"] / steps)
            losses[name] = done["loss"]
    return seconds, losses


def _require_same_size(parameters: Mapping[str, int]) -> None:
    if len(set(parameters.values())) > 1:
        raise RuntimeError(f"the sides must have as many parameters as each other, got {parameters}")


def _figures(name: str, seconds: Mapping[str, Sequence[float]], size: Size) -> dict[str, Any]:
    """Of a side: medians over the rounds, and its speed over that of each other side in the same round."""
    median_s = statistics.median(seconds[name])
    return {
        "milliseconds": 1000 * median_s,
        "target_tokens_per_s": size.target_tokens / median_s,
        "against": {other: speed_ratio(seconds[name], seconds[other]) for other in THEIRS},
    }


def speed_ratio(ours: Sequence[float], theirs: Sequence[float]) -> dict[str, float]:
    """How many times as fast we are, by the seconds of either side round by round."""
    ratios = [other / own for own, other in zip(ours, theirs, strict=True)]
    return {"median": statistics.median(ratios), "lowest": min(ratios), "highest": max(ratios)}


def _shape(size: Size) -> str:
    if size.model == "rnn":
        return f"GRU {size.units}, embedding {size.embedding}"
    layers = f"{size.layers} + {size.layers} layers"
    return f"Transformer, {layers} of {size.units}, feed-forward {size.feed_forward}, {size.heads} heads"


def text(report: Mapping[str, Any]) -> str:
    """The table that a person reads."""
    size = Size(**report["size"])
    lines = [
        f"{report['machine']}; {size.threads} threads; {_shape(size)}, vocabulary {size.vocabulary}, batch "
        f"{size.batch} x {size.length}, dropout {size.dropout}, label smoothing {size.label_smoothing}; median of "
        f"{report['rounds']} rounds of {report['steps_a_round']} steps",
        f"{'':20} {'ms a step':>9} {'target tokens/s':>15}   " + "   ".join(f"x {name:22}" for name in THEIRS),
    ]
    for name, side in report["sides"].items():
        ratios = "   ".join(
            "{median:4.2f} ({lowest:4.2f} to {highest:4.2f})  ".format(**side["against"][other]) for other in THEIRS
        )
        lines.append(f"{name:20} {side['milliseconds']:9.0f} {side['target_tokens_per_s']:15,.0f}   {ratios}")
    frameworks = sorted({side["framework"] for side in report["sides"].values()}, reverse=True)
    parameters = report["sides"][PLAIN]["parameters"]
    lines.append(f"{'; '.join(frameworks)}; {parameters:,} parameters on each side")
    return "\n".join([*lines, *filter(None, [report["warning"]])])


if __name__ == "__main__":
    main()
