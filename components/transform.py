"""The graph of Transform, as the trained model takes it along."""

from __future__ import annotations

import os

import tensorflow as tf
import tensorflow_text  # noqa: F401  (brings the graph's operations)

from models.contract import SOURCE, SOURCE_IDS


class SourceGraph(tf.Module):
    """The source's side of the graph: text ["abbe"] -> ids [[6, 5, 5, 7, 3]].

    The graph wants every feature of a raw row; those that nobody knows when a model is asked are fed empty.
    """

    def __init__(self, transform_graph_uri: str) -> None:
        """Args: the uri of a TransformGraph artifact."""
        super().__init__()
        self._loaded = tf.saved_model.load(os.path.join(transform_graph_uri, "transform_fn"))
        ((self._features,), _) = self._loaded.transform_fn.structured_input_signature

    def __call__(self, text: tf.Tensor) -> tf.RaggedTensor:
        """String [batch] -> int64, ragged [batch, source]: pieces and END."""
        rows = tf.shape(text, tf.int64)[0]
        inputs = {name: _empty(spec, rows) for name, spec in self._features.items()}
        inputs[SOURCE] = text[:, tf.newaxis]
        return self._loaded.transform_fn(inputs)[SOURCE_IDS]


def _empty(spec: tf.TypeSpec, rows: tf.Tensor) -> tf.Tensor | tf.SparseTensor:
    if isinstance(spec, tf.SparseTensorSpec):
        return tf.SparseTensor(tf.zeros([0, 2], tf.int64), tf.zeros([0], spec.dtype), tf.stack([rows, 0]))
    return tf.zeros([rows, *spec.shape[1:]], spec.dtype)  # of strings: ""
