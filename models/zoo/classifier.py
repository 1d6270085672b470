"""A classifier: a bidirectional LSTM, pooled by attention (Zhou 2016; Lin 2017), of texts and of recordings alike.

A row: source ids [[5, 9, 3]], decoder ids [[2, 7]] -> logits [1, 2, target vocabulary], attention [1, 2, 3].

A class is a piece of the target, so every name of a class must be one: `tokenizer.target: {kind: word}`, and names
without spaces. An answer is one piece and END, which is certain after it; the n best answers of an export are the n
likeliest classes, with their log-probabilities. Label smoothing takes its share of END, too, which nothing is learnt
from: losses have a floor.
"""

from __future__ import annotations

import dataclasses
from typing import Annotated, ClassVar, Literal, NamedTuple

import tensorflow as tf
from annotated_types import Ge, Gt, Lt, MultipleOf

from models.audio import Audio
from models.audio.frontend import Frontend
from models.contract import DECODER_IDS, END, PAD, START, UNK, Decoded, Length, Seq2Seq, Step
from models.layers import Dropout, Embedding
from models.listener import Config as ListenerConfig
from models.listener import Convolution, Listener, real_frames, source_of
from models.output import Logits
from models.pooling import POOLINGS, PoolingName
from models.recurrent import CellName

# The logit of what is certain beside those of nothing, 0: END costs less than a millionth of a nat among 400 classes
# (where it is not smoothed).
_CERTAIN = 20.0


@dataclasses.dataclass(frozen=True)
class Config:
    """The shape of the model.

    Attributes:
        embedding: depth of a piece of a text; recordings have none.
        cell: of the layers.
        units: of a layer; its two directions share them.
        layers: bidirectional ones.
        reduce_after: see `models/listener.py`; for recordings.
        convolution: see `models/listener.py`; for recordings.
        pooling: "attention" (Zhou 2016), "structured" (Lin 2017), "gated" (Ilse 2018), "max" (saliency).
        hops: of "structured", how many means it takes.
        hop_penalty: of "structured", what hops cost that look at the same positions (Lin 2017, section 2.2).
        dropout: of embeddings, between layers, of their outputs and of the pooled vector.
        word_dropout: so many pieces of a text are unknown in training (Iyyer 2015, section 3.1, drops them).
    """

    __pydantic_config__: ClassVar[dict[str, str]] = {"extra": "forbid"}
    reads: ClassVar[frozenset[str]] = frozenset({"text", "audio"})
    shared_pieces: ClassVar[bool] = False
    one_piece: ClassVar[bool] = True

    embedding: Annotated[int, Gt(0)] = 128
    cell: CellName = "lstm"
    units: Annotated[int, Gt(0), MultipleOf(2)] = 128
    layers: Annotated[int, Gt(0)] = 1
    reduce_after: tuple[Annotated[int, Ge(1)], ...] = ()
    convolution: Convolution | None = None
    pooling: PoolingName = "attention"
    hops: Annotated[int, Gt(0)] = 1
    hop_penalty: Annotated[float, Ge(0)] = 0.0
    dropout: Annotated[float, Ge(0), Lt(1)] = 0.3
    word_dropout: Annotated[float, Ge(0), Lt(1)] = 0.0

    def __post_init__(self) -> None:
        """What no field can say alone."""
        if self.pooling != "structured" and (self.hops > 1 or self.hop_penalty):
            raise ValueError(
                f"hops and hop_penalty are of pooling: structured: got {self.hops} and {self.hop_penalty:g} "
                f"with pooling: {self.pooling}"
            )
        _ = self.listener  # its own checks

    def check(self) -> None:
        """Nothing is left to say."""

    def check_source(self, kind: Literal["text", "audio"]) -> None:
        """Raise ValueError on what is for the other kind of source."""
        if kind == "text" and (self.reduce_after or self.convolution):
            raise ValueError("reduce_after and convolution are for recordings: every piece of a text is looked at")
        if kind == "audio" and self.word_dropout:
            raise ValueError("word_dropout is for texts: a recording has no words that could be unknown")

    @property
    def listener(self) -> ListenerConfig:
        """The layers below the pooling."""
        return ListenerConfig(self.cell, self.units, self.layers, self.reduce_after, convolution=self.convolution)

    @property
    def frames_per_position(self) -> int:
        """How many frames become one position."""
        return self.listener.frames_per_position


