"""Serves the candidate and blesses it for that, between TFX's Evaluator and its Pusher: see `serving_check`.

TFX's own InfraValidator starts a container or a Kubernetes pod and takes any answer for a good one. This one needs
neither, and compares answers; its blessing is TFX's, so that TFX's Pusher honours it.
"""

from __future__ import annotations

import itertools
import pathlib
import typing

from tfx.components.infra_validator import executor as infra_validator
from tfx.components.util import model_utils
from tfx.dsl.components.base import base_component, base_executor, executor_spec
from tfx.types import Artifact, BaseChannel, Channel, artifact_utils, component_spec, standard_artifacts
from tfx.utils import io_utils, path_utils

from components import asked, serving_check, settings
from components.champion import SERVED_MODEL_ID
from components.serving_check import SKIPPED, Config, Verdict

ASKED_SPLIT = "test"

ArtifactDict = dict[str, list[Artifact]]


class Executor(base_executor.BaseExecutor):
    """Serves, asks, compares and blesses."""

    def Do(self, input_dict: ArtifactDict, output_dict: ArtifactDict, exec_properties: dict[str, typing.Any]) -> None:
        """See TFX. Writes the verdict into the blessing artifact."""
        config = settings.from_json(Config, exec_properties["config"])
        candidate = artifact_utils.get_single_instance(input_dict["model"])
        blessing = artifact_utils.get_single_instance(output_dict["blessing"])
        verdict = SKIPPED
        if model_utils.is_model_blessed(artifact_utils.get_single_instance(input_dict["model_blessing"])):
            folders = artifact_utils.get_split_uris(input_dict["examples"], ASKED_SPLIT)
            sources = [asked.of_row(row) for row in itertools.islice(asked.read(folders), config.rows)]
            verdict = serving_check.check(pathlib.Path(path_utils.serving_model_path(candidate.uri)), sources, config)
        _bless(verdict, blessing, candidate)


def _bless(verdict: Verdict, blessing: Artifact, candidate: Artifact) -> None:
    """Mark the blessing as TFX's own InfraValidator does, for its Pusher, and say whose it is."""
    pathlib.Path(blessing.uri).mkdir(parents=True, exist_ok=True)
    verdict.write(pathlib.Path(blessing.uri))
    name = infra_validator._BLESSED_FILENAME if verdict.blessed else infra_validator._NOT_BLESSED_FILENAME
    io_utils.write_string_file(str(pathlib.Path(blessing.uri) / name), "")
    blessing.set_int_custom_property(infra_validator._BLESSED_KEY, int(verdict.blessed))
    blessing.set_int_custom_property(infra_validator._MODEL_FLAG_KEY, 0)  # it holds no model: the Trainer's is pushed
    if verdict != SKIPPED:
        blessing.set_int_custom_property(SERVED_MODEL_ID, candidate.id)


class ServingValidatorSpec(component_spec.ComponentSpec):
    """What goes in and out of the ServingValidator."""

    PARAMETERS = {"config": component_spec.ExecutionParameter(type=str)}
    INPUTS = {
        "examples": component_spec.ChannelParameter(type=standard_artifacts.Examples),
        "model": component_spec.ChannelParameter(type=standard_artifacts.Model),
        "model_blessing": component_spec.ChannelParameter(type=standard_artifacts.ModelBlessing),
    }
    OUTPUTS = {"blessing": component_spec.ChannelParameter(type=standard_artifacts.InfraBlessing)}


class ServingValidator(base_component.BaseComponent):
    """Asks a server of the model for test rows, and blesses the model for the Pusher, or not."""

    SPEC_CLASS = ServingValidatorSpec
    EXECUTOR_SPEC = executor_spec.ExecutorClassSpec(Executor)

    def __init__(self, examples: BaseChannel, model: BaseChannel, model_blessing: BaseChannel, config: Config) -> None:
        super().__init__(
            ServingValidatorSpec(
                examples=examples,
                model=model,
                model_blessing=model_blessing,
                config=settings.to_json(config),
                blessing=Channel(type=standard_artifacts.InfraBlessing),
            )
        )
