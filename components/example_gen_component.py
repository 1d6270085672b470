"""ExampleGen: reads a source on Beam and writes tf.train.Example, and dead letters.

"tea<TAB>thé" -> Split-train/...: {source: "tea", target: "thé", references: ["thé"], source_length: "1-4", group: "",
                                 origin: "a.tsv:7"}
"tea"         -> rejected.jsonl:  {"file": "a.tsv", "line": 8, "reason": "1 column, expected 2", "row": "tea"}
"""

from __future__ import annotations

import hashlib
import json
import operator
import os
from collections.abc import Iterator
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
from components.example_gen import GOOD, REJECTED, Config, Splitter, find_inputs, read_rows, require_sound
from models.contract import SPLITS

REJECTED_FILE = "rejected.jsonl"
_COUNTS_FILE = "counts.jsonl"


class RejectedRows(Artifact):
    """rejected.jsonl, and the custom properties rows_train, rows_validation, rows_test, rows_rejected.

    digest_train and so on are of the rows themselves, in any order: the same rows have the same.
    """

    TYPE_NAME = "fovea.RejectedRows"


class _Read(beam.DoFn):
    """Input -> (rank, split, serialized example), at most `max_rows` of an input; rejected rows as JSON beside them."""

    def __init__(self, config: str) -> None:
        self._config = config

    def process(self, item: Any) -> Iterator[Any]:
        config = settings.from_json(Config, self._config)
        splitter = Splitter(config)
        good = 0
        kept: list[tuple[str, rows.Row]] = []  # the first of the subset so far, and as many that may not be in it
        for row in read_rows(config, item):
            if isinstance(row, rows.Rejected):
                yield beam.pvalue.TaggedOutput(REJECTED, row.to_json())
                continue
            good += 1
            if config.max_rows is None:
                yield _element(rows.rank(row), row, splitter)
            else:
                kept.append((rows.rank(row), row))
                if len(kept) > 2 * config.max_rows:
                    kept = sorted(kept, key=operator.itemgetter(0))[: config.max_rows]
        for rank, row in sorted(kept, key=operator.itemgetter(0))[: config.max_rows]:
            yield _element(rank, row, splitter)
        yield beam.pvalue.TaggedOutput(GOOD, good)


def _element(rank: str, row: rows.Row, splitter: Splitter) -> tuple[str, str, bytes]:
    return rank, splitter(row), rows.to_example(row).SerializeToString(deterministic=True)


def _digest(element: tuple[str, str, bytes]) -> tuple[str, int]:
    """A row's part of the digest of its split, a sum that no order changes."""
    _, split, example = element
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
        """The splits, {"train": serialized examples, ...}; counts and dead letters go to files of their own."""
        config = settings.from_json(Config, exec_properties["config"])
        folder = exec_properties["rejected_uri"]
        read = (
            pipeline
            | "Inputs" >> beam.Create(find_inputs(config))
            | "Read" >> beam.ParDo(_Read(exec_properties["config"])).with_outputs(REJECTED, GOOD, main="kept")
        )
        _ = read[REJECTED] | "DeadLetters" >> _write_text(os.path.join(folder, REJECTED_FILE))
        kept = read["kept"] if config.max_rows is None else read["kept"] | "Rows" >> _Subset(config.max_rows)
        if config.max_train_rows is not None:
            train, *others = kept | "Apart" >> beam.Partition(lambda row, _: SPLITS.index(row[1]), len(SPLITS))
            kept = (train | "TrainRows" >> _Subset(config.max_train_rows), *others) | "Together" >> beam.Flatten()
        of_splits = kept | "Splits" >> beam.Map(lambda row: row[1]) | "Count" >> beam.combiners.Count.PerElement()
        of_all = read[GOOD] | "Sum" >> beam.CombineGlobally(sum) | "Named" >> beam.Map(lambda count: (GOOD, count))
        digests = kept | "Digests" >> beam.Map(_digest) | "Added" >> beam.CombinePerKey(sum)
        _ = (
            (of_splits, of_all, digests)
            | "AllCounts" >> beam.Flatten()
            | "Counted" >> beam.Map(json.dumps)
            | "Counts" >> _write_text(os.path.join(folder, _COUNTS_FILE))
        )
        parts = kept | "Split" >> beam.Partition(lambda row, _: SPLITS.index(row[1]), len(SPLITS))
        return {
            split: part | f"Examples[{split}]" >> beam.Map(lambda row: row[2])
            for split, part in zip(SPLITS, parts, strict=True)
        }

    def Do(
        self,
        input_dict: dict[str, list[Artifact]],
        output_dict: dict[str, list[Artifact]],
        exec_properties: dict[str, Any],
    ) -> None:
        """See TFX. The copy of the dead letters outlives a failure, after which TFX deletes the outputs."""
        config = settings.from_json(Config, exec_properties["config"])
        artifact = artifact_utils.get_single_instance(output_dict["rejected"])
        fileio.makedirs(artifact.uri)
        super().Do(input_dict, output_dict, {**exec_properties, **_base_properties(), "rejected_uri": artifact.uri})

        letters = os.path.join(artifact.uri, REJECTED_FILE)
        fileio.makedirs(exec_properties["dead_letters_dir"])
        fileio.copy(letters, os.path.join(exec_properties["dead_letters_dir"], REJECTED_FILE), overwrite=True)
        counted = dict(_json_lines(os.path.join(artifact.uri, _COUNTS_FILE)))
        counts = {name: counted.get(name, 0) for name in (*SPLITS, GOOD)}
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
        name: component_spec.ExecutionParameter(type=str) for name in ("config", "fingerprint", "dead_letters_dir")
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

    def __init__(self, config: dict[str, Any], fingerprint: str, dead_letters_dir: str) -> None:
        """Configure the reading; all arguments are part of the cache's key.

        Args:
            config: the section `data`.
            fingerprint: `sources.fingerprint` of its inputs: changed data is read again.
            dead_letters_dir: a folder that gets a copy of rejected.jsonl, whatever becomes of the run.
        """
        spec = RowExampleGenSpec(
            config=settings.to_json(settings.from_json(Config, config)),
            fingerprint=fingerprint,
            dead_letters_dir=dead_letters_dir,
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


def _write_text(path: str) -> beam.PTransform:
    return beam.io.WriteToText(path, shard_name_template="")


def _json_lines(path: str) -> Iterator[Any]:
    with fileio.open(path) as file:
        yield from map(json.loads, file)
