"""ExampleGen: reads a source on Beam and writes tf.train.Example, and dead letters.

"tea<TAB>thé" -> Split-train/...: {source: "tea", target: "thé", references: ["thé"], source_length: "1-4", group: "",
                                 origin: "a.tsv:7"}
"tea"         -> rejected.jsonl:  {"file": "a.tsv", "line": 8, "reason": "1 column, expected 2", "row": "tea"}

Recordings are read after the subset is taken, in parallel, and written where they are read: one is in memory at a time.
"""

from __future__ import annotations

import hashlib
import json
import operator
import os
from collections.abc import Iterator, Sequence
from typing import Any, ClassVar

import apache_beam as beam
from tfx.components.example_gen.base_example_gen_executor import BaseExampleGenExecutor
from tfx.dsl.components.base import executor_spec
from tfx.dsl.components.base.base_beam_component import BaseBeamComponent
from tfx.dsl.io import fileio
from tfx.proto import example_gen_pb2
from tfx.types import artifact_utils, component_spec, standard_artifacts, standard_component_specs
from tfx.types.artifact import Artifact
from tfx.types.channel import Channel
from tfx.utils import proto_utils

from components import rows, settings
from components.example_gen import (
    GOOD,
    REJECTED,
    RESAMPLED,
    UNHEARD,
    Config,
    Recorder,
    Splitter,
    find_inputs,
    read_rows,
    require_audio,
    require_sound,
)
from models.audio import Audio
from models.contract import SPLITS

REJECTED_FILE = "rejected.jsonl"
_EXAMPLES_FILE = "data_tfrecord"  # TFX's own name of them
_COUNTS = "counts"  # (name, so many more)
_COUNTS_FILE = "counts.jsonl"


class RejectedRows(Artifact):
    """rejected.jsonl, and the custom properties rows_train, rows_validation, rows_test, rows_rejected.

    digest_train and so on are of the rows themselves, in any order: the same rows have the same. Of recordings there is
    rows_resampled, too: how many had another rate.
    """

    TYPE_NAME = "fovea.RejectedRows"


class _Read(beam.DoFn):
    """Input -> (rank, split, row), at most `max_rows` of an input; rejected rows as JSON beside them."""

    def __init__(self, config: str, splitter: Splitter) -> None:
        self._config = config
        self._splitter = splitter

    def process(self, item: Any) -> Iterator[Any]:
        config = settings.from_json(Config, self._config)
        good = 0
        kept: list[tuple[str, rows.Row]] = []  # the first of the subset so far, and as many that may not be in it
        for row in read_rows(config, item):
            if isinstance(row, rows.Rejected):
                yield beam.pvalue.TaggedOutput(REJECTED, row.to_json())
                continue
            good += 1
            if config.max_rows is None:
                yield rows.rank(row), self._splitter(row), row
            else:
                kept.append((rows.rank(row), row))
                if len(kept) > 2 * config.max_rows:
                    kept = sorted(kept, key=operator.itemgetter(0))[: config.max_rows]
        for rank, row in sorted(kept, key=operator.itemgetter(0))[: config.max_rows]:
            yield rank, self._splitter(row), row
        yield beam.pvalue.TaggedOutput(_COUNTS, (GOOD, good))


class _Hear(beam.DoFn):
    """(rank, split, row) -> the same with its recording; rejected rows as JSON, and counts, beside them."""

    def __init__(self, config: str, audio: str) -> None:
        self._config = config
        self._audio = audio

    def setup(self) -> None:
        self._record = Recorder(settings.from_json(Config, self._config), settings.from_json(Audio, self._audio))

    def process(self, element: tuple[str, str, rows.Row]) -> Iterator[Any]:
        rank, split, row = element
        heard = self._record(row)
        if isinstance(heard, rows.Rejected):
            yield beam.pvalue.TaggedOutput(REJECTED, heard.to_json())
            yield beam.pvalue.TaggedOutput(_COUNTS, (UNHEARD, 1))
            return
        if heard.resampled:
            yield beam.pvalue.TaggedOutput(_COUNTS, (RESAMPLED, 1))
        yield rank, split, heard


def _example(element: tuple[str, str, rows.Row]) -> tuple[str, bytes]:
    _, split, row = element
    return split, rows.to_example(row).SerializeToString(deterministic=True)


