"""Schema and validation of the examples: TFDV's, as it suits texts, and with a failure for an anomaly.

examples of the train split -> schema: source is bytes, one value, in every row
examples of a later split without it -> DataAnomalyError: validation: source: Column dropped (...)
"""

from __future__ import annotations

import os
from typing import Any

from tensorflow_metadata.proto.v0 import anomalies_pb2, schema_pb2
from tfx.components.example_validator import executor as validator_executor
from tfx.components.example_validator.component import ExampleValidator
from tfx.components.schema_gen import component as schema_component
from tfx.components.schema_gen import executor as schema_executor
from tfx.dsl.components.base import executor_spec
from tfx.proto.orchestration import execution_result_pb2
from tfx.types import artifact_utils
from tfx.types.artifact import Artifact
from tfx.types.channel import BaseChannel
from tfx.utils import io_utils

from models.contract import ALIGNMENT, AUDIO, GROUP, REFERENCES, SOURCE, SOURCE_LENGTH, SPLITS, TARGET


class DataAnomalyError(ValueError):
    """Examples that do not fit the schema of the train split."""


def relax(schema: schema_pb2.Schema) -> schema_pb2.Schema:
    """Take out of an inferred schema what is not so of texts.

    TFDV takes few different strings for categories, and a train split with one answer in every row for a rule. Known
    alignments are often those of the test split alone: any row of any split may have one. Recordings are no values to
    make statistics of, so that nothing is inferred of them.
    """
    relaxed = schema_pb2.Schema()
    relaxed.CopyFrom(schema)
    for feature in relaxed.feature:
        if feature.name in (SOURCE, TARGET, REFERENCES, SOURCE_LENGTH, GROUP):
            feature.ClearField("domain_info")
        if feature.name == REFERENCES:
            feature.ClearField("shape_type")
            feature.value_count.min = 1
    others = [feature for feature in relaxed.feature if feature.name != ALIGNMENT]
    del relaxed.feature[:]
    relaxed.feature.extend(others)
    for name in (ALIGNMENT, AUDIO):
        some_have = relaxed.feature.add(name=name, type=schema_pb2.BYTES)
        some_have.value_count.min, some_have.value_count.max = 0, 1
    used = {feature.domain for feature in relaxed.feature}
    unused = [domain for domain in relaxed.string_domain if domain.name not in used]
    for domain in unused:
        relaxed.string_domain.remove(domain)
    return relaxed


def describe(split: str, anomalies: anomalies_pb2.Anomalies) -> list[str]:
    """One line an anomaly: "validation: source: Column dropped (Column is completely missing)"."""
    found = {name or "(the data set)": info for name, info in anomalies.anomaly_info.items()}
    if anomalies.HasField("dataset_anomaly_info"):
        found["(the data set)"] = anomalies.dataset_anomaly_info
    return [f"{split}: {name}: {info.short_description} ({info.description})" for name, info in sorted(found.items())]


class SchemaExecutor(schema_executor.Executor):
    """Infers the schema, then relaxes it."""

    def Do(
        self,
        input_dict: dict[str, list[Artifact]],
        output_dict: dict[str, list[Artifact]],
        exec_properties: dict[str, Any],
    ) -> None:
        """See TFX."""
        super().Do(input_dict, output_dict, exec_properties)
        path = os.path.join(artifact_utils.get_single_uri(output_dict["schema"]), schema_executor.DEFAULT_FILE_NAME)
        io_utils.write_pbtxt_file(path, relax(io_utils.parse_pbtxt_file(path, schema_pb2.Schema())))


class SchemaGen(schema_component.SchemaGen):
    """The schema of the train split alone, so that the others can be held against it."""

    EXECUTOR_SPEC = executor_spec.ExecutorClassSpec(SchemaExecutor)

    def __init__(self, statistics: BaseChannel) -> None:
        """Args: the statistics of StatisticsGen."""
        super().__init__(statistics=statistics, exclude_splits=list(SPLITS[1:]))


class GateExecutor(validator_executor.Executor):
    """Validates, then stops the run on anomalies."""

    def Do(
        self,
        input_dict: dict[str, list[Artifact]],
        output_dict: dict[str, list[Artifact]],
        exec_properties: dict[str, Any],
    ) -> execution_result_pb2.ExecutorOutput:
        """See TFX."""
        result = super().Do(input_dict, output_dict, exec_properties)
        artifact = artifact_utils.get_single_instance(output_dict["anomalies"])
        found: list[str] = []
        for split in artifact_utils.decode_split_names(artifact.split_names):
            path = os.path.join(artifact_utils.get_split_uri([artifact], split), validator_executor.DEFAULT_FILE_NAME)
            found += describe(split, anomalies_pb2.Anomalies.FromString(io_utils.read_bytes_file(path)))
        if found:
            raise DataAnomalyError("the examples do not fit the schema of the train split:\n  " + "\n  ".join(found))
        return result


class AnomalyGate(ExampleValidator):
    """ExampleValidator, through which only data without anomalies passes."""

    EXECUTOR_SPEC = executor_spec.ExecutorClassSpec(GateExecutor)
