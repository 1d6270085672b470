"""Recordings that are longer than a model was trained on, decoded in overlapping parts of `audio.max_seconds`.

    0 s                 28   30                 56   58
    |------ part 1 ------====|------ part 2 -----====|-- part 3 ...
    "call me at"      "at seven"    -> "call me at seven": a word belongs to the part in which it begins, and a part
                                       ends between two words, about in the middle of what it shares with the next one

When a word begins is where attention looks for its first piece, so this is for models whose attention goes along with
the recording (`Seq2Seq.follows_source`).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import tensorflow as tf

from models.audio import Audio
from models.contract import END, PAD, Seq2Seq
from models.forced import force

OVERLAP_S = 2.0

Search = Callable[[tf.Tensor], tuple[tf.Tensor, tf.Tensor]]  # frames -> pieces [n, target], scores [n]


class Parts(NamedTuple):
    """How recordings are cut, in frames."""

    length: int
    shared: int  # by a part and the next

    @classmethod
    def of(cls, audio: Audio, frames_per_position: int = 1) -> Parts:
        """As long as a row of the training may be; from one to the next a whole number of positions.

        So attention has the same positions in both, and a word that one part leaves to the other is there.
        """
        length = max(audio.frames(audio.max_seconds), 4)
        step = length - min(audio.frames(OVERLAP_S), length // 4)
        return cls(length, length - max(step - step % frames_per_position, 1))

    @property
    def step(self) -> int:
        """From the beginning of a part to that of the next."""
        return self.length - self.shared


class Pieces(NamedTuple):
    """How a target's pieces are read: ids -> whether a word begins with each, and ragged ids -> texts."""

    begins_word: Callable[[tf.Tensor], tf.Tensor]
    detokenize: Callable[[tf.RaggedTensor], tf.Tensor]


def transcribe(
    source: tf.Tensor, model: Seq2Seq, search: Search, pieces: Pieces, parts: Parts
) -> tuple[tf.Tensor, tf.Tensor]:
    """Frames [n, frames, depth + 1] of any length -> (texts [n], the sums of the parts' scores, float32 [n])."""
    lengths = tf.math.count_nonzero(source[..., -1], axis=1, dtype=tf.int32)
    rows, frames = tf.shape(source)[0], tf.shape(source)[1]
    count = 1 + tf.maximum(frames - parts.length + parts.step - 1, 0) // parts.step

    def body(
        number: tf.Tensor, texts: tf.Tensor, scores: tf.Tensor, firsts: tf.Tensor
    ) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor, tf.Tensor]:
        begin = number * parts.step
        # The rows that go on: what ends within the part before is in it whole.
        here = tf.where((number == 0) | (lengths > begin + parts.shared))[:, 0]
        part = tf.gather(source[:, begin : begin + parts.length], here)
        tokens, score = search(part)
        last = tf.gather(lengths, here) <= begin + parts.length
        times = _word_times(model, part, tokens, pieces)
        end = tf.where(last, parts.length, _cut(times, tokens, parts))
        kept = (times >= tf.gather(firsts, here)[:, None]) & (times < end[:, None])
        said = tf.ragged.boolean_mask(tokens, kept & (tokens != PAD) & (tokens != END))
        more = pieces.detokenize(said)
        more = tf.where(last & (number == 0), more, tf.strings.strip(more))  # of one part as without parts
        before, places = tf.gather(texts, here), here[:, None]
        between = tf.where((before == "") | (more == ""), "", " ")
        texts = tf.tensor_scatter_nd_update(texts, places, before + between + more)
        scores = tf.tensor_scatter_nd_add(scores, places, score)
        return number + 1, texts, scores, tf.tensor_scatter_nd_update(firsts, places, end - parts.step)

    nothing = (0, tf.fill([rows], ""), tf.zeros([rows]), tf.zeros([rows], tf.int32))
    _, texts, scores, _ = tf.while_loop(lambda number, *_: number < count, body, nothing, parallel_iterations=1)
    return texts, scores


def _cut(times: tf.Tensor, tokens: tf.Tensor, parts: Parts) -> tf.Tensor:
    """Where a part leaves the words to the next one: int32 [n], the frame that is the furthest from any word's begin.

    Of the middle half of what both share. A word is not heard at quite the same frame in both, so a cut close to where
    one begins would have it twice, or not at all.
    """
    quarter = parts.shared // 4
    choices = tf.range(parts.step + quarter, parts.length - quarter)
    real = (tokens != PAD) & (tokens != END)
    away = tf.abs(times[:, None, :] - choices[:, None])  # [n, choices, target]
    nearest = tf.reduce_min(tf.where(real[:, None, :], away, parts.length), axis=-1, keepdims=False)
    nearest = tf.minimum(nearest, parts.shared)  # where no word is near, the middle
    from_the_middle = tf.abs(choices - (parts.step + parts.shared // 2))
    return tf.gather(choices, tf.argmax(nearest * parts.length - from_the_middle, axis=1))


def _word_times(model: Seq2Seq, part: tf.Tensor, tokens: tf.Tensor, pieces: Pieces) -> tf.Tensor:
    """At which frame of a part the word of each piece begins: int32 [n, target]."""
    attention = force(model, part, tokens).attention
    times = tf.argmax(attention, axis=-1, output_type=tf.int32) * model.frames_per_position
    place = tf.range(tf.shape(tokens)[1])
    begins = pieces.begins_word(tokens) | (place == 0)
    # For each piece the last place up to its own at which a word begins.
    up_to = begins[:, None, :] & (place[None, None, :] <= place[None, :, None])
    return tf.gather(times, tf.reduce_max(tf.where(up_to, place, 0), axis=-1), batch_dims=1)
