"""Runs a pipeline in this process, one component after the other: TFX's LocalDagRunner with a report of each step."""

from __future__ import annotations

import pathlib
import time
import typing
from collections.abc import Iterator, Mapping, Sequence

from tfx.dsl.compiler import compiler, constants
from tfx.orchestration import metadata, pipeline
from tfx.orchestration.local import runner_utils
from tfx.orchestration.portable import launcher, runtime_parameter_utils
from tfx.types import Artifact, artifact_utils

Outputs = Mapping[str, Sequence[Artifact]]


def folder(outputs: Outputs, key: str) -> pathlib.Path:
    """Where the only artifact of an output is."""
    (artifact,) = outputs[key]
    return pathlib.Path(artifact.uri)


class Finished(typing.NamedTuple):
    """A component that is done."""

    name: str
    seconds: float
    cached: bool
    outputs: Outputs


class Failed(typing.NamedTuple):
    """A component that failed, and is tried again."""

    name: str
    seconds: float
    error: Exception


class Starting(typing.NamedTuple):
    """A component that is about to run."""

    name: str


Event = Starting | Failed | Finished


def run(graph: pipeline.Pipeline, pipeline_run_id: str, retries: int = 0) -> Iterator[Event]:
    """Run every component of the graph, and yield what happens as it happens.

    Args:
        graph: the components.
        pipeline_run_id: of this run, in ML Metadata.
        retries: how often a component that fails is tried again.

    Raises:
        Exception: what a component raised at last; ML Metadata then holds it as failed, and nothing after it ran.
    """
    compiled = compiler.Compiler().compile(graph)
    runtime_parameter_utils.substitute_runtime_parameter(
        compiled, {constants.PIPELINE_RUN_ID_PARAMETER_NAME: pipeline_run_id}
    )
    deployment = runner_utils.extract_local_deployment_config(compiled)
    chosen = deployment.metadata_connection_config.WhichOneof("connection_config")
    connection = metadata.Metadata(getattr(deployment.metadata_connection_config, chosen))
    for node in compiled.nodes:
        name = node.pipeline_node.node_info.id
        yield Starting(name)
        for left in range(retries, -1, -1):
            began_s = time.monotonic()
            try:
                info = launcher.Launcher(
                    pipeline_node=node.pipeline_node,
                    mlmd_connection=connection,
                    pipeline_info=compiled.pipeline_info,
                    pipeline_runtime_spec=compiled.runtime_spec,
                    executor_spec=runner_utils.extract_executor_spec(deployment, name),
                    custom_driver_spec=runner_utils.extract_custom_driver_spec(deployment, name),
                ).launch()
                break
            except Exception as error:
                if not left:
                    raise
                yield Failed(name, time.monotonic() - began_s, error)
        outputs, cached = _outputs(connection, info.execution_id if info else None)
        yield Finished(name, time.monotonic() - began_s, cached, outputs)


def _outputs(connection: metadata.Metadata, execution_id: int | None) -> tuple[Outputs, bool]:
    """The artifacts that an execution published, and whether they came from the cache."""
    if execution_id is None:
        return {}, False
    with connection as handle:
        (execution,) = handle.store.get_executions_by_id([execution_id])
        cached = execution.last_known_state == execution.CACHED
        events = handle.store.get_events_by_execution_ids([execution_id])
        outputs: dict[str, list[Artifact]] = {}
        for event in events:
            if event.type not in (event.OUTPUT, event.DECLARED_OUTPUT, event.INTERNAL_OUTPUT):
                continue
            (artifact,) = handle.store.get_artifacts_by_id([event.artifact_id])
            (kind,) = handle.store.get_artifact_types_by_id([artifact.type_id])
            key = event.path.steps[0].key
            outputs.setdefault(key, []).append(artifact_utils.deserialize_artifact(kind, artifact))
    return outputs, cached
