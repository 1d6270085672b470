"""One pipeline run, from a configuration to a result: what `fovea run` does."""

from __future__ import annotations

import dataclasses
import datetime
import json
import pathlib
import typing

import rich.console
import yaml
from tfx.orchestration import pipeline

from components import alignment, tracking
from components.evaluator import (
    ALIGNMENTS_FILE,
    PREDICTIONS_FILE,
    VERDICT_FILE,
    Aligned,
    Verdict,
    read_alignments,
)
from components.example_gen import REJECTED
from components.example_gen_component import REJECTED_FILE
from components.row_verdict import CHECKS_FILE, FINDINGS_FILE
from components.row_verdict import Verdict as RowVerdict
from components.serving_check import SKIPPED
from components.serving_check import VERDICT_FILE as SERVING_FILE
from components.serving_check import Verdict as Served
from components.trainer_component import MLFLOW_RUN_ID
from components.training import OUTCOME_FILE
from models.contract import SPLITS
from pipeline import config as configuration
from pipeline import console, graph, report
from pipeline.home import Home
from pipeline.result import Result, Run
from pipeline.runners import local


def execute(config: configuration.Config, home: Home, out: rich.console.Console) -> Run:
    """Run the pipeline, report on `out` as it goes, and keep track of it in MLflow."""
    with home.alone(config.name):
        pipeline_run_id = datetime.datetime.now().isoformat(timespec="milliseconds")
        store = home.tracking(config.name, config.tracking_uri)
        run_id = tracking.open_run(store, pipeline_run_id, {"fovea.name": config.name}, configuration.to_flat(config))
        with tracking.closed_at_the_end(store, run_id):
            finished = run_components(graph.build(config, home), pipeline_run_id, out)
            run = _conclude(config, home, run_id, finished)
            _log(store.client(), run_id, config, run, finished)
            return run


def run_components(
    components: pipeline.Pipeline, pipeline_run_id: str, out: rich.console.Console
) -> dict[str, local.Finished]:
    """Run the components of a graph, and report on `out` as they go -> what each made, by its id."""
    finished: dict[str, local.Finished] = {}
    current = "Graph"
    try:
        for event in local.run(components, pipeline_run_id):
            current = event.name
            console.report(out, event)
            if isinstance(event, local.Finished):
                finished[event.name] = event
    except Exception:
        out.print(f"  [red]✗[/] [bold]{current}[/] failed")
        raise
    return finished


def _conclude(config: configuration.Config, home: Home, run_id: str, finished: dict[str, local.Finished]) -> Run:
    evaluation = _uri(finished["Evaluator"], "evaluation")
    verdict = Verdict.read(evaluation)
    served = Served.read(_uri(finished["ServingValidator"], "blessing"))
    (pushed,) = finished["Pusher"].outputs["pushed_model"]
    (rejected,) = finished["ExampleGen"].outputs["rejected"]
    is_pushed = pushed.get_int_custom_property("pushed") == 1
    checks = RowVerdict.read(_uri(finished["SequenceValidator"], "checks"))
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


def _log(
    client: typing.Any,
    run_id: str,
    config: configuration.Config,
    run: Run,
    finished: dict[str, local.Finished],
) -> None:
    """What MLflow keeps of the run beside the learning curves, which the Trainer logs."""
    evaluation = _uri(finished["Evaluator"], "evaluation")
    tracking.log_metrics(client, run_id, {f"test/{name}": value for name, value in run.result.metrics.items()})
    for metric, difference in Verdict.read(evaluation).differences.items():
        ends = {f"compare/{metric}/{end}": getattr(difference, end) for end in ("champion", "low", "high")}
        tracking.log_metrics(client, run_id, ends)
    tracking.log_parameters(client, run_id, {f"rows.{name}": str(count) for name, count in run.result.rows.items()})
    (model,) = finished["Trainer"].outputs["model"]
    tags = {
        "fovea.blessed": str(run.result.blessed).lower(),
        "fovea.verdict": Verdict.read(evaluation).words(),
        "fovea.model_path": run.result.model_path or "",
        "fovea.cached": ", ".join(run.result.cached),
        "fovea.trained_in_run": model.get_string_custom_property(MLFLOW_RUN_ID),
    }
    tags |= {f"sacrebleu.{name}": signature for name, signature in run.result.signatures.items()}
    for event in finished.values():
        for key, artifacts in event.outputs.items():
            tags[f"mlmd.{event.name}.{key}"] = ", ".join(str(artifact.id) for artifact in artifacts)
    tracking.set_tags(client, run_id, tags)
    client.log_text(run_id, yaml.safe_dump(configuration.to_document(config), sort_keys=False), "config.yaml")
    client.log_text(run_id, json.dumps(dataclasses.asdict(run.result), indent=2), "result.json")
    for name in (PREDICTIONS_FILE, ALIGNMENTS_FILE, VERDICT_FILE):
        client.log_artifact(run_id, str(evaluation / name), "evaluation")
    client.log_artifact(run_id, str(_uri(finished["ServingValidator"], "blessing") / SERVING_FILE), "evaluation")
    for name in (CHECKS_FILE, FINDINGS_FILE):
        client.log_artifact(run_id, str(_uri(finished["SequenceValidator"], "checks") / name), "data")
    client.log_artifact(run_id, str(run.dead_letters))
    client.log_artifact(run_id, str(_uri(finished["Trainer"], "model_run") / OUTCOME_FILE))
    report.write(
        report.Material.of(
            client, config, run.result, lambda component, output: finished[component].outputs[output][0]
        ),
        pathlib.Path(run.result.report_path),
    )
    client.log_artifact(run_id, run.result.report_path)
    for picture in run.pictures:
        client.log_artifact(run_id, str(picture), "alignments")


def _uri(event: local.Finished, output: str) -> pathlib.Path:
    (artifact,) = event.outputs[output]
    return pathlib.Path(artifact.uri)
