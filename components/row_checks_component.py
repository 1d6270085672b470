"""SequenceValidator: `row_checks.py` on Beam, over the examples of all splits, between the Tokenizer and the Trainer.

examples, tokenizer -> checks.json:    what was found by split, held against limits, and statistics
                       findings.jsonl: {"kind": "duplicate", "split": "train", "file": "a.tsv", "line": 7, ...}
"""

from __future__ import annotations

import collections
import dataclasses
import json
import pathlib
import typing
from collections.abc import Iterable, Iterator

import apache_beam as beam
import ml_metadata
import sentencepiece
from tfx.dsl.components.base import executor_spec
from tfx.dsl.components.base.base_beam_component import BaseBeamComponent
from tfx.dsl.components.base.base_beam_executor import BaseBeamExecutor
from tfx.dsl.components.common.resolver import ResolverStrategy
from tfx.types import BaseChannel, Channel, artifact_utils, component_spec, standard_artifacts
from tfx.types.artifact import Artifact
from tfx.utils import io_utils

from components import recordings, rows, settings
from components.row_checks import (
    Config,
    Copies,
    Counts,
    Finding,
    Kind,
    Measured,
    Typical,
    add,
    identities,
    offences,
    repeats,
    scripts,
)
from components.row_verdict import FINDINGS_FILE, Verdict, counts_of, judge, require
from components.tokenizer import SIDES, model_path
from components.tokenizer_component import Tokenizer
from models.audio import Audio
from models.contract import SPLITS

EXAMPLES_ID = "examples_id"  # the rows that were checked, so that other ones are found to compare with
COUNTS, FOUND = "counts.json", "found.json"  # what leaves Beam
EXAMPLES, PREVIOUS = "examples", "previous"

ArtifactDict = dict[str, list[Artifact]]


class RowChecks(Artifact):
    """checks.json and findings.jsonl; custom properties examples_id, warnings."""

    TYPE_NAME = "fovea.RowChecks"


class LatestOfOtherExamples(ResolverStrategy):
    """The latest checks of other examples than these: the data before.

    Held against checks of the same examples a run would find no drift, and nothing of it in the cache.
    """

    def resolve_artifacts(self, store: ml_metadata.MetadataStore, input_dict: ArtifactDict) -> ArtifactDict:
        """See TFX: {previous, examples} -> the same, `previous` of one element, or of none."""
        own = {artifact.id for artifact in input_dict[EXAMPLES]}
        others = [each for each in input_dict[PREVIOUS] if each.get_int_custom_property(EXAMPLES_ID) not in own]
        latest = sorted(others, key=lambda artifact: artifact.id)[-1:]
        return {PREVIOUS: latest, EXAMPLES: input_dict[EXAMPLES]}


class _Measure(beam.DoFn):
    """A serialized example -> Measured. The pieces of a recording are its frames."""

    def __init__(self, split: str, tokenizer: str, audio: Audio | None) -> None:
        self._split, self._tokenizer, self._audio = split, tokenizer, audio

    def setup(self) -> None:
        self._processors = {
            side: sentencepiece.SentencePieceProcessor(
                model_proto=io_utils.read_bytes_file(model_path(self._tokenizer, side))
            )
            for side in (SIDES[1:] if self._audio else SIDES)
        }

    def process(self, serialized: bytes) -> Iterator[Measured]:
        row = rows.from_example(serialized, with_audio=self._audio is not None)
        texts = {"source": row.source, "target": row.references[0]}
        ids = {side: processor.encode(texts[side]) for side, processor in self._processors.items()}
        pieces = {side: len(of_side) for side, of_side in ids.items()}
        if self._audio:
            pieces["source"] = len(recordings.from_canonical(row.audio, self._audio))
        source = self._processors.get("source")
        yield Measured(
            split=self._split,
            row=dataclasses.replace(row, audio=b""),
            pieces=pieces,
            unknown={side: self._unknown(side, ids.get(side, [])) for side in SIDES},
            scripts={side: scripts(texts[side]) if side in ids else collections.Counter() for side in SIDES},
            source_pieces=collections.Counter(source.id_to_piece(ids["source"]) if source else ()),
        )

    def _unknown(self, side: str, ids: list[int]) -> int:
        """How many pieces say that the model has none for what is there: UNK, or bytes that spell it."""
        return sum(self._processors[side].is_unknown(piece) or self._processors[side].is_byte(piece) for piece in ids)


