"""What MLflow's run says of a pipeline run, written as soon as there is something to say."""

from __future__ import annotations

import dataclasses
import json
import pathlib
from collections.abc import Callable, Mapping

import yaml

from components import statistics_page, tracking
from components.evaluator import ALIGNMENTS_FILE, PREDICTIONS_FILE, VERDICT_FILE, Verdict, read_predictions
from components.example_gen import REJECTED
from components.example_gen_component import REJECTED_FILE
from components.row_verdict import CHECKS_FILE, FINDINGS_FILE
from components.serving_check import VERDICT_FILE as SERVING_FILE
from components.tracking_store import without_passwords
from components.trainer_component import MLFLOW_RUN_ID
from components.training import OUTCOME_FILE
from models.contract import SOURCE, SPLITS, TARGET
from pipeline import config as configuration
from pipeline import metadata, provenance
from pipeline.home import Home
from pipeline.result import Run, to_json
from pipeline.runners import local

SAMPLES = 100  # answers in the table of samples


def open_run(config: configuration.Config, home: Home, pipeline_run_id: str, **tags: str) -> tracking.Run:
    """Begin the MLflow run of a pipeline run. The caller is alone; runs of processes that were killed are closed."""
    store = home.tracking(config.name, config.tracking_uri)
    home.keep_tracking(store)
    close_killed(home, config.name)
    plain = without_password(config)
    about = {"fovea.name": config.name, "fovea.home": str(home.root), **tags, **provenance.tags()}
    run = tracking.open_run(store, pipeline_run_id, about, configuration.to_flat(plain))
    run.text(yaml.safe_dump(configuration.to_document(plain), sort_keys=False), "config.yaml")
    return run


def without_password(config: configuration.Config) -> configuration.Config:
    """The configuration as others may see it."""
    return dataclasses.replace(config, tracking_uri=without_passwords(config.tracking_uri))


def close_killed(home: Home, name: str) -> list[tracking.Run]:
    """Close the MLflow runs whose process was killed; the caller knows that none of that name is under way."""
    killed = tracking.unfinished(home.tracking(name))
    for run in reversed(killed):  # runs within others first
        with tracking.forgotten_if_gone(run):
            link(home, run)
            run.end(tracking.KILLED)
    return killed


def link(home: Home, run: tracking.Run) -> None:
    """Tie the run and the executions of ML Metadata to each other."""
    pipeline_run_id = run.journal.facts["pipeline_run_id"]
    if pipeline_run_id and home.metadata_db.exists():
        executions = metadata.link(metadata.connect(home), pipeline_run_id, run.id)
        run.tags({f"mlmd.{name}.execution": _ids(found) for name, found in executions.items()})


class Tracker:
    """Follows the components of a pipeline run."""

    def __init__(self, config: configuration.Config, home: Home, run: tracking.Run) -> None:
        self._config, self._home, self._run = config, home, run
        self._failed: dict[str, int] = {}
        self._began_ms = tracking.now_ms()

    def follow(self, event: local.Event) -> None:
        """Write what came of a component."""
        if isinstance(event, local.Failed):
            self._attempt(event.name, event.seconds, tracking.FAILED, f"{type(event.error).__name__}: {event.error}")
        if isinstance(event, local.Finished):
            if event.name in self._failed:
                self._attempt(event.name, event.seconds, tracking.FINISHED, "")
            ids = {key: _ids([artifact.id for artifact in artifacts]) for key, artifacts in event.outputs.items()}
            self._run.tags({f"mlmd.{event.name}.{key}": found for key, found in ids.items()})
            if event.name in LOGGED:
                LOGGED[event.name](self._run, self._config, event.outputs)

    def failed(self, name: str, seconds: float, error: Exception) -> None:
        """The component failed for good; its last attempt is told apart if there were others."""
        if name in self._failed:
            self.follow(local.Failed(name, seconds, error))
        letters = self._home.rejected(self._config.name) / REJECTED_FILE  # TFX deletes those of a failed component
        if name == "ExampleGen" and letters.exists() and letters.stat().st_mtime * 1000 >= self._began_ms:
            self._run.file(letters)

    def _attempt(self, name: str, seconds: float, status: str, error: str) -> None:
        number = self._failed[name] = self._failed.get(name, 0) + 1
        began_ms = tracking.now_ms() - int(seconds * 1000)
        tags = {"fovea.component": name, "fovea.attempt": str(number)}
        title = f"{name}, attempt {number}"
        attempt = tracking.open_run(self._run.store, title, tags, {}, parent=self._run, began_ms=began_ms)
        attempt.end(status, error)


