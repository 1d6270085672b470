"""What ML Metadata and MLflow know of models: `fovea models`."""

from __future__ import annotations

import dataclasses
import datetime

import rich.console
import rich.table
from ml_metadata import metadata_store
from ml_metadata.proto import metadata_store_pb2

from components import pushing, registry, tracking_calls
from components.model_digest import DIGEST
from components.trainer_component import MLFLOW_RUN_ID
from pipeline import faults, metadata
from pipeline.home import Home

UNKNOWN = "?"


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
    digest: str = ""
    registered: str | None = None  # version in MLflow's registry; None: not registered; UNKNOWN: MLflow is away
    aliases: tuple[str, ...] = ()  # of that version: the champion is the one that is served


def models(home: Home) -> list[Model]:
    """Every model of the home folder, oldest first."""
    if not home.metadata_db.exists():
        return []
    with faults.told_plainly(home):
        return _with_registered(_known(metadata.connect(home)), home)


def _known(store: metadata_store.MetadataStore) -> list[Model]:
    blessings: dict[int, bool] = {}
    for artifact in store.get_artifacts_by_type("ModelBlessing"):
        properties = artifact.custom_properties
        if "current_model_id" in properties:
            blessed = properties["blessed"].int_value == 1
            model_id = properties["current_model_id"].int_value
            blessings[model_id] = blessings.get(model_id, False) or blessed
    versions = dict(pushing.pushes(store))
    return [
        Model(
            id=artifact.id,
            name=_pipeline(store, artifact.id),
            trained=datetime.datetime.fromtimestamp(artifact.create_time_since_epoch / 1000).isoformat(" ", "seconds"),
            blessed=blessings.get(artifact.id),
            version=versions.get(artifact.id),
            path=artifact.uri,
            mlflow_run_id=artifact.custom_properties[MLFLOW_RUN_ID].string_value,
            digest=artifact.custom_properties[DIGEST].string_value,
        )
        for artifact in store.get_artifacts_by_type("Model")
        if artifact.state == metadata_store_pb2.Artifact.LIVE
    ]


def _with_registered(known: list[Model], home: Home) -> list[Model]:
    """The same with what MLflow's registry says of them."""
    found: dict[tuple[str, str], registry.Version | None] = {}
    for name in {model.name for model in known}:
        try:
            versions = registry.versions(home.kept_tracking(name).client(), name)
        except Exception as error:
            if not tracking_calls.unavailable(error):
                raise
            return [dataclasses.replace(model, registered=UNKNOWN) for model in known]
        found |= {(name, version.digest): version for version in versions}
    return [
        dataclasses.replace(model, registered=version.version, aliases=version.aliases)
        if (version := found.get((model.name, model.digest)))
        else model
        for model in known
    ]


def _pipeline(store: metadata_store.MetadataStore, artifact_id: int) -> str:
    contexts = store.get_contexts_by_artifact(artifact_id)
    return next((context.name for context in contexts if context.type == "pipeline"), "")


def show(known: list[Model], out: rich.console.Console) -> None:
    """A table, a model a line."""
    table = rich.table.Table("id", "name", "trained", "blessed", "pushed as", "registered", "MLflow run")
    words = {True: "[green]yes[/]", False: "[yellow]no[/]", None: "-"}
    for model in known:
        registered = " ".join([model.registered or "-", *(f"[bold]{alias}[/]" for alias in model.aliases)])
        about = (str(model.id), model.name, model.trained, words[model.blessed])
        table.add_row(*about, model.version or "-", registered, model.mlflow_run_id)
    out.print(table if known else "no model has been trained here")