class _SumCounts(beam.CombineFn):
    """Measured rows -> {split: Counts}."""

    def create_accumulator(self) -> dict[str, Counts]:
        return {}

    def add_input(self, accumulator: dict[str, Counts], row: Measured) -> dict[str, Counts]:
        add(accumulator.setdefault(row.split, {}), row.counts())
        return accumulator

    def merge_accumulators(self, accumulators: Iterable[dict[str, Counts]]) -> dict[str, Counts]:
        total: dict[str, Counts] = {}
        for accumulator in accumulators:
            for split, counts in accumulator.items():
                add(total.setdefault(split, {}), counts)
        return total

    def extract_output(self, accumulator: dict[str, Counts]) -> dict[str, Counts]:
        return accumulator


def _merge_copies(parts: Iterable[dict[str, Copies]]) -> dict[str, Copies]:
    total: dict[str, Copies] = {}
    for part in parts:
        for split, copies in part.items():
            total[split] = total[split] + copies if split in total else copies
    return total


class _Listed(beam.CombineFn):
    """(rows, Finding) of a kind and split -> their number, and the first of them as they stand in the files."""

    def __init__(self, listed: int) -> None:
        self._listed = listed

    def create_accumulator(self) -> tuple[int, list[Finding]]:
        return 0, []

    def add_input(
        self, accumulator: tuple[int, list[Finding]], element: tuple[int, Finding]
    ) -> tuple[int, list[Finding]]:
        return self._shorten(accumulator[0] + element[0], [*accumulator[1], element[1]], room=self._listed)

    def merge_accumulators(self, accumulators: Iterable[tuple[int, list[Finding]]]) -> tuple[int, list[Finding]]:
        parts = list(accumulators)
        return self._shorten(sum(number for number, _ in parts), [each for _, listed in parts for each in listed])

    def extract_output(self, accumulator: tuple[int, list[Finding]]) -> tuple[int, list[Finding]]:
        return self._shorten(*accumulator)

    def _shorten(self, number: int, findings: list[Finding], room: int = 0) -> tuple[int, list[Finding]]:
        """Sorting at each addition would be slow: it waits until there are `room` more than are kept."""
        if room and len(findings) <= self._listed + room:
            return number, findings
        return number, sorted(findings, key=lambda each: (each.file, each.line))[: self._listed]


