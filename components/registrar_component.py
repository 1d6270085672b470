"""Brings the exported model to MLflow, and registers what was pushed: see `registry`."""

from __future__ import annotations

import itertools
import pathlib
import typing

from tfx.dsl.components.base import base_component, base_executor, executor_spec
from tfx.types import Artifact, BaseChannel, Channel, artifact_utils, component_spec, standard_artifacts
from tfx.utils import path_utils

from components import tracking
from components.evaluator import read_predictions
from components.model_digest import DIGEST
from components.registry import Export
from components.tracking_store import Store

EXAMPLES = 3
REGISTERED_VERSION = "registered_version"  # "": nothing was pushed, or MLflow could not be used

ArtifactDict = dict[str, list[Artifact]]


class Registration(Artifact):
    """Nothing but its custom property, registered_version."""

    TYPE_NAME = "fovea.Registration"


class Executor(base_executor.BaseExecutor):
    """Writes to the MLflow run of the pipeline run."""

    def Do(self, input_dict: ArtifactDict, output_dict: ArtifactDict, exec_properties: dict[str, typing.Any]) -> None:
        """See TFX."""
        store = Store.read(exec_properties["tracking"])
        model = artifact_utils.get_single_instance(input_dict["model"])
        pushed = artifact_utils.get_single_instance(input_dict["pushed_model"])
        evaluation = pathlib.Path(artifact_utils.get_single_uri(input_dict["evaluation"]))
        is_pushed = pushed.get_int_custom_property("pushed") == 1
        export = Export(
            name=store.experiment,
            saved_model=path_utils.serving_model_path(model.uri),
            digest=model.get_string_custom_property(DIGEST),
            model_id=model.id,
            pushed=pushed.get_string_custom_property("pushed_destination") if is_pushed else "",
            examples=[row["source"] for row in itertools.islice(read_predictions(evaluation), EXAMPLES)],
        )
        version = tracking.find_run(store, self._context.pipeline_run_id).model(export)
        registration = artifact_utils.get_single_instance(output_dict["registration"])
        registration.set_string_custom_property(REGISTERED_VERSION, version or "")


class RegistrarSpec(component_spec.ComponentSpec):
    """What goes in and out of the Registrar."""

    PARAMETERS = {
        "tracking": component_spec.ExecutionParameter(type=str),  # the file that says where, in ML Metadata no password
        "store": component_spec.ExecutionParameter(type=str),  # its name: another store has nothing of this one
    }
    INPUTS = {
        "model": component_spec.ChannelParameter(type=standard_artifacts.Model),
        "pushed_model": component_spec.ChannelParameter(type=standard_artifacts.PushedModel),
        "evaluation": component_spec.ChannelParameter(type=standard_artifacts.ModelEvaluation),
    }
    OUTPUTS = {"registration": component_spec.ChannelParameter(type=Registration)}


class Registrar(base_component.BaseComponent):
    """The exported model in MLflow; a pushed one is registered, and the champion."""

    SPEC_CLASS = RegistrarSpec
    EXECUTOR_SPEC = executor_spec.ExecutorClassSpec(Executor)

    def __init__(
        self, model: BaseChannel, pushed_model: BaseChannel, evaluation: BaseChannel, tracking: str, store: str
    ) -> None:
        super().__init__(
            RegistrarSpec(
                model=model,
                pushed_model=pushed_model,
                evaluation=evaluation,
                tracking=tracking,
                store=store,
                registration=Channel(type=Registration),
            )
        )
