"""The Transformer (Vaswani 2017).

A row: source ids [[5, 9, 3]], decoder ids [[2, 7]] -> logits [1, 2, target vocabulary], attention [1, 2, 3].
"""

from __future__ import annotations

import dataclasses
from typing import Annotated, ClassVar, Literal, NamedTuple

import keras
import tensorflow as tf
from annotated_types import Ge, Gt, Lt

from models.attention import Keys
from models.contract import DECODER_IDS, PAD, SOURCE_IDS, Decoded, Length, Seq2Seq, Step
from models.layers import Dense, Dropout, Embedding, LayerList, LayerNorm
from models.output import TiedLogits
from models.transformer import Blocks, DecoderLayer, EncoderLayer, Said, sinusoids


@dataclasses.dataclass(frozen=True)
class Config:
    """The shape of the model; the defaults are the paper's base model but for its norm.

    Attributes:
        units: of every layer, and of a piece.
        heads: of every attention; they share the units.
        feed_forward: units within the position-wise network.
        encoder_layers: above each other.
        decoder_layers: above each other.
        norm: before a sub-layer or after its residual connection, as in the paper.
        positions: "sinusoidal" (section 3.5), or "learned" ones.
        longest: how many positions are learned; those beyond are taken for the last.
        dropout: of embeddings with their positions, and of what each sub-layer adds (section 5.4).
        tie_embeddings: as in `models/zoo/rnn.py`.
        alignment_layer: of the decoder, counted from 1: whose weights of the source, the mean over its heads, are
            reported; 0 is the layer before the last.
    """

    __pydantic_config__: ClassVar[dict[str, str]] = {"extra": "forbid"}

    units: Annotated[int, Gt(0)] = 512
    heads: Annotated[int, Gt(0)] = 8
    feed_forward: Annotated[int, Gt(0)] = 2048
    encoder_layers: Annotated[int, Gt(0)] = 6
    decoder_layers: Annotated[int, Gt(0)] = 6
    norm: Literal["pre", "post"] = "pre"
    positions: Literal["sinusoidal", "learned"] = "sinusoidal"
    longest: Annotated[int, Gt(0)] = 1024
    dropout: Annotated[float, Ge(0), Lt(1)] = 0.1
    tie_embeddings: Literal["none", "output", "all"] = "none"
    alignment_layer: Annotated[int, Ge(0)] = 0

    def __post_init__(self) -> None:
        """What no field can say alone."""
        wrong = []
        if self.units % self.heads:
            wrong.append(f"units must be a multiple of heads, which share them: got {self.units} and {self.heads}")
        if self.alignment_layer > self.decoder_layers:
            wrong.append(
                f"alignment_layer is {self.alignment_layer}, expected at most {self.decoder_layers}, the layers"
            )
        if wrong:
            raise ValueError("; ".join(wrong))

    def check(self) -> None:
        """Nothing is left to say."""

    @property
    def shared_pieces(self) -> bool:
        """Whether source and target must be made of the same pieces."""
        return self.tie_embeddings == "all"


class Memory(NamedTuple):
    """The source, read once: what each layer of the decoder looks at."""

    keys: tuple[Keys, ...]


class State(NamedTuple):
    """A decoder between two steps; leaves [batch, ...], in decoding [batch, beam, ...]."""

    position: tf.Tensor  # int32 [batch], of the piece that comes next
    said: tuple[Said, ...]  # a layer each


class Positions(keras.layers.Layer):
    """What tells the first piece from the second: int32 [...] -> [..., units]."""

    def __init__(self, config: Config, **kwargs: object) -> None:
        super().__init__(**kwargs)
        self.units, self.last = config.units, config.longest - 1
        learned = config.positions == "learned"
        self.table = Embedding(config.longest, config.units, tied=False, name="table") if learned else None
        self.built = True

    def call(self, positions: tf.Tensor) -> tf.Tensor:
        if self.table:
            return self.table(tf.minimum(positions, self.last))
        return tf.cast(sinusoids(positions, self.units), self.compute_dtype)


