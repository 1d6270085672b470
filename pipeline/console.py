"""What a run looks like in a terminal: a line a component, and one summary at the end."""

from __future__ import annotations

import json
import pathlib
import typing
from collections.abc import Callable

import rich.box
import rich.console
import rich.panel
import rich.table
import rich.text
from rich.markup import escape

from components import alignment, attention_signal
from components.evaluator import Verdict
from components.example_gen import REJECTED
from components.registrar_component import REGISTERED_VERSION
from components.row_verdict import Verdict as RowVerdict
from components.serving_check import Verdict as Served
from components.training import OUTCOME_FILE
from models.contract import SPLITS
from pipeline.report import figures
from pipeline.result import Run
from pipeline.runners import local

SHOWN_WORDS = 3
FOR_EXPERTS = attention_signal.NAMES  # neither good nor bad by themselves


def report(out: rich.console.Console, event: local.Event) -> None:
    """One line of progress: a component began, failed, or what it made and in which time."""
    if isinstance(event, local.Failed):
        told = (
            f"  [yellow]↻[/] [bold]{event.name:<20}[/]{event.seconds:6.1f} s   {escape(str(event.error))}: tried again"
        )
        out.print(told, soft_wrap=True)
        return
    if isinstance(event, local.Starting):
        if out.is_terminal:
            out.print(f"  [dim]▸ {event.name}[/]", end="\r")
        return
    made = DESCRIPTIONS[event.name](event.outputs) if event.name in DESCRIPTIONS else ""
    time = "  cached" if event.cached else f"{event.seconds:6.1f} s"
    style = "dim" if event.cached else "bold"
    line = rich.text.Text.assemble("  ", ("✓", "green"), " ", (f"{event.name:<20}", style), f"{time}   ", made)
    out.print(line, soft_wrap=True)


def _property(artifacts: typing.Any, name: str) -> typing.Any:
    artifact = artifacts[0]
    return artifact.get_int_custom_property(name) or artifact.get_string_custom_property(name) or 0


def _rows(outputs: local.Outputs) -> str:
    counts = {name: _property(outputs["rejected"], f"rows_{name}") for name in (*SPLITS, REJECTED)}
    return "rows: " + ", ".join(f"{count:,} {name}" for name, count in counts.items())


def _vocabularies(outputs: local.Outputs) -> str:
    sizes = [_property(outputs["tokenizer"], f"{side}_size") for side in ("source", "target")]
    return f"{sizes[0]:,} source pieces, {sizes[1]:,} target pieces" if sizes[0] else f"{sizes[1]:,} target pieces"


def _earlier(outputs: local.Outputs) -> str:
    return "data of an earlier run to compare with" if outputs.get("previous") else "no earlier data to compare with"


def _checks(outputs: local.Outputs) -> str:
    verdict = RowVerdict.read(pathlib.Path(outputs["checks"][0].uri))
    warnings = verdict.of_state("warning")
    if not warnings:
        return f"{len(verdict.checks)} checks of rows as sequences, nothing to warn of"
    more = f" (and {len(warnings) - 1} more)" if warnings[1:] else ""
    return f"{warnings[0].words()}{more}"


def _training(outputs: local.Outputs) -> str:
    outcome = json.loads((pathlib.Path(outputs["model_run"][0].uri) / OUTCOME_FILE).read_text())
    text = f"{outcome['steps']:,} steps, {outcome['epochs']} epochs, validation loss {outcome['validation_loss']:.4f}"
    return text if outcome["weights"].startswith("epoch") else f"{text} with the {outcome['weights']}"


def _champion(outputs: local.Outputs) -> str:
    return f"model {outputs['model'][0].id} is the one to beat" if outputs.get("model") else "no blessed model to beat"


def _evaluation(outputs: local.Outputs) -> str:
    verdict = Verdict.read(pathlib.Path(outputs["evaluation"][0].uri))
    return f"{verdict.rows:,} test rows: {'blessed' if verdict.blessed else 'not blessed'}"


