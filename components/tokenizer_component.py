"""TokenizerTrainer: counts the words of the train split on Beam and trains the models of `tokenizer.py` on them."""

from __future__ import annotations

import collections
import json
import os
from collections.abc import Iterator
from typing import Any, ClassVar

import apache_beam as beam
from tfx.dsl.components.base import executor_spec
from tfx.dsl.components.base.base_beam_component import BaseBeamComponent
from tfx.dsl.components.base.base_beam_executor import BaseBeamExecutor
from tfx.dsl.io import fileio
from tfx.types import artifact_utils, component_spec, standard_artifacts
from tfx.types.artifact import Artifact
from tfx.types.channel import BaseChannel, Channel
from tfx.utils import io_utils

from components import rows, settings
from components.tokenizer import SIDES, Config, TokenizerError, model_path, train, vocabulary
from models.contract import SPLITS


class Tokenizer(Artifact):
    """source.model and target.model, equal where pieces are shared; custom properties source_size and target_size.

    Of recordings the first is not there, and its size is 0.
    """

    TYPE_NAME = "fovea.Tokenizer"


def _words(serialized: bytes) -> Iterator[tuple[str, str]]:
    """The words of a row by side: ("source", "abbe"), ("target", "AE"), ("target", "B"), ..., of every right answer."""
    row = rows.from_example(serialized)
    for side, texts in zip(SIDES, ((row.source,), row.references), strict=True):
        for text in texts:
            for word in rows.words(text):
                yield side, word


class Executor(BaseBeamExecutor):
    """Only the counts leave Beam."""

    def Do(
        self,
        input_dict: dict[str, list[Artifact]],
        output_dict: dict[str, list[Artifact]],
        exec_properties: dict[str, Any],
    ) -> None:
        """See TFX."""
        config = settings.from_json(Config, exec_properties["config"])
        train_split = artifact_utils.get_split_uri(input_dict["examples"], SPLITS[0])
        artifact = artifact_utils.get_single_instance(output_dict["tokenizer"])
        counts = self._count(io_utils.all_files_pattern(train_split))
        if config.shared:
            counts = {"shared": counts["source"] + counts["target"]}
        sides = config.sides()
        if exec_properties["recordings"]:
            del sides["source"]
        models = {}
        for side, pieces in sides.items():
            try:
                models[side] = train(counts[side], pieces)
            except TokenizerError as error:
                raise TokenizerError(f"tokenizer.{side}: {error}") from None
        for side in SIDES:
            model = models.get(side) or models.get("shared")
            if model is None:
                artifact.set_int_custom_property(f"{side}_size", 0)
                continue
            io_utils.write_bytes_file(model_path(artifact.uri, side), model)
            artifact.set_int_custom_property(f"{side}_size", vocabulary(model))

    def _count(self, examples: str) -> dict[str, collections.Counter[str]]:
        """{"source": {"abbe": 1, ...}, "target": {"AE": 3, ...}} of all examples of these files."""
        path = os.path.join(self._get_tmp_dir(), "counts.jsonl")
        with self._make_beam_pipeline() as pipeline:
            _ = (
                pipeline
                | "Examples" >> beam.io.ReadFromTFRecord(examples)
                | "Words" >> beam.FlatMap(_words)
                | "Count" >> beam.combiners.Count.PerElement()
                | "Lines" >> beam.Map(json.dumps)
                | "Write" >> beam.io.WriteToText(path, shard_name_template="")
            )
        counts: dict[str, collections.Counter[str]] = {side: collections.Counter() for side in SIDES}
        with fileio.open(path) as file:
            for (side, word), count in map(json.loads, file):
                counts[side][word] = count
        return counts


class TokenizerTrainerSpec(component_spec.ComponentSpec):
    """What goes in and out of TokenizerTrainer."""

    PARAMETERS: ClassVar[dict[str, Any]] = {
        "config": component_spec.ExecutionParameter(type=str),
        "recordings": component_spec.ExecutionParameter(type=int),
    }
    INPUTS: ClassVar[dict[str, Any]] = {"examples": component_spec.ChannelParameter(type=standard_artifacts.Examples)}
    OUTPUTS: ClassVar[dict[str, Any]] = {"tokenizer": component_spec.ChannelParameter(type=Tokenizer)}


class TokenizerTrainer(BaseBeamComponent):
    """The section `tokenizer`, trained on the examples of the train split."""

    SPEC_CLASS = TokenizerTrainerSpec
    EXECUTOR_SPEC = executor_spec.BeamExecutorSpec(Executor)

    def __init__(self, examples: BaseChannel, config: Config, recordings: bool = False) -> None:
        """Args: the examples of RowExampleGen; the section `tokenizer`; whether sources are no texts."""
        spec = TokenizerTrainerSpec(
            config=settings.to_json(config),
            recordings=int(recordings),
            examples=examples,
            tokenizer=Channel(type=Tokenizer),
        )
        super().__init__(spec=spec)
