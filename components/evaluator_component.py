"""TFX's Evaluator with an executor of ours: TFMA as it is, and beside it the decoded rows and a verdict in words."""

from __future__ import annotations

import json
import pathlib
import typing

import apache_beam as beam
import numpy as np
import tensorflow_model_analysis as tfma
from tensorflow_model_analysis.proto import config_pb2
from tfx.components.evaluator import constants
from tfx.components.util import tfxio_utils
from tfx.dsl.components.base import base_beam_component, base_beam_executor, executor_spec
from tfx.types import Artifact, BaseChannel, Channel, artifact_utils, component_spec, standard_artifacts
from tfx.utils import io_utils, path_utils

from components import alignment, asked, attention_metrics, bootstrap, metrics, rarity, row_verdict, settings
from components.evaluator import (
    CHAMPION,
    PREDICTIONS_FILE,
    Aligned,
    Config,
    Verdict,
    group_means,
    judge,
    read_predictions,
    write_alignments,
)
from components.row_checks_component import RowChecks
from components.tfma_config import eval_config
from components.tfma_metrics import strings
from components.tokenizer import model_path
from components.tokenizer_component import Tokenizer
from models.contract import ALIGNMENT, AUDIO, GROUP, ORIGIN, REFERENCES, SOURCE, SPLITS
from serving import local, signatures

CANDIDATE, BASELINE = "candidate", "baseline"  # TFMA's own names
EVALUATED_SPLIT = "test"
ALIGNED_ROWS = 8

ArtifactDict = dict[str, list[Artifact]]


class Executor(base_beam_executor.BaseBeamExecutor):
    """Decodes, measures, compares and blesses."""

    def Do(self, input_dict: ArtifactDict, output_dict: ArtifactDict, exec_properties: dict[str, typing.Any]) -> None:
        """See TFX. Writes the evaluation and the blessing artifact."""
        config = settings.from_json(Config, exec_properties["config"])
        evaluation = pathlib.Path(artifact_utils.get_single_uri(output_dict["evaluation"]))
        candidate = artifact_utils.get_single_instance(input_dict["model"])
        baseline = next(iter(input_dict.get("baseline_model") or []), None)
        tfma_config = tfma.utils.update_eval_config_with_defaults(
            eval_config(config, exec_properties["token_unit"]), has_baseline=baseline is not None, rubber_stamp=True
        )
        models = [_shared_model(CANDIDATE if baseline else "", candidate, tfma_config)]
        if baseline:
            models.append(_shared_model(BASELINE, baseline, tfma_config))
        self._measure(input_dict["examples"], models, tfma_config, evaluation)
        model = local.LocalModel(path_utils.serving_model_path(candidate.uri))
        rows = list(read_predictions(evaluation))
        computed = metrics.signatures(config.metrics, (row["references"] for row in rows))
        differences = _differences(config, rows, exec_properties["token_unit"])
        rare = self._rare_slices(config, rows, input_dict, exec_properties["token_unit"])
        looked = rows
        if model.input == AUDIO:
            looked = asked.attach(rows, artifact_utils.get_split_uris(input_dict["examples"], EVALUATED_SPLIT))
        verdict = _verdict(config, evaluation, attention_metrics.measure(model, looked), differences, computed, rare)
        verdict.write(evaluation)
        write_alignments(evaluation, _aligned(model, looked[:ALIGNED_ROWS]))
        _bless(verdict, artifact_utils.get_single_instance(output_dict["blessing"]), candidate, baseline)

    @staticmethod
    def _rare_slices(
        config: Config, rows: list[dict[str, typing.Any]], input_dict: ArtifactDict, token_unit: str
    ) -> dict[str, dict[str, float]]:
        """The slices that need the tokenizer and the counts of the train rows: no feature of an example."""
        if rarity.RAREST_PIECE not in config.slices:
            return {}
        path = pathlib.Path(model_path(artifact_utils.get_single_uri(input_dict["tokenizer"]), SOURCE))
        if not path.exists():  # recordings have no pieces
            return {}
        tokenizer = path.read_bytes()
        checks = row_verdict.Verdict.read(pathlib.Path(artifact_utils.get_single_uri(input_dict["checks"])))
        count = rarity.rarest(tokenizer, checks.statistics[SPLITS[0]]["source_pieces"])
        return rarity.slices(rows, count, config.metrics, token_unit)

    def _measure(
        self,
        examples: list[Artifact],
        models: list[typing.Any],
        config: config_pb2.EvalConfig,
        evaluation: pathlib.Path,
    ) -> None:
        factory = tfxio_utils.get_tfxio_factory_from_artifact(
            examples=examples, telemetry_descriptors=["Evaluator"], raw_record_column_name=tfma.ARROW_INPUT_COLUMN
        )
        shared = models[0] if len(models) == 1 else models
        extractors = [
            *tfma.default_extractors(eval_shared_model=shared, eval_config=config),
            tfma.extractors.Extractor("KeepPredictions", _KeepPredictions(str(evaluation / PREDICTIONS_FILE))),
        ]
        with self._make_beam_pipeline() as pipeline:
            rows = [
                pipeline | f"Read{index}" >> factory(io_utils.all_files_pattern(uri)).BeamSource()
                for index, uri in enumerate(artifact_utils.get_split_uris(examples, EVALUATED_SPLIT))
            ]
            _ = (
                rows
                | beam.Flatten()
                | tfma.ExtractEvaluateAndWriteResults(
                    eval_shared_model=shared,
                    eval_config=config,
                    extractors=extractors,
                    output_path=str(evaluation),
                )
            )


