"""Listen, attend and spell (Chan 2015), with location-aware attention (Chorowski 2015) and CTC beside it (Kim 2017).

A row: frames [1, 23, depth + 1], decoder ids [[2, 7]] -> logits [1, 2, target vocabulary], attention [1, 2, 6] where
four frames become one position.

The listener learns from two losses: the speller's, and that of a CTC of its own, which hears the pieces in their order.
CTC takes part in the search, too: it says of each piece how likely it is to come next (Watanabe 2017, section 4.3),
which keeps an attention from skipping or repeating a part of the recording.
"""

from __future__ import annotations

import dataclasses
from typing import Annotated, Any, ClassVar, Literal, NamedTuple

import tensorflow as tf
from annotated_types import Ge, Gt, Le, Lt

from models import attention, ctc, ctc_prefix
from models.attention import Keys
from models.audio import Audio
from models.audio.frontend import Frontend
from models.contract import DECODER_IDS, END, PAD, Decoded, Length, Nest, Step
from models.layers import Dropout, Embedding
from models.listener import Config as ListenerConfig
from models.listener import Listener, real_frames, source_of
from models.recurrent import CellName, Layers
from models.recurrent_decoder import State as SpellerState
from models.speller import Speller


@dataclasses.dataclass(frozen=True)
class Config:
    """The shape of the model.

    Attributes:
        listener: see `models/listener.py`.
        cell: of the speller.
        units: of a layer of the speller.
        embedding: depth of a piece.
        layers: of the speller, above each other.
        attention: a mechanism of `models/attention`: "location", or {"name": "location", "width": 31}.
        attend: before a step (Bahdanau 2015; Chorowski 2015) or after it (Luong 2015).
        input_feeding: the attentional vector goes into the next step (Luong 2015, section 3.3); with "after".
        layer_norm: gates of the speller are normalised (Ba 2016).
        dropout: of embeddings, between layers, of the listener's outputs and of the attentional vector.
        tie_embeddings: "output": the target's embeddings are the output projection.
        ctc_weight: the share of CTC in what training makes small (Kim 2017, eq. 14: lambda); 0: there is no CTC.
        ctc_decoding_weight: its share in what is said of the next piece; 0: a search asks the speller alone.
    """

    __pydantic_config__: ClassVar[dict[str, str]] = {"extra": "forbid"}
    reads: ClassVar[frozenset[str]] = frozenset({"audio"})
    shared_pieces: ClassVar[bool] = False  # a recording has none

    listener: ListenerConfig = dataclasses.field(default_factory=ListenerConfig)
    cell: CellName = "lstm"
    units: Annotated[int, Gt(0)] = 320
    embedding: Annotated[int, Gt(0)] = 128
    layers: Annotated[int, Gt(0)] = 1
    attention: dict[str, Any] | str = "location"
    attend: Literal["before", "after"] = "before"
    input_feeding: bool = False
    layer_norm: bool = False
    dropout: Annotated[float, Ge(0), Lt(1)] = 0.2
    tie_embeddings: Literal["none", "output"] = "none"
    ctc_weight: Annotated[float, Ge(0), Lt(1)] = 0.3
    ctc_decoding_weight: Annotated[float, Ge(0), Le(1)] = 0.3

    def __post_init__(self) -> None:
        """What no field can say alone."""
        wrong = []
        if self.input_feeding and self.attend == "before":
            wrong.append("input_feeding is for attend: after; with attend: before the context goes into each step")
        if self.ctc_decoding_weight and not self.ctc_weight:
            wrong.append(
                f"ctc_decoding_weight is {self.ctc_decoding_weight:g}: it needs a ctc_weight, for what was not trained "
                "has nothing to say"
            )
        if wrong:
            raise ValueError("; ".join(wrong))

    def check(self) -> None:
        """Raise ValueError on a mechanism that these units do not suit."""
        last = self.listener
        values = last.projection or last.units * (2 if last.layers in last.reduce_after else 1)
        attention.build(self.attention, self.units, values)

    @property
    def frames_per_position(self) -> int:
        """How many frames become one position, at least one of which CTC needs for a piece."""
        return self.listener.frames_per_position


class Memory(NamedTuple):
    """The recording, heard once."""

    keys: Keys
    folded: tf.Tensor  # [batch, source, any], the values for steps: see `models/recurrent_decoder.py`
    summary: tf.Tensor  # [batch, units of the listener], where its two directions end
    said: Nest  # what CTC says of each position, float32 [batch, source, vocabulary]; () without CTC
    heard: Nest  # ctc_prefix.Heard; () where CTC takes no part in a search


class State(NamedTuple):
    """A search between two steps; leaves [batch, ...], in decoding [batch, beam, ...]."""

    speller: SpellerState
    prefix: Nest  # ctc_prefix.Prefix; () where CTC takes no part


