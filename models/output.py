"""From the vectors of a decoder to pieces: a projection to the vocabulary, and a pointer into the source beside it."""

from __future__ import annotations

from typing import Any, Literal

import keras
import tensorflow as tf

from models.layers import Dense, Embedding, multiply

Tied = Literal["none", "output", "all"]


def embeddings(source: int, target: int, depth: int, tied: Tied, scaled: bool = False) -> tuple[Embedding, Embedding]:
    """Those of the source's pieces and of the target's.

    Args:
        source: how many pieces the source has.
        target: how many the target has.
        depth: of a piece.
        tied: the target's embeddings are the output projection ("output"; Press 2017), and the source's, too ("all").
        scaled: see `Embedding`; an output projection is scaled in any case.
    """
    if tied == "all":
        require_shared("tie_embeddings: all", source, target)
    targets = Embedding(target, depth, scaled or tied != "none", name="target_embedding")
    return targets if tied == "all" else Embedding(source, depth, scaled, name="source_embedding"), targets


def logits(targets: Embedding, depth: int, tied: Tied) -> TiedLogits | Logits:
    """The projection of a decoder's vectors, of `depth`, to the pieces that `targets` embeds."""
    if tied == "none":
        return Logits(depth, targets.input_dim, name="logits")
    return TiedLogits(targets, name="logits")


def require_shared(what: str, source: int, target: int) -> None:
    """Raise ValueError for vocabularies that cannot be the same one."""
    if source != target:
        raise ValueError(f"{what} needs pieces that source and target share, got vocabularies of {source} and {target}")


class Logits(Dense):
    """A projection to the vocabulary, whose sums with the bias are float32: the loss and the search are.

    The product, most of what a training step computes, is made in the layer's own precision.
    """

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        self.use_bias = False
        super().build(input_shape)
        self.bias = self.add_weight(shape=(self.units,), initializer="zeros", name="bias", autocast=False)

    def call(self, vector: tf.Tensor, training: bool | None = None) -> tf.Tensor:
        """[batch, target, depth] -> float32 [batch, target, vocabulary]."""
        return _in_float32(vector, tf.convert_to_tensor(self.kernel), self.bias)

    def freeze(self) -> list[tf.Variable]:
        """See `Seq2Seq.freeze`: the kernel is what a product wants."""
        return []


class TiedLogits(keras.layers.Layer):
    """The vocabulary's own embeddings as the output projection (Press 2017): logits = E vector + b, as in `Logits`."""

    def __init__(self, embedding: Embedding, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.table = embedding
        self.bias = self.add_weight(shape=(embedding.input_dim,), initializer="zeros", name="bias", autocast=False)
        self.kernel: tf.Variable | None = None
        self.built = True

    def call(self, vector: tf.Tensor) -> tf.Tensor:
        """[batch, target, depth of the embedding] -> float32 [batch, target, vocabulary]."""
        kernel = tf.transpose(tf.convert_to_tensor(self.table.embeddings)) if self.kernel is None else self.kernel
        return _in_float32(vector, kernel, self.bias)

    def freeze(self) -> list[tf.Variable]:
        """See `Seq2Seq.freeze`: the embeddings transposed, which a product of few rows would do before each.

        Without XLA, 5 vectors by 10,000 embeddings of 128 take 0.5 ms with it and 2.7 without.
        """
        self.kernel = tf.Variable(tf.transpose(self.table.embeddings), trainable=False, name="kernel")
        return [self.kernel]


def _in_float32(vector: tf.Tensor, kernel: tf.Tensor, bias: keras.Variable) -> tf.Tensor:
    return tf.cast(multiply(vector, kernel), tf.float32) + tf.convert_to_tensor(bias)


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