class _KeepPredictions(beam.PTransform):
    """An extractor that adds nothing: it writes each row and the candidate's answer to a file."""

    def __init__(self, path: str) -> None:
        super().__init__()
        self._path = path

    def expand(self, extracts: beam.PCollection) -> beam.PCollection:
        _ = (
            extracts
            | beam.Map(_prediction_line)
            | beam.io.WriteToText(self._path, num_shards=1, shard_name_template="")
        )
        return extracts


def _prediction_line(extracts: dict[str, typing.Any]) -> str:
    predictions = extracts[tfma.PREDICTIONS_KEY]
    features = extracts[tfma.FEATURES_KEY]
    row: dict[str, str | list[str]] = {
        "source": strings(features[SOURCE])[0],
        "references": strings(features[REFERENCES]),
        "prediction": strings(predictions.get(CANDIDATE, predictions)[signatures.TEXT])[0],
    }
    if BASELINE in predictions:
        row[CHAMPION] = strings(predictions[BASELINE][signatures.TEXT])[0]
    for name in (GROUP, ALIGNMENT, ORIGIN):
        values = features.get(name)
        text = "".join(strings([] if values is None else values))
        if text:
            row[name] = text
    return json.dumps(row, ensure_ascii=False)


def _shared_model(name: str, model: Artifact, config: config_pb2.EvalConfig) -> typing.Any:
    return tfma.default_eval_shared_model(
        eval_saved_model_path=path_utils.serving_model_path(model.uri),
        model_name=name,
        eval_config=config,
    )


def _aligned(model: local.LocalModel, rows: list[dict[str, typing.Any]]) -> list[Aligned]:
    """Decoded rows with the attention of their answers."""
    answers = alignment.read(model.predict(signatures.ALIGN, asked.inputs(rows)))
    return [
        Aligned(
            source=row["source"],
            references=row["references"],
            prediction=row["prediction"],
            source_pieces=answer.source_pieces,
            target_pieces=answer.target_pieces,
            attention=np.round(answer.attention, 4).tolist(),
        )
        for row, answer in zip(rows, answers, strict=True)
    ]


def _differences(
    config: Config, rows: list[dict[str, typing.Any]], token_unit: str
) -> dict[metrics.Name, bootstrap.Difference]:
    """The candidate held against the champion, by every metric that is compared; {} where there is no champion."""
    if not rows or CHAMPION not in rows[0]:
        return {}
    differences = {}
    for name in config.margins:
        metric = metrics.find(name, token_unit)
        champion, candidate = (
            np.stack([metric.statistics(row["references"], row[answer]) for row in rows])
            for answer in (CHAMPION, "prediction")
        )
        differences[name] = bootstrap.compare(metric, champion, candidate, config.confidence)
    return differences


