"""What every model of the zoo promises, and the names that cross a boundary.

Axes, one vocabulary for the whole project: `batch` (rows of a batch), `source` (encoder time), `target` (decoder
time), `beam` (hypotheses of a row), `query`, `key` (attention), `vocabulary`, `depth`.

A model is held in two ways. Training calls it whole, with teacher forcing::

    model({"source_ids": [[5, 9, 3]], "decoder_ids": [[2, 7]]})
    -> Decoded(logits [1, 2, vocabulary], attention [1, 2, 3])

Decoding encodes once and then steps, state in and state out (`models/decoding.py`)::

    memory = model.encode(source)                # leaves [batch, ...]
    state = model.start(memory, length)          # leaves [batch, ...], with room for so many steps
    step = model.step(tokens, state, memory)     # tokens [batch, beam], leaves of the state [batch, beam, ...]
"""

from __future__ import annotations

import abc
from collections.abc import Sequence
from typing import Any, NamedTuple, TypeAlias

import keras
import tensorflow as tf

# Special ids, the same in every vocabulary.
PAD, UNK, START, END = 0, 1, 2, 3

# Features of a raw row (tf.Example).
SOURCE = "source"  # string [1]: the input text
TARGET = "target"  # string [1]: the answer that is trained on, the first of the references
REFERENCES = "references"  # string [n >= 1]: every right answer
SOURCE_LENGTH = (
    "source_length"  # string [1]: the bucket of the source's characters, "5-8", or of its seconds, "1-2 s", for slices
)
GROUP = "group"  # string [1]: what kind of row it is, such as its language, for slices; "" where there are no kinds
ORIGIN = "origin"  # string [1]: where the row was read, "a.tsv:7"; the schema does not have it, for it is no input
ALIGNMENT = "alignment"  # string [n], n = 0 or 1: links SOURCE-TARGET of tokens that are known to be right, "0-2 1-1"

# bytes [1], of recordings: a WAV file of 16 bits, mono, at `audio.sample_rate_hz`; of kind "features" float32 frames
AUDIO = "audio"

TEXTS = (SOURCE, TARGET, REFERENCES, SOURCE_LENGTH, GROUP, ALIGNMENT)  # what the schema of raw rows knows

# Features of a transformed row: pieces followed by END, int64, ragged.
SOURCE_IDS = "source_ids"
TARGET_IDS = "target_ids"
# In place of SOURCE_IDS where the source is a recording: float32 [frames, depth + 1], see `models/audio`.
FRAMES = "frames"
# Of features (`audio.normalize: global`), float32 [depth], the same in every row.
FEATURE_MEAN, FEATURE_VARIANCE = "feature_mean", "feature_variance"
# What a batch adds: START followed by the target without its last piece, the decoder's input.
DECODER_IDS = "decoder_ids"

SPLITS = ("train", "validation", "test")

Nest = Any  # a tensor, or a tuple, list or dict of nests
Length: TypeAlias = int | tf.Tensor  # int32 [] where it is a tensor


class Decoded(NamedTuple):
    """What a model says of a whole batch under teacher forcing."""

    logits: tf.Tensor  # float32 [batch, target, vocabulary]
    attention: tf.Tensor  # float32 [batch, target, source], rows sum to at most 1 over the source
    # float32 [batch, target], log-probability of positions that were drawn; None, or 0, where none are.
    log_choice: tf.Tensor | None = None
    # Of a listener with CTC: float32 [batch, source, vocabulary], PAD standing for the blank, and its mask.
    heard: tuple[tf.Tensor, tf.Tensor] | None = None
    penalty: tf.Tensor | None = None  # float32 [batch], what a row adds to the loss for its attention's sake


class Step(NamedTuple):
    """What a model says after one more piece of every hypothesis."""

    logits: tf.Tensor  # float32 [batch, beam, vocabulary]
    attention: tf.Tensor  # float32 [batch, beam, source]
    state: Nest  # leaves [batch, beam, ...]


class Seq2Seq(keras.Model, abc.ABC):
    """An encoder-decoder with attention. State is explicit: the model holds weights only.

    Attributes:
        source: what `encode` takes, under the name that a batch has for it: SOURCE_IDS, or FRAMES of a recording.
        frames_per_position: of a recording, how many frames become one position of the attention.
        follows_source: what it says comes in the order of the source, so that a long one may be decoded in parts.
        one_piece: an answer is one piece, and END after it: a class.
        aligned_when_given: a piece is aligned by the step after the one that says it (see `models/forced.py`).
        alignment_layer: whose attention is reported, counted from 0, where there are several.
        alignment_choices: the layers among which a training may choose it; none, where it is given or there is one.
    """

    source = tf.TensorSpec([None, None], tf.int32, SOURCE_IDS)
    frames_per_position = 1
    follows_source = False
    one_piece = False
    aligned_when_given = False
    alignment_layer = 0
    alignment_choices: Sequence[int] = ()

    @abc.abstractmethod
    def encode(self, source: tf.Tensor, training: bool = False) -> Nest:
        """Read the source once -> memory, leaves [batch, ...].

        `source` is as `self.source` says: int32 [batch, source], PAD where there is nothing, or frames.
        """

    def source_mask(self, source: tf.Tensor) -> tf.Tensor:
        """Where there is something to attend to: bool [batch, source].

        A listener has fewer positions than there are frames: this is as long as its attention.
        """
        return tf.not_equal(source, PAD)

    @abc.abstractmethod
    def start(self, memory: Nest, length: Length) -> Nest:
        """The decoder's state before its first piece, leaves [batch, ...] (decoding adds the beam axis).

        `length` is the number of steps that there is room for: a state that holds what was said keeps its shape. What a
        step beyond it says is not defined. A state with more room is the same with zeros at the end of an axis.
        """

    @abc.abstractmethod
    def step(self, tokens: tf.Tensor, state: Nest, memory: Nest) -> Step:
        """One step: int32 [batch, beam] (START at first) and the state after the pieces before them."""

    @abc.abstractmethod
    def call(self, inputs: dict[str, tf.Tensor], training: bool = False) -> Decoded:
        """All steps at once: {self.source.name: source, DECODER_IDS: int32 [batch, target]} -> Decoded."""

    def freeze(self) -> list[tf.Variable]:
        """Compute once what steps would compute again and again of the weights alone -> what was computed.

        An export does so, and saves it beside the weights. Weights must not change from then on.
        """
        return []

    def auxiliary_loss(self, decoded: Decoded, target_ids: tf.Tensor) -> tf.Tensor:
        """What training adds to the cross-entropy, summed over the pieces: float32 []; nothing for most models."""
        return tf.zeros([])
