"""The Transformer (Vaswani 2017).

A row: source ids [[5, 9, 3]], decoder ids [[2, 7]] -> logits [1, 2, target vocabulary], attention [1, 2, 3].
"""

from __future__ import annotations

import dataclasses
from typing import Annotated, ClassVar, Literal, NamedTuple

import keras
import tensorflow as tf
from annotated_types import Ge, Gt, Lt

from models import output
from models.attention import Keys
from models.contract import DECODER_IDS, PAD, SOURCE_IDS, Decoded, Length, Seq2Seq, Step
from models.layers import Dropout, Embedding, LayerList, LayerNorm
from models.transformer import Cache, DecoderLayer, EncoderLayer, LayerShape, sinusoids


@dataclasses.dataclass(frozen=True)
class Config:
    """The shape of the model; the defaults are the paper's base model but for the norm and for tied embeddings.

    Attributes:
        units: of every layer, and of a piece.
        heads: of every attention; they share the units.
        feed_forward: units within the position-wise network.
        encoder_layers: above each other.
        decoder_layers: above each other.
        norm: before a sub-layer or after its residual connection, as in the paper.
        learned_positions: so many learned positions, of which those beyond take the last; 0: sinusoidal (section 3.5).
        dropout: of embeddings with their positions, and of what each sub-layer adds (section 5.4).
        tie_embeddings: see `models/output.py`; "all" is for shared pieces.
        alignment_layer: of the decoder, counted from 1: whose weights of the source, the mean over its heads, are
            reported; None: training ends by choosing one on validation rows (`components/alignment_layer.py`), and
            begins with the layer before the last (Garg 2019).
    """

    __pydantic_config__: ClassVar[dict[str, str]] = {"extra": "forbid"}
    reads: ClassVar[frozenset[str]] = frozenset({"text"})

    units: Annotated[int, Gt(0)] = 512
    heads: Annotated[int, Gt(0)] = 8
    feed_forward: Annotated[int, Gt(0)] = 2048
    encoder_layers: Annotated[int, Gt(0)] = 6
    decoder_layers: Annotated[int, Gt(0)] = 6
    norm: Literal["pre", "post"] = "pre"
    learned_positions: Annotated[int, Ge(0)] = 0
    dropout: Annotated[float, Ge(0), Lt(1)] = 0.1
    tie_embeddings: output.Tied = "none"
    alignment_layer: Annotated[int, Gt(0)] | None = None

    def __post_init__(self) -> None:
        """What no field can say alone."""
        wrong = []
        if self.units % self.heads:
            wrong.append(f"units must be a multiple of heads, which share them: got {self.units} and {self.heads}")
        if self.alignment_layer and self.alignment_layer > self.decoder_layers:
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
    caches: tuple[Cache, ...]  # a layer each


class Positions(keras.layers.Layer):
    """What tells the first piece from the second: int32 [...] -> [..., units]."""

    def __init__(self, config: Config, **kwargs: object) -> None:
        super().__init__(**kwargs)
        self.units, learned = config.units, config.learned_positions
        self.table = Embedding(learned, config.units, scaled=False, name="table") if learned else None
        self.built = True

    def call(self, positions: tf.Tensor) -> tf.Tensor:
        if self.table:
            return self.table(tf.minimum(positions, self.table.input_dim - 1))
        return tf.cast(sinusoids(positions, self.units), self.compute_dtype)


class Transformer(Seq2Seq):
    """Encoder, decoder, and the projection of its vectors to the pieces."""

    aligned_when_given = True

    def __init__(self, config: Config, source: int, target_vocabulary: int) -> None:
        super().__init__(name="transformer")
        # Scaled in any case (section 3.4): beside positions of size 1 small embeddings would not be seen.
        self.source_embedding, self.target_embedding = output.embeddings(
            source, target_vocabulary, config.units, config.tie_embeddings, scaled=True
        )
        self.positions = Positions(config, name="positions")
        shape = LayerShape(config.units, config.heads, config.feed_forward, config.norm, config.dropout)
        self.encoder = LayerList([EncoderLayer(shape) for _ in range(config.encoder_layers)])
        self.decoder = LayerList([DecoderLayer(shape) for _ in range(config.decoder_layers)])
        pre = config.norm == "pre"
        self.encoder_norm = LayerNorm(config.units, name="encoder_norm") if pre else None
        self.decoder_norm = LayerNorm(config.units, name="decoder_norm") if pre else None
        self.output_logits = output.logits(self.target_embedding, config.units, config.tie_embeddings)
        self.dropout = Dropout(config.dropout)
        self.alignment_choices = () if config.alignment_layer else range(config.decoder_layers)
        self.alignment_layer = (config.alignment_layer or max(1, config.decoder_layers - 1)) - 1
        self.built = True

    def encode(self, source: tf.Tensor, training: bool = False) -> Memory:
        mask = tf.not_equal(source, PAD)
        vectors = self._embed(self.source_embedding, source, training)
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
        weights, caches = [], []
        for layer, before, keys in zip(self.decoder, state.caches, memory.keys, strict=True):
            vectors, looked, cache = layer.step(vectors, state.position, before, keys)
            weights.append(looked)
            caches.append(cache)
        return Step(self._logits(vectors), weights[self.alignment_layer], State(state.position + 1, tuple(caches)))

    def call(self, inputs: dict[str, tf.Tensor], training: bool = False) -> Decoded:
        memory = self.encode(inputs[SOURCE_IDS], training=training)
        vectors = self._embed(self.target_embedding, inputs[DECODER_IDS], training)
        time = tf.range(tf.shape(vectors)[1])
        past = (time[:, None] >= time)[None]  # [1, target, target]: as for every row
        weights = []
        for layer, keys in zip(self.decoder, memory.keys, strict=True):
            vectors, looked = layer(vectors, past, keys, training=training)
            weights.append(looked)
        return Decoded(self._logits(vectors), weights[self.alignment_layer])

    def freeze(self) -> list[tf.Variable]:
        return self.output_logits.freeze()

    def _embed(self, embedding: Embedding, ids: tf.Tensor, training: bool) -> tf.Tensor:
        """Pieces and where they are: int32 [batch, time] -> [batch, time, units]."""
        positions = self.positions(tf.range(tf.shape(ids)[1]))
        return self.dropout(embedding(ids) + positions, training=training)

    def _logits(self, vectors: tf.Tensor) -> tf.Tensor:
        return self.output_logits(self.decoder_norm(vectors) if self.decoder_norm else vectors)


def build(config: Config, source: int, target_vocabulary: int) -> Transformer:
    """The model of a config, with all its weights made."""
    return Transformer(config, source, target_vocabulary)
