"""The recurrent encoder-decoder with attention (Bahdanau 2015; Luong 2015), and what was built on it.

A row: source ids [[5, 9, 3]], decoder ids [[2, 7]] -> logits [1, 2, target vocabulary], attention [1, 2, 3].

Any cell with any mechanism of `models/attention`: before or after the step, with input feeding, with a pointer into the
source (See 2017), or with `attention: none`, the encoder-decoder of Cho 2014, as the baseline.
"""

from __future__ import annotations

import dataclasses
from typing import Annotated, Any, ClassVar, Literal, NamedTuple

import tensorflow as tf
from annotated_types import Ge, Gt, Lt, MultipleOf

from models import attention, output
from models.attention import Keys
from models.contract import DECODER_IDS, PAD, SOURCE_IDS, Decoded, Length, Step
from models.layers import Dropout
from models.recurrent import CellName, Encoder, Layers
from models.recurrent_decoder import Said, State
from models.speller import Speller


@dataclasses.dataclass(frozen=True)
class Config:
    """The shape of the model.

    Attributes:
        cell: of the encoder and of the decoder.
        units: of a layer; the encoder's two directions share them.
        embedding: depth of a piece.
        encoder_layers: bidirectional ones.
        decoder_layers: above each other.
        attention: a mechanism of `models/attention`: "general", or {"name": "local_m", "window": 5}; "none" is a
            decoder that sees where the encoder ends and no more.
        values: what attention mixes where it looks: the encoder's outputs ("encoded"), each of which knows its
            neighbours; or the pieces' embeddings alone ("embedded", of the depth of `units`), found by the encoder's
            outputs, so that it has to look at the very piece it takes.
        start: of the decoder: where the encoder ends, or zeros, so that it knows of the source what attention brings.
        attend: before a step (Bahdanau 2015) or after it (Luong 2015).
        input_feeding: the attentional vector goes into the next step (Luong 2015, section 3.3); with "after".
        residual: a layer, but for the decoder's lowest, adds its inputs (after their dropout) to its outputs where
            their depths are equal.
        layer_norm: gates are normalised (Ba 2016).
        dropout: of embeddings, between layers, of the encoder's outputs and of the attentional vector.
        tie_embeddings: see `models/output.py`; "all" is for shared pieces.
        copy: a pointer-generator (See 2017), with shared pieces and an attention that looks somewhere.
    """

    __pydantic_config__: ClassVar[dict[str, str]] = {"extra": "forbid"}
    reads: ClassVar[frozenset[str]] = frozenset({"text"})

    cell: CellName = "gru"
    units: Annotated[int, Gt(0), MultipleOf(2)] = 256
    embedding: Annotated[int, Gt(0)] = 256
    encoder_layers: Annotated[int, Gt(0)] = 1
    decoder_layers: Annotated[int, Gt(0)] = 1
    attention: dict[str, Any] | str = "general"
    values: Literal["encoded", "embedded"] = "encoded"
    start: Literal["summary", "zeros"] = "summary"
    attend: Literal["before", "after"] = "after"
    input_feeding: bool = False
    residual: bool = False
    layer_norm: bool = False
    dropout: Annotated[float, Ge(0), Lt(1)] = 0.2
    tie_embeddings: output.Tied = "none"
    copy: bool = False

    def __post_init__(self) -> None:
        """What no field can say alone."""
        wrong = []
        if self.input_feeding and self.attend == "before":
            wrong.append("input_feeding is for attend: after; with attend: before the context goes into each step")
        mechanism = attention.named(self.attention)[0]
        if self.copy and mechanism == "none":
            wrong.append("copy takes what attention looks at: with attention: none there is nothing to copy")
        if self.start == "zeros" and mechanism == "none":
            wrong.append("start: zeros is for attention that looks somewhere: with none nothing reaches the decoder")
        if self.values == "embedded":
            if mechanism in ("none", "multi_head"):
                wrong.append(f"values: embedded is for attention that mixes values as they are, not for {mechanism}")
            if self.embedding != self.units:
                wrong.append(
                    f"values: embedded needs an embedding of the depth of units, got {self.embedding} and {self.units}"
                )
        if wrong:
            raise ValueError("; ".join(wrong))

    def check(self) -> None:
        """Raise ValueError on a mechanism that these units do not suit."""
        attention.build(self.attention, self.units, self.units)

    @property
    def shared_pieces(self) -> bool:
        """Whether source and target must be made of the same pieces."""
        return self.copy or self.tie_embeddings == "all"


