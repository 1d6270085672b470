"""The recurrent encoder-decoder with attention (Bahdanau 2015; Luong 2015).

A row: source ids [[5, 9, 3]], decoder ids [[2, 7]] -> logits [1, 2, target vocabulary], attention [1, 2, 3].

Where the decoder attends is a choice. "before" (Bahdanau 2015): the state before a step asks, and the context goes into
the step, so steps depend on each other through attention. "after" (Luong 2015): the state after a step asks, and the
context only goes into the prediction, so in training attention is one product over all steps, and a step is cheap.
"""

from __future__ import annotations

import abc
import dataclasses
from typing import Annotated, Any, ClassVar, Literal, NamedTuple, TypeAlias

import keras
import tensorflow as tf
from annotated_types import Ge, Gt, Lt, MultipleOf

from models import attention as mechanisms
from models.attention import Attended, Attention, Keys
from models.contract import DECODER_IDS, PAD, SOURCE_IDS, Decoded, Seq2Seq, Step
from models.layers import Dense, Dropout
from models.recurrent import CELLS, CellName, Encoder, Stack, State, scan


@dataclasses.dataclass(frozen=True)
class Config:
    """The shape of the model. The encoder's two directions share `units`."""

    __pydantic_config__: ClassVar[dict[str, str]] = {"extra": "forbid"}

    cell: CellName = "gru"
    units: Annotated[int, Gt(0), MultipleOf(2)] = 256
    embedding: Annotated[int, Gt(0)] = 256
    encoder_layers: Annotated[int, Gt(0)] = 1
    decoder_layers: Annotated[int, Gt(0)] = 1
    attention: dict[str, Any] | str = "general"
    attend: Literal["before", "after"] = "after"
    dropout: Annotated[float, Ge(0), Lt(1)] = 0.2


States: TypeAlias = tuple[State, ...]  # the decoder's, a state a layer


class Memory(NamedTuple):
    """The source, read once."""

    keys: Keys
    summary: tf.Tensor  # [batch, units], where the encoder's two directions end


class Decoder(keras.layers.Layer, abc.ABC):
    """What turns pieces and the source into the two halves of an attentional vector. A state a layer."""

    def __init__(self, config: Config, attention: Attention) -> None:
        super().__init__(name="decoder")
        self.attention = attention
        self.built = True

    @abc.abstractmethod
    def call(self, inputs: tf.Tensor, states: States, keys: Keys, training: bool = False) -> tuple[tf.Tensor, Attended]:
        """All steps: [batch, target, embedding], leaves [batch, units] -> ([batch, target, units], Attended)."""

    @abc.abstractmethod
    def step(self, inputs: tf.Tensor, states: States, keys: Keys) -> tuple[tf.Tensor, Attended, States]:
        """One step: [batch, beam, embedding], leaves [batch, beam, units] -> ([batch, beam, units], Attended, next)."""


class AttendAfter(Decoder):
    """The state after a step asks (Luong 2015, section 3), without input feeding."""

    def __init__(self, config: Config, attention: Attention) -> None:
        super().__init__(config, attention)
        self.stack = Stack(config.cell, config.embedding, config.units, config.decoder_layers, config.dropout)

    def call(self, inputs: tf.Tensor, states: States, keys: Keys, training: bool = False) -> tuple[tf.Tensor, Attended]:
        hidden = self.stack(inputs, states, training=training)
        return hidden, self.attention(hidden, keys)

    def step(self, inputs: tf.Tensor, states: States, keys: Keys) -> tuple[tf.Tensor, Attended, States]:
        hidden, states = self.stack.step(inputs, states)
        return hidden, self.attention(hidden, keys), states