class ListenAttendSpell(Speller):
    """Frontend, listener, attention and speller, and CTC on the listener."""

    def __init__(self, config: Config, audio: Audio, target_vocabulary: int) -> None:
        super().__init__(name="las", autocast=False)  # a waveform stays float32
        self.source = source_of(audio)
        self.config = config
        mechanism = config.attention if isinstance(config.attention, str) else config.attention["name"]
        self.follows_source = mechanism != "none"  # which tells no word's time
        self.frames_per_position = config.frames_per_position
        self.frontend = Frontend(audio, name="frontend")
        self.listener = Listener(
            config.listener, audio.feature_depth, config.dropout, 1 + audio.deltas, name="listener"
        )
        self.target_embedding = Embedding(
            target_vocabulary, config.embedding, config.tie_embeddings != "none", name="target_embedding"
        )
        self.make_decoder(
            Layers(config.cell, config.units, config.layers, config.dropout, False, config.layer_norm),
            config.attention,
            values=self.listener.depth,
            summary=config.listener.units,
            attend=config.attend,
            input_feeding=config.input_feeding,
            tied=config.tie_embeddings,
        )
        self.ctc = ctc.Head(self.listener.depth, target_vocabulary, name="ctc") if config.ctc_weight else None
        self.dropout = Dropout(config.dropout)
        self.built = True

    def source_mask(self, source: tf.Tensor) -> tf.Tensor:
        return self.listener.positions(real_frames(source))

    def encode(self, source: tf.Tensor, training: bool = False) -> Memory:
        features, mask = self.frontend(source, training=training)
        values, mask, summary = self.listener(features, mask, training=training)
        values = self.dropout(values, training=training)
        said = self.ctc(values) if self.ctc else ()
        searched = self.config.ctc_decoding_weight and not training
        heard = ctc_prefix.hear(said, mask) if searched else ()
        keys = self.decoder.attention.prepare(values, mask)
        return Memory(keys, self.decoder.fold(keys.values), summary, said, heard)

    def start(self, memory: Memory, length: Length) -> State:
        spelled = self.first_state(memory.keys, memory.summary)  # as large for any length
        return State(spelled, ctc_prefix.begin(memory.heard) if memory.heard else ())

    def step(self, tokens: tf.Tensor, state: State, memory: Memory) -> Step:
        said, after = self.decoder.step(self.project(tokens), state.speller, memory.keys._replace(values=memory.folded))
        logits = self.output_logits(said.vector)
        prefix = state.prefix
        if memory.heard:
            prefix = ctc_prefix.extend(prefix, tokens, memory.heard)
            logits = self._joint(logits, ctc_prefix.scores(prefix, memory.heard))
        return Step(logits, said.attended.weights, State(after, prefix))

    def call(self, inputs: dict[str, tf.Tensor], training: bool = False) -> Decoded:
        memory = self.encode(inputs[self.source.name], training=training)
        embedded = self.dropout(self.target_embedding(inputs[DECODER_IDS]), training=training)
        first = self.first_state(memory.keys, memory.summary)
        said = self.decoder(embedded, first, memory.keys, training=training)
        logits = self.output_logits(self.dropout(said.vector, training=training))
        if memory.heard:
            logits = self._joint(logits, ctc_prefix.along(memory.heard, inputs[DECODER_IDS]))
        heard = (memory.said, memory.keys.mask) if self.ctc else None
        return Decoded(logits, said.attended.weights, said.attended.log_choice, heard)

    def auxiliary_loss(self, decoded: Decoded, target_ids: tf.Tensor) -> tf.Tensor:
        """The mechanism's, and CTC's with w / (1 - w): beside the speller's 1 as w is beside 1 - w (Kim 2017, eq. 14).

        In training `decoded.logits` are the speller's alone.
        """
        loss = super().auxiliary_loss(decoded, target_ids)
        if decoded.heard is None:
            return loss
        pieces = tf.where(target_ids == END, PAD, target_ids)
        share = self.config.ctc_weight / (1.0 - self.config.ctc_weight)
        return loss + share * tf.reduce_sum(ctc.loss(*decoded.heard, pieces))

    def _joint(self, logits: tf.Tensor, heard: tf.Tensor) -> tf.Tensor:
        """What speller and CTC say together: (1 - l) log P_speller + l log P_ctc (Watanabe 2017, eq. 9), as logits.

        The paper adds log-probabilities up over an answer; a search makes log-probabilities of the logits at each
        step, so that ours are divided by what they sum to. A sum of both is then a probability, too.
        """
        weight = self.config.ctc_decoding_weight
        return (1.0 - weight) * tf.nn.log_softmax(logits) + weight * heard


def build(config: Config, source: Audio, target_vocabulary: int) -> ListenAttendSpell:
    """The model of a config, with all its weights made."""
    return ListenAttendSpell(config, source, target_vocabulary)