class WordDropout(Dropout):
    """Pieces that are unknown in training, int32 [batch, source]; what is no word stays what it is."""

    def call(self, inputs: tf.Tensor, training: bool = False) -> tf.Tensor:
        if not training or self.rate == 0:
            return inputs
        seed = tf.cast(self.seed_generator.next(), tf.int32)
        draws = tf.random.stateless_uniform(tf.shape(inputs), seed, alg="philox")
        return tf.where((draws < self.rate) & (inputs > END), UNK, inputs)


class Memory(NamedTuple):
    """All that there is to say, and where it comes from."""

    classes: tf.Tensor  # float32 [batch, vocabulary], logits
    weights: tf.Tensor  # float32 [batch, hops, source]


class Classifier(Seq2Seq):
    """Embeddings or a frontend, recurrent layers, a pooling, and the projection to the classes."""

    one_piece = Config.one_piece

    def __init__(self, config: Config, source: int | Audio, target_vocabulary: int) -> None:
        super().__init__(name="classifier", autocast=False)  # a waveform stays float32
        self.config = config
        self.frames_per_position = config.frames_per_position
        self.hears = isinstance(source, Audio)
        config.check_source("audio" if self.hears else "text")
        depth, planes = config.embedding, 1
        if isinstance(source, Audio):
            self.source = source_of(source)
            self.frontend = Frontend(source, name="frontend")
            depth, planes = source.feature_depth, 1 + source.deltas
        else:
            self.source_embedding = Embedding(source, depth, scaled=False, name="source_embedding")
        self.listener = Listener(config.listener, depth, config.dropout, planes, name="listener")
        self.pooling = POOLINGS[config.pooling](self.listener.depth, config.hops, name="pooling")
        self.classes = Logits(self.pooling.depth, target_vocabulary, name="classes")
        self.dropout = Dropout(config.dropout)
        self.word_dropout = WordDropout(config.word_dropout)
        self.built = True

    def source_mask(self, source: tf.Tensor) -> tf.Tensor:
        return self.listener.positions(real_frames(source)) if self.hears else super().source_mask(source)

    def encode(self, source: tf.Tensor, training: bool = False) -> Memory:
        if self.hears:
            inputs, mask = self.frontend(source, training=training)
        else:
            embedded = self.source_embedding(self.word_dropout(source, training=training))
            inputs, mask = self.dropout(embedded, training=training), source != PAD
        values, mask, _ = self.listener(inputs, mask, training=training)
        pooled = self.pooling(self.dropout(values, training=training), mask)
        classes = self.classes(self.dropout(pooled.vector, training=training)[:, None])
        return Memory(classes[:, 0], pooled.weights)

    def start(self, memory: Memory, length: Length) -> tuple[()]:
        return ()  # what comes next is to be seen from the piece before

    def step(self, tokens: tf.Tensor, state: tuple[()], memory: Memory) -> Step:
        return Step(*_say(tokens, memory), state)

    def call(self, inputs: dict[str, tf.Tensor], training: bool = False) -> Decoded:
        memory = self.encode(inputs[self.source.name], training=training)
        logits, attention = _say(inputs[DECODER_IDS], memory)
        penalty = self.config.hop_penalty * self.pooling.penalty(memory.weights)
        return Decoded(logits, attention, penalty=penalty)

    def auxiliary_loss(self, decoded: Decoded, target_ids: tf.Tensor) -> tf.Tensor:
        """Of hops that look at the same positions, summed over the rows (Lin 2017, eq. 8)."""
        return tf.reduce_sum(decoded.penalty)


def _say(tokens: tf.Tensor, memory: Memory) -> tuple[tf.Tensor, tf.Tensor]:
    """Logits and attention after each piece, int32 [batch, target]: the classes at first, then END."""
    pieces = tf.range(memory.classes.shape[-1])
    first = tf.where(pieces == END, -_CERTAIN, memory.classes)  # an answer without a class is none
    then = tf.where(pieces == END, _CERTAIN, 0.0)
    logits = tf.where((tokens == START)[..., None], first[:, None], then)
    looked = tf.reduce_mean(memory.weights, axis=1, keepdims=True)
    return logits, tf.repeat(looked, tf.shape(tokens)[1], axis=1)


def build(config: Config, source: int | Audio, target_vocabulary: int) -> Classifier:
    """The model of a config, with all its weights made."""
    return Classifier(config, source, target_vocabulary)
