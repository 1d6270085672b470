"""TFX's Tuner with one input more, the tokenizer, and with the MLflow run of its pipeline run."""

from __future__ import annotations

import json
import typing

from tfx.components.tuner import component, executor
from tfx.dsl.components.base import executor_spec
from tfx.types import Artifact, BaseChannel, artifact_utils, component_spec

from components import settings, tracking
from components.tracking_store import Store
from components.trainer_component import TOKENIZER
from components.trials import Request

ArtifactDict = dict[str, list[Artifact]]
CUSTOM_CONFIG = "custom_config"


class Executor(executor.Executor):
    """Tells `tuner_fn` which tokenizer and which MLflow run."""

    def Do(self, input_dict: ArtifactDict, output_dict: ArtifactDict, exec_properties: dict[str, typing.Any]) -> None:
        config = json.loads(exec_properties[CUSTOM_CONFIG])
        store = Store.read(settings.from_json(Request, config).trainer.tracking)
        config["tokenizer_uri"] = artifact_utils.get_single_uri(input_dict[TOKENIZER])
        config["mlflow_run"] = tracking.find_run(store, self._context.pipeline_run_id).key
        super().Do(input_dict, output_dict, {**exec_properties, CUSTOM_CONFIG: json.dumps(config)})


class Tuner(component.Tuner):
    """See `Executor`; the rest is TFX's."""

    EXECUTOR_SPEC = executor_spec.ExecutorClassSpec(Executor)

    def __init__(self, *, tokenizer: BaseChannel, **arguments: typing.Any) -> None:
        super().__init__(**arguments)
        self.spec.INPUTS = {**self.spec.INPUTS, TOKENIZER: component_spec.ChannelParameter(type=tokenizer.type)}
        self.spec.inputs[TOKENIZER] = tokenizer