class Memory(NamedTuple):
    """The source, read once."""

    keys: Keys
    folded: tf.Tensor  # [batch, source, any], the values for steps: see `models/recurrent_decoder.py`
    summary: tf.Tensor  # [batch, units], where the encoder's two directions end
    source_ids: tf.Tensor  # int32 [batch, source]


class RecurrentSeq2Seq(Speller):
    """Encoder, attention, decoder, and the projection of its vectors to the pieces."""

    def __init__(self, config: Config, source: int, target_vocabulary: int) -> None:
        super().__init__(name="rnn")
        units = config.units
        if config.copy:
            output.require_shared("copy", source, target_vocabulary)
        self.source_embedding, self.target_embedding = output.embeddings(
            source, target_vocabulary, config.embedding, config.tie_embeddings
        )
        self.mixes_embeddings = config.values == "embedded"
        self.encoder = Encoder(_layers(config, config.encoder_layers), config.embedding)
        self.make_decoder(
            _layers(config, config.decoder_layers),
            config.attention,
            values=units,
            summary=units if config.start == "summary" else None,
            attend=config.attend,
            input_feeding=config.input_feeding,
            tied=config.tie_embeddings,
        )
        self.pointer = output.Pointer(2 * units + config.embedding, name="pointer") if config.copy else None
        self.decoder.folds &= not config.copy  # which reads the context
        self.dropout = Dropout(config.dropout)
        self.built = True

    def encode(self, source: tf.Tensor, training: bool = False) -> Memory:
        mask = tf.not_equal(source, PAD)
        embedded = self.dropout(self.source_embedding(source), training=training)
        values, summary = self.encoder(embedded, mask, training=training)
        values = self.dropout(values, training=training)
        keys = self.decoder.attention.prepare(values, mask)
        if self.mixes_embeddings:
            keys = keys._replace(values=embedded)
        return Memory(keys, self.decoder.fold(keys.values), summary, source)

    def start(self, memory: Memory, length: Length) -> State:
        return self.first_state(memory.keys, memory.summary)  # as large for any length

    def step(self, tokens: tf.Tensor, state: State, memory: Memory) -> Step:
        embedded = self.target_embedding(tokens)
        said, state = self.decoder.step(self.project(tokens), state, memory.keys._replace(values=memory.folded))
        return Step(self._logits(embedded, said, memory, training=False), said.attended.weights, state)

    def call(self, inputs: dict[str, tf.Tensor], training: bool = False) -> Decoded:
        memory = self.encode(inputs[SOURCE_IDS], training=training)
        embedded = self.dropout(self.target_embedding(inputs[DECODER_IDS]), training=training)
        first = self.first_state(memory.keys, memory.summary)
        said = self.decoder(embedded, first, memory.keys, training=training)
        logits = self._logits(embedded, said, memory, training=training)
        return Decoded(logits, said.attended.weights, said.attended.log_choice)

    def _logits(self, embedded: tf.Tensor, said: Said, memory: Memory, training: bool) -> tf.Tensor:
        logits = self.output_logits(self.dropout(said.vector, training=training))
        if self.pointer is None:
            return logits
        features = tf.concat([said.attended.context, said.hidden, embedded], axis=-1)
        return self.pointer(logits, features, said.attended.weights, memory.source_ids)


def build(config: Config, source: int, target_vocabulary: int) -> RecurrentSeq2Seq:
    """The model of a config, with all its weights made."""
    return RecurrentSeq2Seq(config, source, target_vocabulary)


def _layers(config: Config, layers: int) -> Layers:
    return Layers(config.cell, config.units, layers, config.dropout, config.residual, config.layer_norm)