def _served(outputs: local.Outputs) -> str:
    verdict = Served.read(pathlib.Path(outputs["blessing"][0].uri))
    if not verdict.blessed:
        return verdict.reasons[0]
    return f"{verdict.rows:,} test rows answered alike over gRPC and REST, {verdict.latency_ms:.3g} ms a row"


def _push(outputs: local.Outputs) -> str:
    pushed = _property(outputs["pushed_model"], "pushed") == 1
    return f"version {_property(outputs['pushed_model'], 'pushed_version')}" if pushed else "nothing pushed"


def _registration(outputs: local.Outputs) -> str:
    version = _property(outputs["registration"], REGISTERED_VERSION)
    return f"version {version} in MLflow" if version else "nothing registered"


# What each component made, in a few words, from its output artifacts.
DESCRIPTIONS: dict[str, Callable[[local.Outputs], str]] = {
    "ExampleGen": _rows,
    "StatisticsGen": lambda outputs: "statistics of each split",
    "SchemaGen": lambda outputs: "schema of the training rows",
    "ExampleValidator": lambda outputs: "no anomalies",
    "Tokenizer": _vocabularies,
    "EarlierData": _earlier,
    "SequenceValidator": _checks,
    "Transform": lambda outputs: "rows as pieces, and the graph that makes them",
    "Trainer": _training,
    "Tuner": lambda outputs: "the trials of the search",
    "Champion": _champion,
    "Evaluator": _evaluation,
    "ServingValidator": _served,
    "Pusher": _push,
    "Registrar": _registration,
}


def summarize(out: rich.console.Console, run: Run, seconds: float) -> None:
    """The end of a run: what came of it, a few words that it never saw in training, and where it looked."""
    result = run.result
    table = rich.table.Table(box=None, show_header=False, padding=(0, 2, 0, 0))
    table.add_column(style="bold", no_wrap=True)
    table.add_column(overflow="fold")
    kept = sum(count for name, count in result.rows.items() if name != "rejected")
    rejected = result.rows["rejected"]
    where = f" ({escape(str(run.dead_letters))})" if rejected else ""
    table.add_row("rows", f"{kept + rejected:,} in, {rejected:,} rejected{where}")
    for name, value in result.metrics.items():
        if name not in FOR_EXPERTS:
            computed = f"  [dim]{escape(result.signatures[name])}[/]" if name in result.signatures else ""
            table.add_row(f"test {name.replace('_', ' ')}", figures.figure(value, name) + computed)
    if result.warnings:
        table.add_row("warnings", "\n".join(map(escape, result.warnings)))
    verdict = "[green]blessed[/]" if result.blessed else "[yellow]not blessed[/]"
    table.add_row("verdict", "\n".join([verdict, *map(escape, result.reasons)]))
    table.add_row("model", escape(result.model_path) if result.model_path else "not pushed")
    table.add_row("page", escape(result.report_path))
    table.add_row("MLflow run", f"{result.mlflow_run_id} (fovea ui)")
    if result.cached:
        table.add_row("reused", ", ".join(result.cached))
    for sample in run.samples[:SHOWN_WORDS]:
        mark = "[green]✓[/]" if sample.right else f"[yellow]✗[/] [dim]{escape(' | '.join(sample.references))}[/]"
        table.add_row("never seen", f"{escape(sample.source)} → {escape(sample.prediction)} {mark}")
    out.print()
    out.print(rich.panel.Panel(table, title=f"{result.name} · {seconds:.0f} s", box=rich.box.ROUNDED, expand=False))
    if run.samples:
        sample = run.samples[0]
        if alignment.fits(sample.source_pieces):
            out.print(alignment.text(sample.source_pieces, sample.target_pieces, sample.weights()), markup=False)
        out.print(f"attention of {sample.source!r}: {run.pictures[0]}", soft_wrap=True, markup=False)
