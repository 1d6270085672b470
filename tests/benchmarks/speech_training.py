"""A training step on recordings against plain PyTorch's: `python -m tests.benchmarks.speech_training`.

Each side in a process of its own, on the same processors, taking turns round by round. What each computes is not the
same: see `SIDES` and README.md.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import json
import statistics
import sys
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from tests.benchmarks import machine
from tests.benchmarks.speech_size import Size
from tests.benchmarks.training_step import require_torch, speed_ratio, take_turns
from tests.benchmarks.worker import Worker

BAR = 1.0  # of stacks of the same size


class Side(NamedTuple):
    """What takes turns."""

    does: str  # the rows of the table
    theirs: bool
    options: Mapping[str, Any]
    extra: str = ""  # on demand: `--also`


WHOLE, ALONE, PLAIN = "Fovea, las", "Fovea, listener", "PyTorch"
FROM_WAVEFORMS = "log-mel, listener, speller, CTC + attention, clipping, Adam"
FROM_FEATURES = "BLSTM stack, projection, CTC, Adam"
SIDES = {
    WHOLE: Side(FROM_WAVEFORMS, False, {"part": "whole"}),
    ALONE: Side(FROM_FEATURES, False, {"part": "listener"}),
    PLAIN: Side(FROM_FEATURES, True, {}),
    "PyTorch, fused Adam": Side(FROM_FEATURES, True, {"fused": True}),
    "las, jit_compile": Side(FROM_WAVEFORMS, False, {"part": "whole", "jit_compile": True}, "jit_compile"),
    "listener, jit_compile": Side(FROM_FEATURES, False, {"part": "listener", "jit_compile": True}, "jit_compile"),
    "las, bfloat16": Side(FROM_WAVEFORMS, False, {"part": "whole", "precision": "mixed_bfloat16"}, "bfloat16"),
    "listener, bfloat16": Side(FROM_FEATURES, False, {"part": "listener", "precision": "mixed_bfloat16"}, "bfloat16"),
    "PyTorch, bfloat16": Side(FROM_FEATURES, True, {"autocast": True}, "bfloat16"),
}


def main() -> None:
    """Measure and print."""
    options = _arguments()
    require_torch(options.torch_python)
    machine.keep_to(options.threads)
    sides = {name: side for name, side in SIDES.items() if not side.extra or side.extra in options.also}
    size = Size(threads=options.threads)
    report = measure(sides, size, options.torch_python, options.rounds, options.steps)
    print(json.dumps(report, indent=2) if options.json else text(report))


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, prog="python -m tests.benchmarks.speech_training")
    parser.add_argument("--torch-python", default=sys.executable, help="an interpreter that has PyTorch")
    parser.add_argument("--also", nargs="*", choices=["jit_compile", "bfloat16"], default=[], help="more sides")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--steps", type=int, default=3, help="of each side in a round")
    parser.add_argument("--threads", type=int, default=Size.threads)
    parser.add_argument("--json", action="store_true")
    return parser.parse_args()


def measure(sides: Mapping[str, Side], size: Size, torch_python: str, rounds: int, steps: int) -> dict[str, Any]:
    """{"size": ..., "sides": {name: {"does", "milliseconds", "audio_s_per_s", "against": {side of PyTorch: ...}}}}."""
    with contextlib.ExitStack() as ended:
        workers: dict[str, Worker] = {}
        for name, side in sides.items():
            asked = {"size": dataclasses.asdict(size), "options": dict(side.options)}
            interpreter = torch_python if side.theirs else sys.executable
            module = "tests.benchmarks.speech_torch_side" if side.theirs else "tests.benchmarks.speech_fovea_side"
            workers[name] = Worker(interpreter, module, size.threads, asked)
            ended.callback(workers[name].close)
        _require_same_size({n: workers[n].facts["parameters"] for n in sides if sides[n].does == FROM_FEATURES})
        others = machine.Others()
        seconds, losses = take_turns(workers, rounds, steps, others)
        return {
            "machine": machine.name(),
            "size": dataclasses.asdict(size),
            "rounds": rounds,
            "steps_a_round": steps,
            "warning": others.warning(),
            "sides": {
                name: {"does": sides[name].does, **workers[name].facts, "loss": losses[name]}
                | _figures(seconds[name], {other: seconds[other] for other in sides if sides[other].theirs}, size)
                for name in sides
            },
        }


def _require_same_size(parameters: Mapping[str, int]) -> None:
    if len(set(parameters.values())) > 1:
        raise RuntimeError(f"the stacks must have as many parameters as each other, got {parameters}")


def _figures(seconds: Sequence[float], theirs: Mapping[str, Sequence[float]], size: Size) -> dict[str, Any]:
    """Of a side: medians over the rounds, and its speed over that of each of PyTorch's in the same round."""
    median_s = statistics.median(seconds)
    return {
        "milliseconds": 1000 * median_s,
        "audio_s_per_s": size.audio_s / median_s,
        "against": {name: speed_ratio(seconds, other) for name, other in theirs.items()},
    }


def text(report: Mapping[str, Any]) -> str:
    """The table that a person reads."""
    size, sides = Size(**report["size"]), report["sides"]
    against = list(sides[PLAIN]["against"])
    lines = [
        f"{report['machine']}; {size.threads} threads; {size.batch} recordings of {size.seconds:g} s, {size.pieces} "
        f"pieces each, vocabulary {size.vocabulary}; {size.layers} x {size.units} units, pairs joined after layers "
        f"{list(size.reduce_after)}; median of {report['rounds']} rounds of {report['steps_a_round']} steps",
        f"{'':22} {'ms a step':>9} {'audio s/s':>9} {'parameters':>10}   " + " ".join(f"x {n:22}" for n in against),
    ]
    for name, side in sides.items():
        ratios = " ".join(
            "{median:4.2f} ({lowest:4.2f} to {highest:4.2f})  ".format(**side["against"][n]) for n in against
        )
        figures = f"{side['milliseconds']:9.0f} {side['audio_s_per_s']:9.1f} {side['parameters']:10,}"
        lines.append(f"{name:22} {figures}   {ratios}  {side['does']}")
    ratio = sides[ALONE]["against"][PLAIN]["median"]
    verdict = "met" if ratio >= BAR else "NOT MET"
    lines += [
        f"stacks of the same size, {ALONE} against {PLAIN}: {ratio:.2f}x, bar {BAR:g}x: {verdict}",
        f"{WHOLE}, which computes more, against {PLAIN}: {sides[WHOLE]['against'][PLAIN]['median']:.2f}x",
        "; ".join(sorted({side["framework"] for side in sides.values()}, reverse=True)),
    ]
    return "\n".join([*lines, *filter(None, [report["warning"]])])


if __name__ == "__main__":
    main()
