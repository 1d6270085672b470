"""What tracking costs a training: `python -m tests.benchmarks.tracking`.

The same updates of the same model by the same batch take turns: one turn is followed by MLflow's learning curves, in a
new SQLite store, and by the machine's metrics, the other by nothing. See README.md beside this file.
"""

from __future__ import annotations

import argparse
import json
import pathlib
import statistics
import tempfile
import time
from collections.abc import Mapping
from typing import Any

from tests.benchmarks import fovea_side, machine  # the first silences what is imported after it  # isort: skip

import tensorflow as tf

from components import system_metrics, tracking, training
from components.curves import Curves
from components.tracking_store import Store
from models.zoo import rnn

VOCABULARY = 5_000
LENGTH = 16


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, prog="python -m tests.benchmarks.tracking")
    parser.add_argument("--turns", type=int, default=8, help="of each")
    parser.add_argument("--steps", type=int, default=100, help="of a turn; a point of the curves every 25")
    parser.add_argument("--rows", type=int, default=64, help="of the batch: the fewer, the more tracking a second")
    parser.add_argument("--units", type=int, default=rnn.Config.units)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    machine.keep_to(options.threads)
    tf.config.threading.set_intra_op_parallelism_threads(options.threads)
    tf.config.threading.set_inter_op_parallelism_threads(options.threads)
    with tempfile.TemporaryDirectory() as folder:
        report = measure(options, pathlib.Path(folder))
    print(json.dumps(report, indent=2) if options.json else text(report))


def measure(options: argparse.Namespace, folder: pathlib.Path) -> dict[str, Any]:
    """{"tracked_s": [seconds of a turn, ...], "plain_s": [...], "overhead": 0.004, ...}."""
    config = training.Config()
    model = rnn.build(rnn.Config(units=options.units), VOCABULARY, VOCABULARY)
    batch = fovea_side.full_batch((options.rows, LENGTH), LENGTH, VOCABULARY, VOCABULARY)
    steps = fovea_side.bare_steps(model, batch, config)
    store = Store(f"sqlite:///{folder}/mlflow.db", str(folder / "artifacts"), "benchmark", str(folder / "state"))
    run, done = tracking.open_run(store, "benchmark", {}, {}), 0
    curves = Curves(run)

    def plain() -> float:
        began_s = time.monotonic()
        for _ in range(0, options.steps, config.report_steps):
            steps(config.report_steps)
        return time.monotonic() - began_s

    def tracked() -> float:
        nonlocal done
        began_s = time.monotonic()
        with system_metrics.sampled(run):  # logs once at its end, too: oftener than in a run
            for _ in range(0, options.steps, config.report_steps):
                loss, done = steps(config.report_steps), done + config.report_steps
                curves.step(done, dict.fromkeys(("loss", "accuracy", "learning_rate", "gradient_norm"), loss))
        return time.monotonic() - began_s

    plain(), tracked()  # traces or compiles, and imports
    others, own_cpu_s = machine.Others(), machine.own_cpu_s()
    pairs = [(plain(), tracked()) for _ in range(options.turns)]
    others.own(machine.own_cpu_s() - own_cpu_s)
    return {
        "machine": machine.name(),
        "framework": f"TensorFlow {tf.__version__}",
        "rows": options.rows,
        "steps": options.steps,
        "plain_s": [pair[0] for pair in pairs],
        "tracked_s": [pair[1] for pair in pairs],
        "overhead": statistics.median(pair[1] / pair[0] for pair in pairs) - 1,
        "overhead_of_all": sum(pair[1] for pair in pairs) / sum(pair[0] for pair in pairs) - 1,
        "warning": others.warning(),
    }


def text(report: Mapping[str, Any]) -> str:
    """What a person reads."""
    plain_ms, tracked_ms = (
        1000 * statistics.median(report[name]) / report["steps"] for name in ("plain_s", "tracked_s")
    )
    lines = [
        f"{report['machine']}; {report['framework']}; batches of {report['rows']} x {LENGTH} pieces",
        f"{len(report['plain_s'])} turns of {report['steps']} steps: {plain_ms:.2f} ms each; tracked {tracked_ms:.2f}",
        f"overhead of tracking: {report['overhead']:.2%} (median of turns), {report['overhead_of_all']:.2%} (all)",
    ]
    return "\n".join([*lines, *filter(None, [report["warning"]])])


if __name__ == "__main__":
    main()