def _digest(element: tuple[str, bytes]) -> tuple[str, int]:
    """A row's part of the digest of its split, a sum that no order changes."""
    split, example = element
    return f"digest_{split}", int.from_bytes(hashlib.sha256(example).digest()[:8], "big")


class _Subset(beam.PTransform):
    """The `size` rows that rank first: exact, and the same on every runner."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self._size = size

    def expand(self, good: beam.PCollection) -> beam.PCollection:
        last = (
            good
            | "Ranks" >> beam.Map(lambda row: row[0])
            | "First" >> beam.combiners.Top.Smallest(self._size)
            | "Last" >> beam.Map(lambda ranks: max(ranks, default=""))
        )
        return good | "Subset" >> beam.Filter(lambda row, last: row[0] <= last, beam.pvalue.AsSingleton(last))


class Executor(BaseExampleGenExecutor):
    """Reads each input once, on whatever runner Beam has; the base class writes the splits."""

    def GetInputSourceToExamplePTransform(self) -> beam.PTransform:
        """The base class reads each split on its own by this; rows are read once, see GenerateExamplesByBeam."""
        raise NotImplementedError

    def GenerateExamplesByBeam(
        self, pipeline: beam.Pipeline, exec_properties: dict[str, Any]
    ) -> dict[str, beam.PCollection]:
        """The splits, {"train": serialized examples, ...}; counts and dead letters go to files of their own.

        Recordings are written here, and {} is left to the base class: it would gather them all in memory to shuffle
        them, and training shuffles rows itself.
        """
        config, audio = settings.from_json(Config, exec_properties["config"]), exec_properties.get("audio")
        read = (
            pipeline
            | "Inputs" >> beam.Create(find_inputs(config))
            | "Read" >> beam.ParDo(_Read(exec_properties["config"], Splitter(config))).with_outputs(main="kept")
        )
        kept = read["kept"] if config.max_rows is None else read["kept"] | "Rows" >> _Subset(config.max_rows)
        if config.max_train_rows is not None:
            train, *others = kept | "Apart" >> beam.Partition(lambda row, _: SPLITS.index(row[1]), len(SPLITS))
            kept = (train | "TrainRows" >> _Subset(config.max_train_rows), *others) | "Together" >> beam.Flatten()
        outputs = [read]
        if audio:
            hear = beam.ParDo(_Hear(exec_properties["config"], audio))
            heard = kept | "Spread" >> beam.Reshuffle() | "Hear" >> hear.with_outputs(main="kept")
            kept = heard["kept"]
            outputs.append(heard)
        examples = kept | "Examples" >> beam.Map(_example)
        _write_counts(exec_properties["rejected_uri"], examples, outputs)
        parts = examples | "Split" >> beam.Partition(lambda row, _: SPLITS.index(row[0]), len(SPLITS))
        splits = {
            split: part | f"Examples[{split}]" >> beam.Map(lambda row: row[1])
            for split, part in zip(SPLITS, parts, strict=True)
        }
        if not audio:
            return splits
        for split, part in splits.items():
            path = os.path.join(exec_properties["examples_uri"], f"Split-{split}", _EXAMPLES_FILE)
            _ = part | f"Write[{split}]" >> beam.io.WriteToTFRecord(path, file_name_suffix=".gz")
        return {}

    def Do(
        self,
        input_dict: dict[str, list[Artifact]],
        output_dict: dict[str, list[Artifact]],
        exec_properties: dict[str, Any],
    ) -> None:
        """See TFX. The copy of the dead letters outlives a failure, after which TFX deletes the outputs."""
        config = settings.from_json(Config, exec_properties["config"])
        audio = settings.from_json(Audio, exec_properties["audio"]) if exec_properties.get("audio") else None
        require_audio(config, audio)
        artifact = artifact_utils.get_single_instance(output_dict["rejected"])
        uris = {f"{name}_uri": artifact_utils.get_single_instance(output_dict[name]).uri for name in output_dict}
        fileio.makedirs(artifact.uri)
        super().Do(input_dict, output_dict, {**exec_properties, **_base_properties(), **uris})

        letters = os.path.join(artifact.uri, REJECTED_FILE)
        fileio.makedirs(exec_properties["dead_letters_dir"])
        fileio.copy(letters, os.path.join(exec_properties["dead_letters_dir"], REJECTED_FILE), overwrite=True)
        counted = dict(_json_lines(os.path.join(artifact.uri, _COUNTS_FILE)))
        recorded = (UNHEARD, RESAMPLED) if audio else ()
        counts = {name: counted.get(name, 0) for name in (*SPLITS, GOOD, *recorded)}
        counts[REJECTED] = sum(1 for _ in _json_lines(letters))
        for name, count in counts.items():
            artifact.set_int_custom_property(f"rows_{name}", count)
        for split in SPLITS:
            digest = counted.get(f"digest_{split}", 0) % 2**64
            artifact.set_string_custom_property(f"digest_{split}", f"{digest:016x}")
        rejected = (rows.Rejected(**fields) for fields in _json_lines(letters))
        require_sound(counts, rejected, config.max_rejected_fraction)


class RowExampleGenSpec(component_spec.ComponentSpec):
    """What goes in and out of RowExampleGen."""

    PARAMETERS: ClassVar[dict[str, Any]] = {
        **{name: component_spec.ExecutionParameter(type=str) for name in ("config", "fingerprint", "dead_letters_dir")},
        "audio": component_spec.ExecutionParameter(type=str, optional=True),  # there is none of texts
    }
    INPUTS: ClassVar[dict[str, Any]] = {}
    OUTPUTS: ClassVar[dict[str, Any]] = {
        "examples": component_spec.ChannelParameter(type=standard_artifacts.Examples),
        "rejected": component_spec.ChannelParameter(type=RejectedRows),
    }


class RowExampleGen(BaseBeamComponent):
    """Rows of a source as examples in three splits, and the rows that were rejected."""

    SPEC_CLASS = RowExampleGenSpec
    EXECUTOR_SPEC = executor_spec.BeamExecutorSpec(Executor)

    def __init__(
        self, config: dict[str, Any], fingerprint: str, dead_letters_dir: str, audio: Audio | None = None
    ) -> None:
        """Configure the reading; all arguments are part of the cache's key.

        Args:
            config: the section `data`.
            fingerprint: `sources.fingerprint` of its inputs: changed data is read again.
            dead_letters_dir: a folder that gets a copy of rejected.jsonl, whatever becomes of the run.
            audio: the section `audio`, of a source of recordings.
        """
        spec = RowExampleGenSpec(
            config=settings.to_json(settings.from_json(Config, config)),
            fingerprint=fingerprint,
            dead_letters_dir=dead_letters_dir,
            **({} if audio is None else {"audio": settings.to_json(audio)}),
            examples=Channel(type=standard_artifacts.Examples),
            rejected=Channel(type=RejectedRows),
        )
        super().__init__(spec=spec)


def _base_properties() -> dict[str, Any]:
    """What the base class wants to know: the names of the splits, and the form of the examples."""
    splits = [example_gen_pb2.Input.Split(name=split, pattern=split) for split in SPLITS]
    return {
        standard_component_specs.INPUT_CONFIG_KEY: proto_utils.proto_to_json(example_gen_pb2.Input(splits=splits)),
        standard_component_specs.OUTPUT_CONFIG_KEY: proto_utils.proto_to_json(example_gen_pb2.Output()),
        standard_component_specs.OUTPUT_DATA_FORMAT_KEY: example_gen_pb2.FORMAT_TF_EXAMPLE,
        standard_component_specs.OUTPUT_FILE_FORMAT_KEY: example_gen_pb2.FORMAT_TFRECORDS_GZIP,
    }


def _write_counts(folder: str, examples: beam.PCollection, outputs: Sequence[Any]) -> None:
    """The dead letters and the counts of all steps, and how many examples each split has, and which."""
    _ = (
        [output[REJECTED] for output in outputs]
        | "AllRejected" >> beam.Flatten()
        | "DeadLetters" >> _write_text(os.path.join(folder, REJECTED_FILE))
    )
    counts = [examples | "Splits" >> beam.Map(lambda row: (row[0], 1)), *(output[_COUNTS] for output in outputs)]
    _ = (
        [*counts, examples | "Digests" >> beam.Map(_digest)]
        | "AllCounts" >> beam.Flatten()
        | "Added" >> beam.CombinePerKey(sum)
        | "Counted" >> beam.Map(json.dumps)
        | "Counts" >> _write_text(os.path.join(folder, _COUNTS_FILE))
    )


def _write_text(path: str) -> beam.PTransform:
    return beam.io.WriteToText(path, shard_name_template="")


def _json_lines(path: str) -> Iterator[Any]:
    with fileio.open(path) as file:
        yield from map(json.loads, file)
