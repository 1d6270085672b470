"""A TF 1 model of examples, whose answers can be told by hand, with a signature for each thing that can go wrong.

An example `{x: float}` (0 if it has none) is regressed to `x / 2 + 2`, and to `x / 2 + 3`; its classes are `low` with
the score -x and `high` with x. The feature `y` (3 if it has none) is regressed to itself by the graph's second input.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import tensorflow as tf

v1 = tf.compat.v1
CLASSIFY, REGRESS, PREDICT = (f"tensorflow/serving/{name}" for name in ("classify", "regress", "predict"))


def export_example_model(path: Path) -> None:
    with tf.Graph().as_default(), v1.Session() as session:
        signatures = _signatures()
        builder = v1.saved_model.Builder(str(path))
        builder.add_meta_graph_and_variables(session, ["serve"], signature_def_map=signatures)
        builder.save()


def _signatures() -> dict[str, Any]:
    examples = v1.placeholder(tf.string, [None], "examples")
    features = {name: tf.io.FixedLenFeature([1], tf.float32, [0.0]) for name in ("x", "n")}
    parsed = tf.io.parse_example(examples, features)
    x = parsed["x"]  # [n, 1]
    other = v1.placeholder(tf.string, [None], "other")
    y = tf.io.parse_example(other, {"y": tf.io.FixedLenFeature([1], tf.float32, [3.0])})["y"]
    labels = tf.tile(tf.constant([["low", "high"]]), [tf.shape(x)[0], 1])
    scores = tf.concat([-x, x], axis=1)
    flat = tf.squeeze(x / 2 + 3, axis=1)
    words = v1.placeholder(tf.string, [None], "words")
    parsed_words = tf.io.parse_example(words, {"word": tf.io.VarLenFeature(tf.string)})["word"]
    said = tf.sparse.to_dense(parsed_words, default_value="")
    return {
        "serving_default": _signature(REGRESS, examples, outputs=x / 2 + 2),
        "regress": _signature(REGRESS, examples, outputs=flat),
        "regress_y": _signature(REGRESS, other, outputs=y),
        "classify": _signature(CLASSIFY, examples, classes=labels, scores=scores),
        "scores": _signature(CLASSIFY, examples, scores=scores),
        "classes": _signature(CLASSIFY, words, classes=said),
        "as_predict": _signature(PREDICT, examples, scores=scores),
        "nameless": _signature("", examples, outputs=flat),
        "no_outputs": _signature(CLASSIFY, examples, other=scores),
        "three_outputs": _signature(CLASSIFY, examples, classes=labels, scores=scores, other=flat),
        "two_values": _signature(REGRESS, examples, outputs=flat, other=flat),
        "other_value": _signature(REGRESS, examples, value=flat),
        "other_input": _build(CLASSIFY, {"text": examples}, {"scores": scores}),
        "other_input_value": _build(REGRESS, {"text": examples}, {"outputs": flat}),
        "two_inputs": _build(CLASSIFY, {"inputs": examples, "other": other}, {"scores": scores}),
        "flat_scores": _signature(CLASSIFY, examples, scores=flat),
        "flat_classes": _signature(CLASSIFY, examples, classes=labels[0]),
        "integer_scores": _signature(CLASSIFY, examples, scores=tf.cast(scores, tf.int64)),
        "number_classes": _signature(CLASSIFY, examples, classes=scores),
        "too_many_classes": _signature(CLASSIFY, examples, classes=tf.concat([labels, labels], axis=0)),
        "too_many_scores": _signature(CLASSIFY, examples, scores=tf.concat([scores, scores], axis=0)),
        "unlike": _signature(CLASSIFY, examples, classes=labels, scores=x),
        "wide_value": _signature(REGRESS, examples, outputs=scores),
        "scalar_value": _signature(REGRESS, examples, outputs=tf.reduce_sum(x)),
        "too_many_values": _signature(REGRESS, examples, outputs=tf.concat([flat, flat], axis=0)),
        "string_value": _signature(REGRESS, examples, outputs=tf.strings.as_string(flat)),
        "float_input": _signature(REGRESS, v1.placeholder(tf.float32, [None], "floats"), outputs=flat),
    }


def _signature(method: str, examples: Any, **outputs: Any) -> Any:
    return _build(method, {"inputs": examples}, outputs)


def _build(method: str, inputs: dict[str, Any], outputs: dict[str, Any]) -> Any:
    return v1.saved_model.build_signature_def(
        {name: v1.saved_model.build_tensor_info(tensor) for name, tensor in inputs.items()},
        {name: v1.saved_model.build_tensor_info(tensor) for name, tensor in outputs.items()},
        method,
    )
