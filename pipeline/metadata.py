"""ML Metadata's side of a run: the links between its executions and MLflow's runs."""

from __future__ import annotations

import pathlib

from ml_metadata import metadata_store
from ml_metadata.proto import metadata_store_pb2

from components.model_digest import DIGEST
from components.pushing import PUSHED_VERSION
from components.trainer_component import MLFLOW_RUN_ID
from pipeline.home import Home

RUN_CONTEXT, NODE_CONTEXT = "pipeline_run", "node"  # TFX's own types


def connect(home: Home) -> metadata_store.MetadataStore:
    """The store of the home folder."""
    connection = metadata_store_pb2.ConnectionConfig()
    connection.sqlite.filename_uri = str(home.metadata_db)
    return metadata_store.MetadataStore(connection)


def link(store: metadata_store.MetadataStore, pipeline_run_id: str, mlflow_run_id: str) -> dict[str, list[int]]:
    """Put the MLflow run on every execution of a pipeline run -> {"Trainer": [its executions' ids], ...}."""
    context = store.get_context_by_type_and_name(RUN_CONTEXT, pipeline_run_id)
    if context is None:
        return {}
    executions = store.get_executions_by_context(context.id)
    _put(store, executions, mlflow_run_id)
    by_component: dict[str, list[int]] = {}
    for execution in executions:
        nodes = [one.name for one in store.get_contexts_by_execution(execution.id) if one.type == NODE_CONTEXT]
        by_component.setdefault(nodes[0].split(".")[-1], []).append(execution.id)
    return by_component


def relink(store: metadata_store.MetadataStore, pending_id: str, mlflow_run_id: str) -> None:
    """A run that MLflow did not know when it began has its true id now."""
    _put(store, [one for one in store.get_executions() if _of(one) == pending_id], mlflow_run_id)
    models = [one for one in store.get_artifacts_by_type("Model") if _of(one) == pending_id]
    for model in models:
        model.custom_properties[MLFLOW_RUN_ID].string_value = mlflow_run_id
    if models:
        store.put_artifacts(models)


def lost_push(home: Home, name: str) -> str:
    """The latest push of a pipeline whose version is not there any more, by its id in ML Metadata; "" for none.

    The cache looks at artifacts, and what is served is none: with this in its key a push that was lost is made again.
    """
    if not home.metadata_db.exists():
        return ""
    pushed = connect(home).get_artifacts_by_type("PushedModel")
    places = {one.id: pathlib.Path(_property(one, "pushed_destination")) for one in pushed}
    ours = (number for number, place in places.items() if place.parent == home.models(name) and not place.exists())
    return str(max(ours, default=""))


def record_push(home: Home, name: str, digest: str, pushed: pathlib.Path, why: str) -> None:
    """A push by hand, as ML Metadata has those of the Pusher; of a model that it does not know, nothing."""
    store = connect(home)
    model = next((one for one in store.get_artifacts_by_type("Model") if _property(one, DIGEST) == digest), None)
    if model is None:
        return
    execution_type = metadata_store_pb2.ExecutionType(name=f"fovea.{why}")
    execution = metadata_store_pb2.Execution(
        type_id=store.put_execution_type(execution_type), last_known_state=metadata_store_pb2.Execution.COMPLETE
    )
    execution.custom_properties[MLFLOW_RUN_ID].string_value = _property(model, MLFLOW_RUN_ID)
    artifact = metadata_store_pb2.Artifact(
        type_id=store.get_artifact_type("PushedModel").id, uri=str(pushed), state=metadata_store_pb2.Artifact.LIVE
    )
    artifact.custom_properties["pushed"].int_value = 1
    artifact.custom_properties["pushed_destination"].string_value = str(pushed)
    artifact.custom_properties[PUSHED_VERSION].string_value = pushed.name
    context = store.get_context_by_type_and_name("pipeline", name)
    inside = _event(metadata_store_pb2.Event.INPUT, "model"), _event(metadata_store_pb2.Event.OUTPUT, "pushed_model")
    store.put_execution(execution, list(zip([model, artifact], inside, strict=True)), [context] if context else [])


def _event(kind: metadata_store_pb2.Event.Type, key: str) -> metadata_store_pb2.Event:
    event = metadata_store_pb2.Event(type=kind)
    event.path.steps.add().key = key
    event.path.steps.add().index = 0
    return event


def _put(
    store: metadata_store.MetadataStore, executions: list[metadata_store_pb2.Execution], mlflow_run_id: str
) -> None:
    changed = [execution for execution in executions if _of(execution) != mlflow_run_id]
    for execution in changed:
        execution.custom_properties[MLFLOW_RUN_ID].string_value = mlflow_run_id
    if changed:
        store.put_executions(changed)


def _of(one: metadata_store_pb2.Execution | metadata_store_pb2.Artifact) -> str:
    return _property(one, MLFLOW_RUN_ID)


def _property(one: metadata_store_pb2.Execution | metadata_store_pb2.Artifact, name: str) -> str:
    return one.custom_properties[name].string_value if name in one.custom_properties else ""