class Executor(BaseBeamExecutor):
    """Only counts and the listed rows leave Beam."""

    def Do(self, input_dict: ArtifactDict, output_dict: ArtifactDict, exec_properties: dict[str, typing.Any]) -> None:
        """See TFX. The copy of the listed rows outlives a failure, after which TFX deletes the outputs."""
        config = settings.from_json(Config, exec_properties["config"])
        checks = artifact_utils.get_single_instance(output_dict["checks"])
        folder, work = pathlib.Path(checks.uri), pathlib.Path(self._get_tmp_dir())
        audio = exec_properties["audio"]
        self._measure(input_dict, config, settings.from_json(Audio, audio) if audio else None, work)
        statistics = {split: counts_of(counts) for split, counts in json.loads((work / COUNTS).read_text()).items()}
        found: dict[tuple[Kind, str], int] = {}
        listed: list[Finding] = []
        for line in sorted((work / FOUND).read_text().splitlines()):
            (kind, split), (number, findings) = json.loads(line)
            found[kind, split] = number
            listed += [Finding(**finding) for finding in findings]
        previous = input_dict.get(PREVIOUS) or []
        before = Verdict.read(pathlib.Path(previous[0].uri)).statistics if previous else None
        verdict = judge(config, statistics, found, before)

        folder.mkdir(parents=True, exist_ok=True)
        verdict.write(folder)
        listing = pathlib.Path(exec_properties["listing_dir"]) / FINDINGS_FILE
        listing.parent.mkdir(parents=True, exist_ok=True)
        for path in (folder / FINDINGS_FILE, listing):
            path.write_text("".join(finding.to_json() + "\n" for finding in listed))
        checks.set_int_custom_property(EXAMPLES_ID, artifact_utils.get_single_instance(input_dict[EXAMPLES]).id)
        checks.set_int_custom_property("warnings", len(verdict.of_state("warning")))
        require(verdict, listed, str(listing))

    def _measure(self, input_dict: ArtifactDict, config: Config, audio: Audio | None, work: pathlib.Path) -> None:
        examples, tokenizer = input_dict[EXAMPLES], artifact_utils.get_single_uri(input_dict["tokenizer"])
        with self._make_beam_pipeline() as pipeline:
            measured = [
                pipeline
                | f"Read[{split}]"
                >> beam.io.ReadFromTFRecord(io_utils.all_files_pattern(artifact_utils.get_split_uri(examples, split)))
                | f"Measure[{split}]" >> beam.ParDo(_Measure(split, tokenizer, audio))
                for split in SPLITS
            ] | beam.Flatten()
            counts = measured | "Counts" >> beam.CombineGlobally(_SumCounts())
            typical = counts | "Typical" >> beam.Map(lambda counts: Typical.of(counts.get(SPLITS[0], {}), config))
            alone = measured | "Offences" >> beam.FlatMap(
                lambda row, typical: [(1, finding) for finding in offences(row, config, typical)],
                beam.pvalue.AsSingleton(typical),
            )
            together = (
                measured
                | "Identities" >> beam.FlatMap(identities)
                | "Copies" >> beam.CombinePerKey(_merge_copies)
                | "Repeats" >> beam.FlatMapTuple(repeats)
            )
            found = (
                (alone, together)
                | "Findings" >> beam.Flatten()
                | "Keyed" >> beam.Map(lambda element: ((element[1].kind, element[1].split), element))
                | "Listed" >> beam.CombinePerKey(_Listed(config.listed))
            )
            _ = counts | "CountsJson" >> beam.Map(json.dumps) | "Write" >> _write(work / COUNTS)
            _ = found | "FoundJson" >> beam.Map(_found_json) | "WriteFound" >> _write(work / FOUND)


def _found_json(element: tuple[tuple[Kind, str], tuple[int, list[Finding]]]) -> str:
    key, (number, findings) = element
    return json.dumps([key, [number, [json.loads(finding.to_json()) for finding in findings]]])


def _write(path: pathlib.Path) -> beam.PTransform:
    return beam.io.WriteToText(str(path), shard_name_template="")


class SequenceValidatorSpec(component_spec.ComponentSpec):
    """What goes in and out of the SequenceValidator."""

    PARAMETERS = {name: component_spec.ExecutionParameter(type=str) for name in ("config", "audio", "listing_dir")}
    INPUTS = {
        EXAMPLES: component_spec.ChannelParameter(type=standard_artifacts.Examples),
        "tokenizer": component_spec.ChannelParameter(type=Tokenizer),
        PREVIOUS: component_spec.ChannelParameter(type=RowChecks, optional=True),
    }
    OUTPUTS = {"checks": component_spec.ChannelParameter(type=RowChecks)}


class SequenceValidator(BaseBeamComponent):
    """Checks rows as sequences. `previous` may resolve to nothing."""

    SPEC_CLASS = SequenceValidatorSpec
    EXECUTOR_SPEC = executor_spec.BeamExecutorSpec(Executor)

    def __init__(
        self,
        examples: BaseChannel,
        tokenizer: BaseChannel,
        previous: BaseChannel,
        config: Config,
        listing_dir: str,
        audio: Audio | None = None,
    ) -> None:
        """Configure the checks; all arguments are part of the cache's key.

        Args:
            examples: of RowExampleGen.
            tokenizer: of TokenizerTrainer.
            previous: the checks of the data before.
            config: the section `checks`.
            listing_dir: a folder that gets a copy of findings.jsonl, whatever becomes of the run.
            audio: what recordings are like, where the sources are recordings.
        """
        super().__init__(
            SequenceValidatorSpec(
                examples=examples,
                tokenizer=tokenizer,
                previous=previous,
                config=settings.to_json(config),
                listing_dir=listing_dir,
                audio=settings.to_json(audio) if audio else "",
                checks=Channel(type=RowChecks),
            )
        )