class Transformer(Seq2Seq):
    """Encoder, decoder, and the projection of its vectors to the pieces."""

    def __init__(self, config: Config, source_vocabulary: int, target_vocabulary: int) -> None:
        super().__init__(name="transformer")
        tied = config.tie_embeddings != "none"
        # Scaled in any case (section 3.4): beside them the positions, of size 1, would drown small ones.
        self.target_embedding = Embedding(target_vocabulary, config.units, tied=True, name="target_embedding")
        self.source_embedding = (
            self.target_embedding
            if config.tie_embeddings == "all"
            else Embedding(source_vocabulary, config.units, tied=True, name="source_embedding")
        )
        self.positions = Positions(config, name="positions")
        shape = Blocks(config.units, config.heads, config.feed_forward, config.norm, config.dropout)
        self.encoder = LayerList([EncoderLayer(shape) for _ in range(config.encoder_layers)])
        self.decoder = LayerList([DecoderLayer(shape) for _ in range(config.decoder_layers)])
        pre = config.norm == "pre"
        self.encoder_norm = LayerNorm(config.units, name="encoder_norm") if pre else None
        self.decoder_norm = LayerNorm(config.units, name="decoder_norm") if pre else None
        self.output_logits = (
            TiedLogits(self.target_embedding, name="logits")
            if tied
            else Dense(config.units, target_vocabulary, dtype="float32", name="logits")
        )
        self.dropout = Dropout(config.dropout)
        self.aligned = (config.alignment_layer or max(1, config.decoder_layers - 1)) - 1
        self.built = True

    def encode(self, source_ids: tf.Tensor, training: bool = False) -> Memory:
        mask = tf.not_equal(source_ids, PAD)
        vectors = self._embed(self.source_embedding, source_ids, training)
        for layer in self.encoder:
            vectors = layer(vectors, mask, training=training)
        if self.encoder_norm:
            vectors = self.encoder_norm(vectors)
        return Memory(tuple(layer.attention.prepare(vectors, mask) for layer in self.decoder))

    def start(self, memory: Memory, length: Length) -> State:
        rows = tf.shape(memory.keys[0].mask)[0]
        return State(tf.zeros([rows], tf.int32), tuple(layer.start(rows, length) for layer in self.decoder))

    def step(self, tokens: tf.Tensor, state: State, memory: Memory) -> Step:
        vectors = self.target_embedding(tokens) + self.positions(state.position)
        weights, said = [], []
        for layer, before, keys in zip(self.decoder, state.said, memory.keys, strict=True):
            vectors, looked, now = layer.step(vectors, state.position, before, keys)
            weights.append(looked)
            said.append(now)
        return Step(self._logits(vectors), weights[self.aligned], State(state.position + 1, tuple(said)))

    def call(self, inputs: dict[str, tf.Tensor], training: bool = False) -> Decoded:
        memory = self.encode(inputs[SOURCE_IDS], training=training)
        vectors = self._embed(self.target_embedding, inputs[DECODER_IDS], training)
        time = tf.range(tf.shape(vectors)[1])
        past = (time[:, None] >= time)[None]  # [1, target, target]: as for every row
        weights = []
        for layer, keys in zip(self.decoder, memory.keys, strict=True):
            vectors, looked = layer(vectors, past, keys, training=training)
            weights.append(looked)
        return Decoded(self._logits(vectors), weights[self.aligned])

    def _embed(self, embedding: Embedding, ids: tf.Tensor, training: bool) -> tf.Tensor:
        """Pieces and where they are: int32 [batch, time] -> [batch, time, units]."""
        positions = self.positions(tf.range(tf.shape(ids)[1]))
        return self.dropout(embedding(ids) + positions, training=training)

    def _logits(self, vectors: tf.Tensor) -> tf.Tensor:
        return self.output_logits(self.decoder_norm(vectors) if self.decoder_norm else vectors)


def build(config: Config, source_vocabulary: int, target_vocabulary: int) -> Transformer:
    """The model of a config, with all its weights made."""
    return Transformer(config, source_vocabulary, target_vocabulary)