def conclude(run: tracking.Run, concluded: Run, finished: Mapping[str, local.Finished]) -> None:
    """Write what is known at the end alone."""
    (model,) = finished["Trainer"].outputs["model"]
    tags = {
        "fovea.blessed": str(concluded.result.blessed).lower(),
        "fovea.model_path": concluded.result.model_path or "",
        "fovea.cached": ", ".join(concluded.result.cached),
        "fovea.trained_in_run": model.get_string_custom_property(MLFLOW_RUN_ID),
    }
    run.tags(tags | {f"sacrebleu.{name}": signature for name, signature in concluded.result.signatures.items()})
    run.text(to_json(dataclasses.asdict(concluded.result), indent=2), "result.json")
    for picture in concluded.pictures:
        run.file(picture, "alignments")


def _rows(run: tracking.Run, config: configuration.Config, outputs: local.Outputs) -> None:
    (rejected,) = outputs["rejected"]
    counts = {name: rejected.get_int_custom_property(f"rows_{name}") for name in (*SPLITS, REJECTED)}
    run.parameters({f"rows.{name}": str(count) for name, count in counts.items()})
    source = json.dumps(configuration.to_document(config)["data"]["source"])
    columns = [{"name": name, "type": "string", "required": True} for name in (SOURCE, TARGET)]
    run.datasets(
        {
            split: {
                "name": config.name,
                "digest": rejected.get_string_custom_property(f"digest_{split}"),
                "source_type": config.data.source["name"],
                "source": source,
                "schema": json.dumps({"mlflow_colspec": columns}),
                "profile": json.dumps({"num_rows": counts[split]}),
            }
            for split in SPLITS
        }
    )
    run.file(pathlib.Path(rejected.uri) / REJECTED_FILE)


def _statistics(run: tracking.Run, config: configuration.Config, outputs: local.Outputs) -> None:
    run.text(statistics_page.page(local.folder(outputs, "statistics"), SPLITS), "statistics.html")


def _schema(run: tracking.Run, config: configuration.Config, outputs: local.Outputs) -> None:
    run.folder(local.folder(outputs, "schema"), "schema")


def _tokenizer(run: tracking.Run, config: configuration.Config, outputs: local.Outputs) -> None:
    run.folder(local.folder(outputs, "tokenizer"), "tokenizer")


def _checks(run: tracking.Run, config: configuration.Config, outputs: local.Outputs) -> None:
    for name in (CHECKS_FILE, FINDINGS_FILE):
        run.file(local.folder(outputs, "checks") / name, "data")


def _training(run: tracking.Run, config: configuration.Config, outputs: local.Outputs) -> None:
    run.file(local.folder(outputs, "model_run") / OUTCOME_FILE)


def _evaluation(run: tracking.Run, config: configuration.Config, outputs: local.Outputs) -> None:
    evaluation = local.folder(outputs, "evaluation")
    verdict = Verdict.read(evaluation)
    run.metrics({f"test/{name}": value for name, value in verdict.metrics.items()})
    run.metrics(
        {f"slice/{where}/{name}": value for where, values in verdict.slices.items() for name, value in values.items()}
    )
    for metric, difference in verdict.differences.items():
        run.metrics({f"compare/{metric}/{end}": getattr(difference, end) for end in ("champion", "low", "high")})
    run.tags({"fovea.verdict": verdict.words()})
    for name in (PREDICTIONS_FILE, ALIGNMENTS_FILE, VERDICT_FILE):
        run.file(evaluation / name, "evaluation")
    samples = [row for row, _ in zip(read_predictions(evaluation), range(SAMPLES), strict=False)]
    run.table(
        {
            "source": [row["source"] for row in samples],
            "prediction": [row["prediction"] for row in samples],
            "references": [" | ".join(row["references"]) for row in samples],
            "right": [row["prediction"] in row["references"] for row in samples],
        },
        "samples.json",
    )


def _served(run: tracking.Run, config: configuration.Config, outputs: local.Outputs) -> None:
    run.file(local.folder(outputs, "blessing") / SERVING_FILE, "evaluation")


# What each component leaves in MLflow's run beside the tags of its artifacts. The Trainer itself logs its curves.
LOGGED: dict[str, Callable[[tracking.Run, configuration.Config, local.Outputs], None]] = {
    "ExampleGen": _rows,
    "StatisticsGen": _statistics,
    "SchemaGen": _schema,
    "Tokenizer": _tokenizer,
    "SequenceValidator": _checks,
    "Trainer": _training,
    "Evaluator": _evaluation,
    "ServingValidator": _served,
}


def _ids(ids: list[int]) -> str:
    return ", ".join(map(str, ids))
