"""Useful target tokens a second over an epoch, as a share of the bare step's: `python -m tests.benchmarks.epoch`.

An epoch is all that `components.training.train` does with the training rows: reading, arranging, padding, updates,
reports to MLflow and to the terminal, checkpoints. The bare step is the same update of the same model over and over by
one batch without padding. See README.md beside this file.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import json
import pathlib
import statistics
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, NamedTuple

from tests.benchmarks import fovea_side, machine  # the first silences what is imported after it  # isort: skip

import rich.console
import tensorflow as tf

from components import batches, progress, tokenizer, tracking, training
from components.curves import Curves
from components.tracking_store import Store
from models.contract import SOURCE_IDS, TARGET_IDS
from models.zoo import rnn
from tests.benchmarks import sentences

VALIDATION_ROWS = 200  # there must be some; the time that they take does not count
BARE_EVERY, BARE_STEPS = 10, 2  # batches of an epoch, and steps of the bare step in each so many of them


def main() -> None:
    """Measure and print."""
    options = _arguments()
    machine.keep_to(options.threads)
    tf.config.threading.set_intra_op_parallelism_threads(options.threads)
    tf.config.threading.set_inter_op_parallelism_threads(options.threads)
    config = training.Config(
        epochs=1 + options.epochs,  # in the first, shapes are traced or compiled
        patience=1 + options.epochs,
        batches=batches.Config(options.tokens, tuple(options.boundaries)),
        jit_compile=options.jit_compile,
    )
    with tempfile.TemporaryDirectory() as folder:
        report = measure(_rows(options, pathlib.Path(folder)), config, pathlib.Path(folder))
    print(json.dumps(report, indent=2) if options.json else text(report))


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, prog="python -m tests.benchmarks.epoch")
    data = parser.add_mutually_exclusive_group()
    data.add_argument("--examples", nargs="+", metavar="FILE", help="transformed rows, gzipped TFRecord files")
    data.add_argument("--texts", nargs=2, type=pathlib.Path, metavar=("SOURCE", "TARGET"), help="a sentence a line")
    data.add_argument("--rows", type=int, default=sentences.ROWS, help="so many, made up; the default")
    parser.add_argument("--kind", default="bpe", help="of the pieces of --texts")
    parser.add_argument("--vocabulary-size", type=int, default=tokenizer.Pieces.vocabulary_size)
    parser.add_argument("--tokens", type=int, default=batches.Config.tokens, help="budget of a batch")
    parser.add_argument("--boundaries", type=int, nargs="+", default=batches.Config.boundaries, help="padded lengths")
    parser.add_argument("--epochs", type=int, default=2, help="that are measured, after one to warm up")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--jit-compile", action="store_true")
    parser.add_argument("--json", action="store_true")
    return parser.parse_args()


def _rows(options: argparse.Namespace, folder: pathlib.Path) -> sentences.Rows:
    if options.examples:
        return sentences.transformed(options.examples)
    if options.texts:
        return sentences.tokenised(
            options.texts[0], options.texts[1], tokenizer.Pieces(options.kind, options.vocabulary_size), folder
        )
    return sentences.made_up(options.rows, folder)


@dataclasses.dataclass
class Padding:
    """How many cells batches have, and how many of them hold a piece."""

    cells: dict[str, int]
    pieces: dict[str, int]
    number: int  # of batches
    shapes: int  # each is compiled by XLA

    @classmethod
    def of(cls, epoch: Iterable[batches.Batch]) -> Padding:
        """Count."""
        sides = (SOURCE_IDS, TARGET_IDS)
        found = cls(dict.fromkeys(sides, 0), dict.fromkeys(sides, 0), 0, 0)
        shapes = set()
        for batch in epoch:
            found.number += 1
            shapes.add((batch[SOURCE_IDS].shape, batch[TARGET_IDS].shape))
            for side in sides:
                found.cells[side] += batch[side].size
                found.pieces[side] += int((batch[side] != 0).sum())
        found.shapes = len(shapes)
        return found

    def waste(self) -> dict[str, float]:
        """The share of cells that are padding: {"source_ids": 0.07, "target_ids": 0.08, "both": 0.075}."""
        shares = {side: 1 - self.pieces[side] / self.cells[side] for side in self.cells}
        return shares | {"both": 1 - sum(self.pieces.values()) / sum(self.cells.values())}


class Clock:
    """Watches a training through its batches and its validation, and runs the bare step in between.

    So that what the machine does besides falls on both alike, the bare step takes its turn every few batches; neither
    that nor the validation is counted to the epoch.
    """

    def __init__(self, batches_of_epoch: Callable[[int], Iterator[batches.Batch]], bare: Bare) -> None:
        self._batches_of_epoch, self._bare = batches_of_epoch, bare
        self._training = False
        self._began_s = self._elsewhere_s = self._bare_s = 0.0
        self._bare_steps = 0
        self.epoch_seconds: list[float] = []
        self.bare_rates: list[float] = []  # target tokens a second, epoch by epoch

    def of_epoch(self, epoch: int) -> Iterator[batches.Batch]:
        """The batches of an epoch, which starts when the first is asked for."""
        self._began_s, self._elsewhere_s, self._bare_s, self._bare_steps = time.monotonic(), 0.0, 0.0, 0
        for number, batch in enumerate(self._batches_of_epoch(epoch), start=1):
            yield batch
            if self._training and number % BARE_EVERY == 1:
                with self._elsewhere():
                    began_s = time.monotonic()
                    self._bare.steps(BARE_STEPS)
                    self._bare_s += time.monotonic() - began_s
                self._bare_steps += BARE_STEPS

    def validation(self, rows: Iterable[batches.Batch]) -> Iterator[batches.Batch]:
        """The batches of a validation."""
        with self._elsewhere():
            yield from rows

    def began(self, total_steps: int, done_steps: int) -> None:
        """See `components.training.Observer`."""
        self._training = True  # before, batches were only counted

    def step(self, step: int, metrics: dict[str, float]) -> None:
        """See `components.training.Observer`."""

    def epoch(self, step: int, metrics: dict[str, float]) -> None:
        """See `components.training.Observer`; the last of them, so that the work of the others counts."""
        self.epoch_seconds.append(time.monotonic() - self._began_s - self._elsewhere_s)
        self.bare_rates.append(self._bare_steps * self._bare.target_tokens / self._bare_s)

    @contextlib.contextmanager
    def _elsewhere(self) -> Iterator[None]:
        began_s = time.monotonic()
        yield
        self._elsewhere_s += time.monotonic() - began_s


class Bare(NamedTuple):
    """The bare step, and the target tokens of its batch."""

    steps: Callable[[int], float]
    target_tokens: int

    @classmethod
    def of(cls, rows: sentences.Rows, config: training.Config, padding: Padding, count: int) -> Bare:
        """On a full batch of the data's mean lengths, which has no padding."""
        source, target = (round(padding.pieces[side] / count) for side in (SOURCE_IDS, TARGET_IDS))
        shape = config.batches.tokens // max(source, target), target
        batch = fovea_side.full_batch(shape, source, rows.source_vocabulary, rows.target_vocabulary)
        bare = cls(fovea_side.bare_steps(rnn.build(rnn.Config(), *rows[1:]), batch, config), shape[0] * shape[1])
        bare.steps(1)  # traces or compiles
        return bare


