"""What ML Metadata knows of models: `fovea models`."""

from __future__ import annotations

import dataclasses
import datetime

import rich.console
import rich.table
from ml_metadata import metadata_store
from ml_metadata.proto import metadata_store_pb2

from components.trainer_component import MLFLOW_RUN_ID
from pipeline.home import Home


@dataclasses.dataclass(frozen=True)
class Model:
    """A trained model and what became of it."""

    id: int
    name: str
    trained: str  # local time, ISO 8601
    blessed: bool | None  # None: never evaluated
    version: str | None  # of the push; None: not pushed
    path: str
    mlflow_run_id: str


def models(home: Home) -> list[Model]:
    """Every model of the home folder, oldest first."""
    if not home.metadata_db.exists():
        return []
    connection = metadata_store_pb2.ConnectionConfig()
    connection.sqlite.filename_uri = str(home.metadata_db)
    store = metadata_store.MetadataStore(connection)
    blessings: dict[int, bool] = {}
    for artifact in store.get_artifacts_by_type("ModelBlessing"):
        properties = artifact.custom_properties
        if "current_model_id" in properties:
            blessed = properties["blessed"].int_value == 1
            model_id = properties["current_model_id"].int_value
            blessings[model_id] = blessings.get(model_id, False) or blessed
    versions = _pushed_versions(store)
    return [
        Model(
            id=artifact.id,
            name=_pipeline(store, artifact.id),
            trained=datetime.datetime.fromtimestamp(artifact.create_time_since_epoch / 1000).isoformat(" ", "seconds"),
            blessed=blessings.get(artifact.id),
            version=versions.get(artifact.id),
            path=artifact.uri,
            mlflow_run_id=artifact.custom_properties[MLFLOW_RUN_ID].string_value,
        )
        for artifact in store.get_artifacts_by_type("Model")
        if artifact.state == metadata_store_pb2.Artifact.LIVE
    ]


def _pushed_versions(store: metadata_store.MetadataStore) -> dict[int, str]:
    """Model id -> the version that it was pushed as, by the executions that pushed it."""
    versions = {}
    for pushed in store.get_artifacts_by_type("PushedModel"):
        version = pushed.custom_properties["pushed_version"].string_value
        if not version:
            continue
        makers = [e.execution_id for e in store.get_events_by_artifact_ids([pushed.id]) if e.type == e.OUTPUT]
        for event in store.get_events_by_execution_ids(makers):
            if event.type == event.INPUT and event.path.steps[0].key == "model":
                versions[event.artifact_id] = version
    return versions


def _pipeline(store: metadata_store.MetadataStore, artifact_id: int) -> str:
    contexts = store.get_contexts_by_artifact(artifact_id)
    return next((context.name for context in contexts if context.type == "pipeline"), "")


def show(known: list[Model], out: rich.console.Console) -> None:
    """A table, a model a line."""
    table = rich.table.Table("id", "name", "trained", "blessed", "pushed as", "MLflow run")
    words = {True: "[green]yes[/]", False: "[yellow]no[/]", None: "-"}
    for model in known:
        table.add_row(
            str(model.id), model.name, model.trained, words[model.blessed], model.version or "-", model.mlflow_run_id
        )
    out.print(table if known else "no model has been trained here")