def _verdict(
    config: Config,
    evaluation: pathlib.Path,
    attention: attention_metrics.Measured,
    differences: dict[metrics.Name, bootstrap.Difference],
    computed: dict[str, str],
    rare: dict[str, dict[str, float]],
) -> Verdict:
    """Read what TFMA wrote, add what it does not measure, and put it in words."""
    tables: dict[str, dict[str, dict[str, float]]] = {CANDIDATE: {}, BASELINE: {}}
    for record in tfma.load_metrics(str(evaluation)):
        where = " ".join(f"{key.column}:{_value(key)}" for key in record.slice_key.single_slice_keys)
        for metric in record.metric_keys_and_values:
            if not metric.key.is_diff:
                table = tables[metric.key.model_name or CANDIDATE].setdefault(where, {})
                name = "rows" if metric.key.name == "example_count" else metric.key.name
                table[name] = metric.value.double_value.value
    result = tfma.load_validation_result(str(evaluation))
    failed = {
        failure.metric_key.name for validated in result.metric_validations_per_slice for failure in validated.failures
    }
    overall = tables[CANDIDATE].pop("")
    tables[CANDIDATE].pop(f"{GROUP}:", None)  # the rows of no group
    baseline = tables[BASELINE].get("", {})
    slices = dict(sorted((tables[CANDIDATE] | rare).items()))
    judged = judge(config, overall, differences, failed, slices)
    return Verdict(
        rows=int(overall.pop("rows")),
        blessed=all(each.holds for each in judged),
        reasons=tuple(each.sentence for each in judged),
        metrics=overall | group_means(slices) | attention.metrics,
        baseline={name: value for name, value in baseline.items() if name != "rows"},
        slices=slices,
        differences=differences,
        signatures=computed,
        warnings=attention.sentences(),
    )


def _value(key: typing.Any) -> str:
    kind = key.WhichOneof("kind")
    value = getattr(key, kind)
    return value.decode() if isinstance(value, bytes) else str(value)


def _bless(verdict: Verdict, blessing: Artifact, candidate: Artifact, baseline: Artifact | None) -> None:
    """Mark the blessing as TFX's own Evaluator does, for its Pusher and its resolvers."""
    blessing.set_string_custom_property(constants.ARTIFACT_PROPERTY_CURRENT_MODEL_URI_KEY, candidate.uri)
    blessing.set_int_custom_property(constants.ARTIFACT_PROPERTY_CURRENT_MODEL_ID_KEY, candidate.id)
    if baseline:
        blessing.set_string_custom_property(constants.ARTIFACT_PROPERTY_BASELINE_MODEL_URI_KEY, baseline.uri)
        blessing.set_int_custom_property(constants.ARTIFACT_PROPERTY_BASELINE_MODEL_ID_KEY, baseline.id)
    blessing.set_string_custom_property("verdict", verdict.words())
    for metric, difference in verdict.differences.items():
        blessing.set_string_custom_property(f"compare.{metric}", difference.words())
        for end, value in (("low", difference.low), ("high", difference.high)):
            blessing.set_float_custom_property(f"compare.{metric}.{end}", value)
    name = constants.BLESSED_FILE_NAME if verdict.blessed else constants.NOT_BLESSED_FILE_NAME
    io_utils.write_string_file(str(pathlib.Path(blessing.uri) / name), "")
    value = constants.BLESSED_VALUE if verdict.blessed else constants.NOT_BLESSED_VALUE
    blessing.set_int_custom_property(constants.ARTIFACT_PROPERTY_BLESSED_KEY, value)


class EvaluatorSpec(component_spec.ComponentSpec):
    """What goes in and out of the Evaluator."""

    PARAMETERS = {
        "config": component_spec.ExecutionParameter(type=str),
        "token_unit": component_spec.ExecutionParameter(type=str),
    }
    INPUTS = {
        "examples": component_spec.ChannelParameter(type=standard_artifacts.Examples),
        "model": component_spec.ChannelParameter(type=standard_artifacts.Model),
        "tokenizer": component_spec.ChannelParameter(type=Tokenizer),
        "checks": component_spec.ChannelParameter(type=RowChecks),
        "baseline_model": component_spec.ChannelParameter(type=standard_artifacts.Model, optional=True),
    }
    OUTPUTS = {
        "evaluation": component_spec.ChannelParameter(type=standard_artifacts.ModelEvaluation),
        "blessing": component_spec.ChannelParameter(type=standard_artifacts.ModelBlessing),
    }


class Evaluator(base_beam_component.BaseBeamComponent):
    """Evaluates a model on the test rows and blesses it, or not. `baseline_model` may resolve to nothing."""

    SPEC_CLASS = EvaluatorSpec
    EXECUTOR_SPEC = executor_spec.BeamExecutorSpec(Executor)

    def __init__(
        self,
        examples: BaseChannel,
        model: BaseChannel,
        tokenizer: BaseChannel,
        checks: BaseChannel,
        baseline_model: BaseChannel,
        config: Config,
        token_unit: str,
    ) -> None:
        super().__init__(
            EvaluatorSpec(
                examples=examples,
                model=model,
                tokenizer=tokenizer,
                checks=checks,
                baseline_model=baseline_model,
                config=settings.to_json(config),
                token_unit=token_unit,
                evaluation=Channel(type=standard_artifacts.ModelEvaluation),
                blessing=Channel(type=standard_artifacts.ModelBlessing),
            )
        )
