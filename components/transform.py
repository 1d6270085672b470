"""The graph of Transform, as the exported model holds it."""

from __future__ import annotations

import os

import tensorflow as tf
import tensorflow_text  # noqa: F401  (the graph's operations)


class SourceGraph(tf.Module):
    """The source's side of Transform's graph: ["abbe"] -> [[6, 5, 5, 7, 3]]."""

    def __init__(self, transform_graph_uri: str) -> None:
        """Args: the uri of a TransformGraph artifact."""
        super().__init__()
        self._loaded = tf.saved_model.load(os.path.join(transform_graph_uri, "transform_fn"))
        self._signature = self._loaded.signatures["transform_signature"]

    def __call__(self, text: tf.Tensor) -> tf.RaggedTensor:
        """String [batch] -> int64, ragged [batch, source]: pieces and END."""
        raise NotImplementedError
