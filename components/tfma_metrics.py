"""`components.metrics` as a metric of TensorFlow Model Analysis: a Beam combiner that adds up statistics of rows."""

from __future__ import annotations

import functools
import typing
from collections.abc import Iterable

import apache_beam as beam
import numpy as np
from tensorflow_model_analysis.metrics import metric_types, metric_util

from components import metrics
from serving import signatures


class TextMetric(metric_types.Metric):
    """A metric of decoded strings against every reference of a row.

    In an EvalConfig: MetricConfig(class_name="TextMetric", module="components.tfma_metrics", config='{"name": "ter"}')
    """

    def __init__(self, name: str, token_unit: str = "word") -> None:
        super().__init__(
            metric_util.merge_per_key_computations(functools.partial(_computations, token_unit=token_unit)), name=name
        )
        self._token_unit = token_unit

    def get_config(self) -> dict[str, typing.Any]:
        return {"name": self.name, "token_unit": self._token_unit}


metric_types.register_metric(TextMetric)


def _computations(
    name: str,
    model_name: str = "",
    output_name: str = "",
    example_weighted: bool = False,
    token_unit: str = "word",  # last: TFMA looks at the parameters before the one that a partial fills in
) -> list[metric_types.MetricComputation]:
    key = metric_types.MetricKey(
        name=name, model_name=model_name, output_name=output_name, example_weighted=example_weighted
    )
    combiner = _SumOfRows(key, token_unit)
    return [metric_types.MetricComputation(keys=[key], preprocessors=None, combiner=combiner)]


class _SumOfRows(beam.CombineFn):
    """Adds up `Metric.statistics`; 0.0 stands for the sum of no rows."""

    def __init__(self, key: metric_types.MetricKey, token_unit: str) -> None:
        self._key, self._token_unit = key, token_unit

    @property
    def _metric(self) -> metrics.Metric:
        return metrics.find(self._key.name, self._token_unit)

    def create_accumulator(self) -> typing.Any:
        return 0.0

    def add_input(self, accumulator: typing.Any, element: metric_types.StandardMetricInputs) -> typing.Any:
        predictions = element.get_predictions(self._key.model_name)[signatures.TEXT]
        return accumulator + self._metric.statistics(
            strings(element.get_labels(self._key.model_name)), strings(predictions)[0]
        )

    def merge_accumulators(self, accumulators: Iterable[typing.Any]) -> typing.Any:
        return sum(accumulators, start=0.0)

    def extract_output(self, accumulator: typing.Any) -> dict[metric_types.MetricKey, float]:
        return {self._key: self._metric.score(accumulator) if isinstance(accumulator, np.ndarray) else float("nan")}


def strings(values: typing.Any) -> list[str]:
    """An array of bytes -> a list of str: array([[b"K AE T"]]) -> ["K AE T"]."""
    return [value.decode() for value in np.asarray(values, dtype=object).ravel()]