class AttendBefore(Decoder):
    """The state before a step asks, and the context goes into the step (Bahdanau 2015, A.2.2).

    In a deep decoder the lowest layer attends and every layer takes its context (Wu 2016, section 3.2), so that only
    that layer has to run step by step.
    """

    def __init__(self, config: Config, attention: Attention) -> None:
        super().__init__(config, attention)
        units = config.units
        self.bottom = CELLS[config.cell](config.embedding, units, name="bottom")
        self.context = Dense(units, self.bottom.gates * units, use_bias=False, name="context")
        self.dropout = Dropout(config.dropout)
        self.upper = Stack(config.cell, 2 * units, units, config.decoder_layers - 1, config.dropout, name="upper")

    def call(self, inputs: tf.Tensor, states: States, keys: Keys, training: bool = False) -> tuple[tf.Tensor, Attended]:
        advance = self.bottom.bind()

        def step(now: State, before: State) -> State:
            context, weights = self.attention(before[2][:, None], keys)
            after = advance(now[0] + self.context(context[:, 0]), before[2:])
            return context[:, 0], weights[:, 0], *after

        projected = self.bottom.project(tf.transpose(inputs, [1, 0, 2]))
        nothing = (tf.zeros_like(keys.values[:, 0]), tf.zeros_like(keys.mask, tf.float32))
        outputs, _ = scan(step, (projected,), (*nothing, *states[0]), keep=3)
        context, weights, hidden = (tf.transpose(part, [1, 0, 2]) for part in outputs)
        if self.upper.cells:
            below = tf.concat([self.dropout(hidden, training=training), context], axis=-1)
            hidden = self.upper(below, states[1:], training=training)
        return hidden, Attended(context, weights)

    def step(self, inputs: tf.Tensor, states: States, keys: Keys) -> tuple[tf.Tensor, Attended, States]:
        attended = self.attention(states[0][0], keys)
        bottom = self.bottom.bind()(self.bottom.project(inputs) + self.context(attended.context), states[0])
        if not self.upper.cells:
            return bottom[0], attended, (bottom,)
        below = tf.concat([bottom[0], attended.context], axis=-1)
        hidden, upper = self.upper.step(below, states[1:])
        return hidden, attended, (bottom, *upper)


DECODERS: dict[str, type[Decoder]] = {"before": AttendBefore, "after": AttendAfter}


class RecurrentSeq2Seq(Seq2Seq):
    """Encoder, attention, decoder, and the attentional vector from which a piece is predicted."""

    def __init__(self, config: Config, source_vocabulary: int, target_vocabulary: int) -> None:
        super().__init__(name="rnn")
        units = config.units
        self.source_embedding = keras.layers.Embedding(source_vocabulary, config.embedding, name="source_embedding")
        self.source_embedding.build()
        self.target_embedding = keras.layers.Embedding(target_vocabulary, config.embedding, name="target_embedding")
        self.target_embedding.build()
        self.encoder = Encoder(config.cell, config.embedding, units, config.encoder_layers, config.dropout)
        self.attention = mechanisms.build(config.attention, units, units, name="attention")
        self.decoder = DECODERS[config.attend](config, self.attention)
        # A state a layer, each of as many parts as the cell has.
        self.layout = (config.decoder_layers, CELLS[config.cell].parts)
        self.bridge = Dense(units, config.decoder_layers * self.layout[1] * units, "tanh", name="bridge")
        self.attentional = Dense(2 * units, units, "tanh", use_bias=False, name="attentional")
        self.output_logits = Dense(units, target_vocabulary, dtype="float32", name="logits")
        self.dropout = Dropout(config.dropout)
        self.built = True

    def encode(self, source_ids: tf.Tensor, training: bool = False) -> Memory:
        mask = source_ids != PAD
        embedded = self.dropout(self.source_embedding(source_ids), training=training)
        values, summary = self.encoder(embedded, mask, training=training)
        return Memory(self.attention.prepare(values, mask), summary)

    def start(self, memory: Memory) -> States:
        # Bahdanau 2015, A.2.2: s_0 = tanh(W h); here h is where both directions end, not the backward one alone.
        layers, parts = self.layout
        flat = tf.split(self.bridge(memory.summary), layers * parts, axis=-1)
        return tuple(tuple(flat[n * parts : (n + 1) * parts]) for n in range(layers))

    def step(self, tokens: tf.Tensor, state: States, memory: Memory) -> Step:
        hidden, attended, state = self.decoder.step(self.target_embedding(tokens), state, memory.keys)
        return Step(self._logits(hidden, attended, training=False), attended.weights, state)

    def call(self, inputs: dict[str, tf.Tensor], training: bool = False) -> Decoded:
        memory = self.encode(inputs[SOURCE_IDS], training=training)
        embedded = self.dropout(self.target_embedding(inputs[DECODER_IDS]), training=training)
        hidden, attended = self.decoder(embedded, self.start(memory), memory.keys, training=training)
        return Decoded(self._logits(hidden, attended, training=training), attended.weights)

    def _logits(self, hidden: tf.Tensor, attended: Attended, training: bool) -> tf.Tensor:
        # Luong 2015, eq. 5: tanh(W [context; hidden]); for "before" too, in place of Bahdanau's maxout (A.2.2).
        vector = self.attentional(tf.concat([attended.context, hidden], axis=-1))
        return self.output_logits(self.dropout(vector, training=training))


def build(config: Config, source_vocabulary: int, target_vocabulary: int) -> RecurrentSeq2Seq:
    """The model of a config, with all its weights made."""
    return RecurrentSeq2Seq(config, source_vocabulary, target_vocabulary)
