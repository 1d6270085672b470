"""One pipeline run, from a configuration to a result: what `fovea run` does."""

from __future__ import annotations

import dataclasses
import datetime
import pathlib
import shutil
import time

import rich.console
from tfx.orchestration import pipeline

from components import alignment, system_metrics, tracking
from components.evaluator import Aligned, Verdict, read_alignments
from components.example_gen import REJECTED
from components.example_gen_component import REJECTED_FILE
from components.row_verdict import Verdict as RowVerdict
from components.serving_check import SKIPPED
from components.serving_check import Verdict as Served
from models.contract import SPLITS
from pipeline import config as configuration
from pipeline import console, faults, graph, report, sync, tracked
from pipeline.home import Home
from pipeline.result import Result, Run
from pipeline.runners import local


def execute(config: configuration.Config, home: Home, out: rich.console.Console) -> Run:
    """Run the pipeline, report on `out` as it goes, and keep track of it in MLflow."""
    with home.alone(config.name), faults.told_plainly(home):
        pipeline_run_id = datetime.datetime.now().isoformat(timespec="milliseconds")
        run = tracked.open_run(config, home, pipeline_run_id)
        with tracking.closed_at_the_end(run), system_metrics.sampled(run):
            finished = run_components(graph.build(config, home), config, home, run, out)
            concluded = _conclude(config, home, run.id, finished)
            tracked.conclude(run, concluded, finished)
            _report(tracked.without_password(config), run, concluded.result, finished)
        known_as = sync.complete(home, config.name).completed.get(run.key, concluded.result.mlflow_run_id)
        return concluded._replace(result=dataclasses.replace(concluded.result, mlflow_run_id=known_as))


def run_components(
    components: pipeline.Pipeline,
    config: configuration.Config,
    home: Home,
    run: tracking.Run,
    out: rich.console.Console,
) -> dict[str, local.Finished]:
    """Run the components of a graph, report on `out` and in MLflow as they go -> what each made, by its id."""
    finished: dict[str, local.Finished] = {}
    tracker = tracked.Tracker(config, home, run)
    current, began_s = "Graph", time.monotonic()
    try:
        for event in local.run(components, run.journal.facts["pipeline_run_id"], config.retries):
            current, began_s = event.name, time.monotonic()
            console.report(out, event)
            tracker.follow(event)
            if isinstance(event, local.Finished):
                finished[event.name] = event
                if event.name == "Trainer" and not event.cached:  # it is in ML Metadata: nothing goes on from them
                    shutil.rmtree(home.checkpoints(config.name), ignore_errors=True)
    except Exception as error:
        out.print(f"  [red]✗[/] [bold]{current}[/] failed")
        tracker.failed(current, time.monotonic() - began_s, error)
        raise
    finally:
        tracked.link(home, run)
    return finished


def _conclude(config: configuration.Config, home: Home, run_id: str, finished: dict[str, local.Finished]) -> Run:
    evaluation = local.folder(finished["Evaluator"].outputs, "evaluation")
    verdict = Verdict.read(evaluation)
    served = Served.read(local.folder(finished["ServingValidator"].outputs, "blessing"))
    (pushed,) = finished["Pusher"].outputs["pushed_model"]
    (rejected,) = finished["ExampleGen"].outputs["rejected"]
    is_pushed = pushed.get_int_custom_property("pushed") == 1
    checks = RowVerdict.read(local.folder(finished["SequenceValidator"].outputs, "checks"))
    result = Result(
        name=config.name,
        blessed=verdict.blessed and served.blessed,
        reasons=(() if served == SKIPPED else served.reasons) + verdict.reasons,
        warnings=tuple(check.words() for check in checks.of_state("warning")) + verdict.warnings,
        model_path=pushed.get_string_custom_property("pushed_destination") if is_pushed else None,
        version=pushed.get_string_custom_property("pushed_version") if is_pushed else None,
        mlflow_run_id=run_id,
        report_path=str(home.reports(config.name) / report.FILE),
        rows={name: rejected.get_int_custom_property(f"rows_{name}") for name in (*SPLITS, REJECTED)},
        metrics=verdict.metrics,
        signatures=verdict.signatures,
        seconds={name: round(event.seconds, 2) for name, event in finished.items()},
        cached=tuple(name for name, event in finished.items() if event.cached),
    )
    samples = tuple(read_alignments(evaluation))
    folder = home.reports(config.name)
    folder.mkdir(parents=True, exist_ok=True)
    return Run(result, samples, _draw(samples, folder), pathlib.Path(rejected.uri) / REJECTED_FILE)


def _draw(samples: tuple[Aligned, ...], folder: pathlib.Path) -> tuple[pathlib.Path, ...]:
    pictures = []
    for number, sample in enumerate(samples, start=1):
        path = folder / f"alignment-{number}.png"
        alignment.png(sample.source_pieces, sample.target_pieces, sample.weights(), path, title=sample.source)
        pictures.append(path)
    return tuple(pictures)


def _report(
    config: configuration.Config, run: tracking.Run, result: Result, finished: dict[str, local.Finished]
) -> None:
    """Write the page of the run."""
    material = report.Material.of(
        run.history, config, result, lambda component, output: finished[component].outputs[output][0]
    )
    path = pathlib.Path(result.report_path)
    report.write(material, path)
    run.file(path)
