"""TFX's Trainer with one input more, the tokenizer, and with the MLflow run of its pipeline run."""

from __future__ import annotations

import pathlib
import typing

from tfx.components.trainer import component, executor
from tfx.dsl.components.base import executor_spec
from tfx.types import Artifact, BaseChannel, artifact_utils, component_spec
from tfx.utils import path_utils

from components import model_digest, settings, tracking
from components.model_digest import DIGEST
from components.tracking_store import Store
from components.trainer import Config

TOKENIZER = "tokenizer"
MLFLOW_RUN_ID = "mlflow_run_id"  # stamped on the Model, so that a cached one still leads to its learning curves

ArtifactDict = dict[str, list[Artifact]]


class Executor(executor.GenericExecutor):
    """Tells `run_fn` which tokenizer and which MLflow run, and keeps a digest of what it exported."""

    def _GetFnArgs(
        self, input_dict: ArtifactDict, output_dict: ArtifactDict, exec_properties: dict[str, typing.Any]
    ) -> typing.Any:
        fn_args = super()._GetFnArgs(input_dict, output_dict, exec_properties)
        store = Store.read(settings.from_json(Config, fn_args.custom_config).tracking)
        fn_args.tokenizer_uri = artifact_utils.get_single_uri(input_dict[TOKENIZER])
        run = tracking.find_run(store, self._context.pipeline_run_id)
        fn_args.mlflow_run = run.key
        model = artifact_utils.get_single_instance(output_dict["model"])
        model.set_string_custom_property(MLFLOW_RUN_ID, run.id)
        return fn_args

    def Do(self, input_dict: ArtifactDict, output_dict: ArtifactDict, exec_properties: dict[str, typing.Any]) -> None:
        """See TFX."""
        super().Do(input_dict, output_dict, exec_properties)
        model = artifact_utils.get_single_instance(output_dict["model"])
        exported = pathlib.Path(path_utils.serving_model_path(model.uri))
        model.set_string_custom_property(DIGEST, model_digest.of_folder(exported))


class Trainer(component.Trainer):
    """See `Executor`; the rest is TFX's."""

    EXECUTOR_SPEC = executor_spec.ExecutorClassSpec(Executor)

    def __init__(self, *, tokenizer: BaseChannel, **arguments: typing.Any) -> None:
        super().__init__(**arguments)
        self.spec.INPUTS = {**self.spec.INPUTS, TOKENIZER: component_spec.ChannelParameter(type=tokenizer.type)}
        self.spec.inputs[TOKENIZER] = tokenizer
