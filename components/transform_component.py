"""TFX's Transform with one input more, the tokenizer; its graph is the served model's, too."""

from __future__ import annotations

import json
from typing import Any, ClassVar

from tfx.components.transform.executor import Executor as TransformExecutor
from tfx.dsl.components.base import executor_spec
from tfx.dsl.components.base.base_beam_component import BaseBeamComponent
from tfx.types import artifact_utils, component_spec, standard_artifacts
from tfx.types.artifact import Artifact
from tfx.types.channel import BaseChannel, Channel
from tfx.types.standard_component_specs import TransformSpec

from components import preprocessing, settings
from components.tokenizer_component import Tokenizer
from models.audio import Audio


class Executor(TransformExecutor):
    """Tells the preprocessing function where the tokenizer is."""

    def Do(
        self,
        input_dict: dict[str, list[Artifact]],
        output_dict: dict[str, list[Artifact]],
        exec_properties: dict[str, Any],
    ) -> None:
        """See TFX."""
        inputs = dict(input_dict)
        properties = dict(exec_properties)
        custom_config = {
            "tokenizer_uri": artifact_utils.get_single_uri(inputs.pop("tokenizer")),
            "audio": properties.pop("audio"),
        }
        super().Do(inputs, output_dict, {**properties, "custom_config": json.dumps(custom_config)})


class TokenizedTransformSpec(TransformSpec):
    """Transform's, the tokenizer, and the section `audio`."""

    PARAMETERS: ClassVar[dict[str, Any]] = {
        **TransformSpec.PARAMETERS,
        "audio": component_spec.ExecutionParameter(type=str),
    }
    INPUTS: ClassVar[dict[str, Any]] = {
        **TransformSpec.INPUTS,
        "tokenizer": component_spec.ChannelParameter(type=Tokenizer),
    }


class TokenizedTransform(BaseBeamComponent):
    """Examples of text -> examples of ids, and the graph that makes them (see `preprocessing.py`).

    Statistics of ids tell little and cost a third of the time.
    """

    SPEC_CLASS = TokenizedTransformSpec
    EXECUTOR_SPEC = executor_spec.BeamExecutorSpec(Executor)

    def __init__(
        self, examples: BaseChannel, schema: BaseChannel, tokenizer: BaseChannel, audio: Audio | None = None
    ) -> None:
        """Args: the examples of RowExampleGen, their schema, the tokenizer of TokenizerTrainer, the section `audio`."""
        transformed = Channel(type=standard_artifacts.Examples)
        transformed.matching_channel_name = "examples"
        spec = TokenizedTransformSpec(
            examples=examples,
            schema=schema,
            tokenizer=tokenizer,
            audio=settings.to_json(audio) if audio else "",
            preprocessing_fn=f"{preprocessing.__name__}.{preprocessing.preprocessing_fn.__name__}",
            disable_statistics=1,
            force_tf_compat_v1=0,
            transform_graph=Channel(type=standard_artifacts.TransformGraph),
            transformed_examples=transformed,
        )
        super().__init__(spec=spec)
