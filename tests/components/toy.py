"""A model that compiles in no time: embeddings, dropout and one product, no recurrence."""

from __future__ import annotations

import keras
import tensorflow as tf

from models.contract import DECODER_IDS, PAD, SOURCE_IDS, Decoded, Length, Nest, Seq2Seq, Step

VOCABULARY = 13


class Toy(Seq2Seq):
    """The next piece from the last one and the mean of the source."""

    def __init__(self, dropout: float = 0.0, auxiliary: float = 0.0) -> None:
        super().__init__(name="toy")
        self.embedding = keras.layers.Embedding(VOCABULARY, 7, name="source")
        self.last = keras.layers.Embedding(VOCABULARY, 7, name="last")
        self.hidden = keras.layers.Dense(11, activation="tanh", name="hidden")
        self.dropout = keras.layers.Dropout(dropout)
        self.logits = keras.layers.Dense(VOCABULARY, dtype="float32", name="logits")
        self.auxiliary = auxiliary
        shapes = ((self.embedding, ()), (self.last, ()), (self.hidden, (None, 14)), (self.logits, (None, 11)))
        for layer, shape in shapes:
            layer.build(shape)
        self.built = True

    def encode(self, source_ids: tf.Tensor, training: bool = False) -> Nest:
        share = tf.cast(source_ids != PAD, tf.float32)
        share /= tf.reduce_sum(share, axis=1, keepdims=True)
        return tf.reduce_sum(share[..., None] * tf.cast(self.embedding(source_ids), tf.float32), axis=1), share

    def start(self, memory: Nest, length: Length) -> Nest:
        return memory[0]

    def step(self, tokens: tf.Tensor, state: Nest, memory: Nest) -> Step:
        return Step(self._say(tokens, state, False), tf.repeat(memory[1][:, None], tf.shape(tokens)[1], axis=1), state)

    def call(self, inputs: dict[str, tf.Tensor], training: bool = False) -> Decoded:
        ids = inputs[DECODER_IDS]
        memory = self.encode(inputs[SOURCE_IDS])
        state = tf.repeat(memory[0][:, None], tf.shape(ids)[1], axis=1)
        return Decoded(self._say(ids, state, training), tf.repeat(memory[1][:, None], tf.shape(ids)[1], axis=1))

    def auxiliary_loss(self, decoded: Decoded, target_ids: tf.Tensor) -> tf.Tensor:
        return self.auxiliary * tf.reduce_sum(decoded.logits**2 * tf.cast(target_ids != PAD, tf.float32)[..., None])

    def _say(self, ids: tf.Tensor, state: tf.Tensor, training: bool) -> tf.Tensor:
        last = self.last(ids)
        hidden = self.hidden(tf.concat([last, tf.cast(state, last.dtype)], axis=-1))
        return self.logits(self.dropout(hidden, training=training))


def build(dropout: float = 0.0, auxiliary: float = 0.0) -> Toy:
    """The same weights every time."""
    keras.utils.set_random_seed(5)
    return Toy(dropout, auxiliary)
