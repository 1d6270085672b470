"""The page of a run: one HTML file that needs nothing else, with what people ask of a run, the verdict first.

`Material` is what a page shows, read from the artifacts and from MLflow; `page.html` is how. Text of the data is text:
everything that the template puts in is escaped.
"""

from __future__ import annotations

import dataclasses
import itertools
import pathlib
import typing
from collections.abc import Callable, Sequence

import jinja2
import yaml

from components import attention_watch, row_verdict, serving_check
from components.attention_watch import Epoch
from components.evaluator import Aligned, Verdict, read_alignments, read_predictions
from components.row_checks import Finding
from components.trainer_component import MLFLOW_RUN_ID
from models.contract import SPLITS
from pipeline import config as configuration
from pipeline import graph
from pipeline.report import charts, figures
from pipeline.result import Result

FILE = "report.html"
LISTED = 12  # rows of a kind that the page lists; the artefacts have them all
STATES = ("fine", "warning", "failed")
WATCHED = 2  # rows whose alignments are shown through the epochs

# What is drawn: title, and what MLflow calls the curves in it.
CURVES = (
    ("Loss, nats a piece", ("training/loss", "validation/loss")),
    ("Pieces right under teacher forcing", ("validation/piece_accuracy",)),
    ("Learning rate", ("training/learning_rate",)),
    ("Attention: entropy, nats", ("validation/attention_entropy",)),
    (
        "Attention: diagonality, coverage gap, peak",
        ("validation/attention_diagonality", "validation/attention_coverage_gap", "validation/attention_peak"),
    ),
)


@dataclasses.dataclass(frozen=True)
class Material:
    """What a page shows."""

    result: Result
    config: configuration.Config
    verdict: Verdict
    served: serving_check.Verdict
    checks: row_verdict.Verdict
    findings: Sequence[Finding]
    predictions: Sequence[dict[str, typing.Any]]
    samples: Sequence[Aligned]
    epochs: Sequence[Epoch]
    curves: dict[str, list[tuple[int, float]]]  # by MLflow's name, (step, value)

    @classmethod
    def of(
        cls,
        history: Callable[[str, str], list[tuple[int, float]]],
        config: configuration.Config,
        result: Result,
        only: Callable[[str, str], typing.Any],
    ) -> Material:
        """Read it.

        Args:
            history: (run of MLflow, metric) -> its points.
            config: of the run.
            result: what the run came to.
            only: (component, output) -> its artifact.
        """
        evaluation = pathlib.Path(only("Evaluator", "evaluation").uri)
        checks = pathlib.Path(only("SequenceValidator", "checks").uri)
        trained_in = only("Trainer", "model").get_string_custom_property(MLFLOW_RUN_ID)  # not this run, if cached
        return cls(
            result=result,
            config=config,
            verdict=Verdict.read(evaluation),
            served=serving_check.Verdict.read(pathlib.Path(only("ServingValidator", "blessing").uri)),
            checks=row_verdict.Verdict.read(checks),
            findings=list(row_verdict.read_findings(checks)),
            predictions=list(read_predictions(evaluation)),
            samples=list(read_alignments(evaluation)),
            epochs=attention_watch.read(pathlib.Path(only("Trainer", "model_run").uri) / attention_watch.WATCH_FILE),
            curves={name: history(trained_in, name) for _, names in CURVES for name in names},
        )


def write(material: Material, path: pathlib.Path) -> None:
    """Write the page."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(render(material))


def render(material: Material) -> str:
    """The page as HTML."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(pathlib.Path(__file__).parent),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"figure": figures.figure, "label": figures.label, "words": figures.words}
    return environment.get_template("page.html").render(
        material=material,
        result=material.result,
        verdict=material.verdict,
        charts=_charts(material),
        intervals=charts.intervals(material.verdict.differences),
        slices=figures.slices(material.verdict),
        splits=SPLITS,
        checks=_checks(material.checks),
        findings=_findings(material.findings),
        worst=figures.worst(material.predictions, graph.token_unit(material.config), LISTED),
        changed=figures.changed(material.predictions, LISTED),
        heatmaps=[
            (sample, charts.heatmap(sample.source_pieces, sample.target_pieces, sample.attention))
            for sample in material.samples
        ],
        watched=_watched(material.epochs),
        settings=yaml.safe_dump(
            configuration.to_document(material.config), sort_keys=False, allow_unicode=True, width=100
        ),
    )


def _charts(material: Material) -> list[charts.Chart]:
    drawn = (
        charts.line_chart(title, {name: material.curves[name] for name in names if material.curves.get(name)})
        for title, names in CURVES
    )
    return [chart for chart in drawn if chart]


def _checks(verdict: row_verdict.Verdict) -> list[tuple[str, dict[str, row_verdict.Check], str]]:
    """A line a kind: its checks by split, and the worst state of them."""
    by_kind: dict[str, dict[str, row_verdict.Check]] = {}
    for check in verdict.checks:
        by_kind.setdefault(check.kind, {})[check.split] = check
    return [
        (kind, of_splits, max((check.state for check in of_splits.values()), key=STATES.index))
        for kind, of_splits in by_kind.items()
    ]


def _findings(found: Sequence[Finding]) -> dict[str, list[Finding]]:
    """The first of each kind."""
    kinds = {finding.kind for finding in found}
    return {kind: [each for each in found if each.kind == kind][:LISTED] for kind in sorted(kinds)}


def _watched(epochs: Sequence[Epoch]) -> list[tuple[str, list[tuple[int, charts.Heatmap]]]]:
    """For a few rows the alignments of a few epochs, the first and the last among them."""
    if not epochs:
        return []
    step = max(1, -(-len(epochs) // 8))
    chosen = list({epoch.epoch: epoch for epoch in itertools.chain(epochs[::step], epochs[-1:])}.values())
    rows = []
    for number, row in enumerate(epochs[-1].rows[-WATCHED:], start=len(epochs[-1].rows) - WATCHED):
        if number < 0:
            continue
        pieces = row["source_pieces"], row["target_pieces"]
        maps = [(epoch.epoch, charts.heatmap(*pieces, epoch.rows[number]["attention"], cell=9)) for epoch in chosen]
        rows.append((" ".join(map(figures.label, pieces[0][:-1])), maps))
    return rows