def measure(rows: sentences.Rows, config: training.Config, folder: pathlib.Path) -> dict[str, Any]:
    """{"share": ..., "padding": ..., "epochs": [{"target_tokens_per_s", "bare_target_tokens_per_s", "share"}]}."""

    def batches_of_epoch(epoch: int) -> Iterator[batches.Batch]:
        return batches.training(rows.files, config.batches, config.seed, epoch)

    padding = Padding.of(batches_of_epoch(0))
    count = sum(len(pool[TARGET_IDS].lengths) for pool in batches.pools(rows.files, config.batches.pool_rows))
    clock = Clock(batches_of_epoch, Bare.of(rows, config, padding, count))
    store = Store(f"sqlite:///{folder}/mlflow.db", str(folder / "artifacts"), "benchmark", str(folder / "state"))
    curves = Curves(tracking.open_run(store, "benchmark", {}, {}))
    validation = list(batches.sample(rows.files, config.batches, VALIDATION_ROWS))
    others, own_cpu_s = machine.Others(), machine.own_cpu_s()
    with progress.TrainingBar(rich.console.Console(stderr=True)) as bar:
        training.train(
            rnn.build(rnn.Config(), *rows[1:]),
            clock.of_epoch,
            lambda: clock.validation(validation),
            config,
            folder / "checkpoints",
            observers=[bar, curves, clock],
        )
    others.own(machine.own_cpu_s() - own_cpu_s)
    epochs = list(_epochs(clock, padding.pieces[TARGET_IDS]))[1:]
    return {
        "machine": machine.name(),
        "framework": f"TensorFlow {tf.__version__}",
        "rows": count,
        "vocabularies": rows[1:],
        "jit_compile": config.jit_compile,
        "batches": dataclasses.asdict(config.batches) | {"an_epoch": padding.number, "shapes": padding.shapes},
        "padding": padding.waste(),
        "first_epoch_seconds": clock.epoch_seconds[0],
        "epochs": epochs,
        "share": statistics.median(epoch["share"] for epoch in epochs),
        "warning": others.warning(),
    }


def _epochs(clock: Clock, target_tokens: int) -> Iterator[dict[str, float]]:
    """Each epoch's figures."""
    for seconds, bare in zip(clock.epoch_seconds, clock.bare_rates, strict=True):
        rate = target_tokens / seconds
        yield {
            "seconds": seconds,
            "target_tokens_per_s": rate,
            "bare_target_tokens_per_s": bare,
            "share": rate / bare,
        }


def text(report: Mapping[str, Any]) -> str:
    """What a person reads."""
    made, padding = report["batches"], report["padding"]
    lines = [
        f"{report['machine']}; {report['framework']}, jit_compile {report['jit_compile']}; {report['rows']:,} rows, "
        f"vocabularies {report['vocabularies'][0]:,} and {report['vocabularies'][1]:,}",
        f"{made['an_epoch']} batches of {made['tokens']:,} tokens in {made['shapes']} shapes; padding "
        f"{padding['both']:.1%} (source {padding[SOURCE_IDS]:.1%}, target {padding[TARGET_IDS]:.1%})",
        f"first epoch, with tracing or compilation: {report['first_epoch_seconds']:.0f} s",
    ]
    lines += [
        "epoch of {seconds:.0f} s: {target_tokens_per_s:,.0f} useful target tokens/s, bare step "
        "{bare_target_tokens_per_s:,.0f}: {share:.1%}".format(**epoch)
        for epoch in report["epochs"]
    ]
    return "\n".join([*lines, f"share of the bare step: {report['share']:.1%}", *filter(None, [report["warning"]])])


if __name__ == "__main__":
    main()
