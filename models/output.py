"""From the vectors of a decoder to pieces: a projection to the vocabulary, and a pointer into the source beside it."""

from __future__ import annotations

from typing import Any

import keras
import tensorflow as tf

from models.layers import Dense, Embedding, multiply


class TiedLogits(keras.layers.Layer):
    """The vocabulary's own embeddings as the output projection (Press 2017): logits = E vector + b, in float32."""

    def __init__(self, embedding: Embedding, **kwargs: Any) -> None:
        super().__init__(dtype="float32", **kwargs)
        self.table = embedding
        self.bias = self.add_weight(shape=(embedding.input_dim,), initializer="zeros", name="bias")
        self.built = True

    def call(self, vector: tf.Tensor) -> tf.Tensor:
        """[batch, target, depth of the embedding] -> float32 [batch, target, vocabulary]."""
        return multiply(vector, tf.transpose(tf.convert_to_tensor(self.table.embeddings))) + self.bias


class Pointer(keras.layers.Layer):
    """The pointer-generator's mixture (See 2017, eq. 8 and 9), over one vocabulary of both sides.

    Source [[7, 9, 3]] looked at with [[0.8, 0.1, 0.1]], and a gate that is half open:
    P(7) = 0.5 P_vocabulary(7) + 0.5 * 0.8. Where weights sum to less than 1 (monotonic attention), so do these.
    """

    def __init__(self, depth: int, **kwargs: Any) -> None:
        """`depth` is that of context, state and input together."""
        super().__init__(dtype="float32", **kwargs)
        self.gate = Dense(depth, 1, dtype="float32", name="gate")
        self.built = True

    def call(self, logits: tf.Tensor, features: tf.Tensor, weights: tf.Tensor, source_ids: tf.Tensor) -> tf.Tensor:
        """Log-probabilities, which are logits, too: float32 [batch, target, vocabulary].

        Args:
            logits: of the vocabulary, float32 [batch, target, vocabulary].
            features: context, state and input of the decoder (eq. 8), [batch, target, depth].
            weights: of the attention, float32 [batch, target, source].
            source_ids: int32 [batch, source].
        """
        generate = self.gate(features)  # [batch, target, 1], before the sigmoid
        from_vocabulary = tf.math.log_sigmoid(generate) + tf.nn.log_softmax(logits)
        copied = tf.math.log(tf.maximum(_by_piece(weights, source_ids, logits.shape[-1]), 1e-20))
        from_source = tf.math.log_sigmoid(-generate) + copied
        return tf.reduce_logsumexp(tf.stack([from_vocabulary, from_source]), axis=0)


def _by_piece(weights: tf.Tensor, source_ids: tf.Tensor, vocabulary: int) -> tf.Tensor:
    """How much attention each piece of the vocabulary gets: float32 [batch, target, vocabulary]."""
    shape = tf.shape(weights)
    rows, targets = (
        tf.broadcast_to(part, shape) for part in (tf.range(shape[0])[:, None, None], tf.range(shape[1])[None, :, None])
    )
    pieces = tf.broadcast_to(source_ids[:, None, :], shape)
    indices = tf.stack([rows, targets, pieces], axis=-1)
    return tf.ensure_shape(tf.scatter_nd(indices, weights, [shape[0], shape[1], vocabulary]), [None, None, vocabulary])
