"""The `evaluation` section as TFMA's EvalConfig."""

from __future__ import annotations

import json

from tensorflow_model_analysis.proto import config_pb2

from components import metrics
from components.evaluator import Config
from components.rarity import RAREST_PIECE
from models.contract import REFERENCES
from serving import signatures


def eval_config(config: Config, token_unit: str) -> config_pb2.EvalConfig:
    """Our section as TFMA's EvalConfig: thresholds hold for all rows together, metrics for every slice."""
    everything = config_pb2.SlicingSpec()
    specs_of_metrics = []
    for name in config.metrics:
        threshold = _threshold(config, name)
        spec = config_pb2.MetricConfig(
            class_name="TextMetric",
            module="components.tfma_metrics",
            config=json.dumps({"name": name, "token_unit": token_unit}),
        )
        if threshold:
            spec.per_slice_thresholds.add(slicing_specs=[everything], threshold=threshold)
        specs_of_metrics.append(spec)
    specs_of_metrics.append(config_pb2.MetricConfig(class_name="ExampleCount"))
    model = config_pb2.ModelSpec(
        signature_name=signatures.EXAMPLES,
        label_key=REFERENCES,
        prediction_key=signatures.TEXT,
        inference_batch_size=config.batch_size,
    )
    slices = [config_pb2.SlicingSpec(feature_keys=[name]) for name in config.slices if name != RAREST_PIECE]
    return config_pb2.EvalConfig(
        model_specs=[model],
        slicing_specs=[everything, *slices],
        metrics_specs=[config_pb2.MetricsSpec(metrics=specs_of_metrics)],
    )


def _threshold(config: Config, name: metrics.Name) -> config_pb2.MetricThreshold | None:
    """The bar for a metric. Comparisons are not TFMA's, which knows no chance: see `components/bootstrap.py`."""
    bound = config.thresholds.get(name)
    if bound is None:
        return None
    threshold = config_pb2.MetricThreshold()
    if metrics.find(name).higher_is_better:
        threshold.value_threshold.lower_bound.value = bound
    else:
        threshold.value_threshold.upper_bound.value = bound
    return threshold
