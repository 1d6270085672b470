"""The shapes and options in which every attention mechanism is checked, and how it is asked."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

from models.attention import Attended, Attention, Keys, build

BATCH, QUERY, SOURCE, DEPTH, VALUE_DEPTH = 2, 3, 5, 7, 11


class Case(NamedTuple):
    """Options under which a mechanism draws nothing, so that it says the same thing twice."""

    options: dict[str, Any] = {}
    depth: int = DEPTH
    value_depth: int = VALUE_DEPTH


CASES = {
    "additive": Case(),
    "concat": Case(),
    "coverage": Case(),
    "dot": Case(value_depth=DEPTH),
    "general": Case(),
    "gmm": Case({"components": 2, "width": 0.7}),
    "hard": Case({"soft_share": 1.0}),
    "local_m": Case({"window": 1}),
    "local_p": Case({"window": 2}),
    "location": Case({"filters": 2, "width": 3}),
    "monotonic": Case({"noise": 0.0, "initial_bias": 0.0}),
    "multi_head": Case({"heads": 2}, depth=2 * DEPTH),
    "none": Case(value_depth=2 * VALUE_DEPTH),
    "scaled_dot": Case(value_depth=DEPTH),
}
NAMES = sorted(CASES)


def make(name: str, **options: Any) -> Attention:
    """The mechanism of a case, always with the same weights: none that is zero, none so small that it hides."""
    case = CASES[name]
    layer = build({"name": name, **case.options, **options}, case.depth, case.value_depth)
    rng = np.random.default_rng(7)
    for weight in layer.trainable_variables:
        weight.assign(rng.normal(size=weight.shape, scale=0.5))
    return layer


def arrays(name: str, seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Queries, values and a mask in which nothing but the first position is sure to be True."""
    rng = np.random.default_rng(seed)
    mask = rng.random((BATCH, SOURCE)) < 0.7
    mask[:, 0] = True
    query = rng.normal(size=(BATCH, QUERY, CASES[name].depth)).astype(np.float32)
    return query, rng.normal(size=(BATCH, SOURCE, CASES[name].value_depth)).astype(np.float32), mask


def prepare(layer: Attention, values: np.ndarray, mask: np.ndarray) -> Keys:
    return layer.prepare(tf.convert_to_tensor(values), tf.convert_to_tensor(mask))


def ask(layer: Attention, query: tf.Tensor, values: tf.Tensor, mask: tf.Tensor, training: bool = False) -> Attended:
    """Every query of a target, all at once where the mechanism can."""
    keys = prepare(layer, values, mask)
    if layer.recurrent:
        return one_by_one(layer, query, keys, training)
    return layer(query, keys, layer.begin(keys, query.shape[1]), training=training)


def one_by_one(layer: Attention, query: tf.Tensor, keys: Keys, training: bool = False) -> Attended:
    """Every query of a target in its turn; the state is the last."""
    state = layer.begin(keys)
    answers = []
    for time in range(query.shape[1]):
        answers.append(layer(query[:, time : time + 1], keys, state, training=training))
        state = answers[-1].state
    context, weights = (tf.concat([getattr(each, part) for each in answers], 1) for part in ("context", "weights"))
    log_choice = None if answers[0].log_choice is None else tf.concat([each.log_choice for each in answers], 1)
    return Attended(context, weights, state, log_choice)
