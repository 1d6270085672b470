"""Recordings that are longer than a part: every word once, whole, and in its place.

The model of these tests reads its transcript off the frames, so the right answer of any length is known exactly.
"""

from __future__ import annotations

import functools
from typing import Any, NamedTuple

import numpy as np
import pytest
import sentencepiece
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from components import tokenizer
from models.audio import Audio
from models.contract import DECODER_IDS, END, FRAMES, Decoded, Length, Nest, Seq2Seq, Step
from models.listener import real_frames, source_of
from serving.export import ServedModel
from serving.long_recordings import Parts
from serving.search import Decoding
from serving.sources import Recordings

AUDIO = Audio(kind="features", depth=2, max_seconds=1.09, normalize="none")
PARTS = Parts.of(AUDIO)
PIECE_FRAMES = 3
LETTERS = "abcde"
PIECES = tokenizer.train({LETTERS: 1}, tokenizer.Pieces("char", 97))
PROCESSOR = sentencepiece.SentencePieceProcessor(model_proto=PIECES)
SIZE = PROCESSOR.get_piece_size()


class Heard(NamedTuple):
    """Where each piece begins, [batch, frames + 1], `frames` where there are no more, and what it is there."""

    starts: tf.Tensor
    ids: tf.Tensor


class Reader(Seq2Seq):
    """A frame holds the id of the piece that is said in it, 0 in silence, and how long it has been said.

    The state is the number of the piece that comes next. Attention is where it begins, of the first piece of a part,
    which may be cut in two, the first frame.
    """

    source = source_of(AUDIO)
    follows_source = True

    def source_mask(self, source: tf.Tensor) -> tf.Tensor:
        return real_frames(source)

    def encode(self, source: tf.Tensor, training: bool = False) -> Heard:
        ids, said = tf.cast(source[..., 0], tf.int32), source[..., 1]
        frames = tf.shape(ids)[1]
        times = tf.range(frames)[None]
        begins = real_frames(source) & (ids > 0) & ((said == 0) | (times == 0))
        starts = tf.sort(tf.where(begins, times, frames))
        return Heard(
            tf.pad(starts, [[0, 0], [0, 1]], constant_values=frames),
            tf.pad(ids, [[0, 0], [0, 1]], constant_values=END),
        )

    def start(self, memory: Heard, length: Length) -> tf.Tensor:
        return tf.zeros([tf.shape(memory.ids)[0]], tf.int32)

    def step(self, tokens: tf.Tensor, state: tf.Tensor, memory: Heard) -> Step:
        return Step(*_say(state, memory), state + 1)

    def call(self, inputs: dict[str, tf.Tensor], training: bool = False) -> Decoded:
        ids = inputs[DECODER_IDS]
        numbers = tf.repeat(tf.range(tf.shape(ids)[1])[None], tf.shape(ids)[0], axis=0)
        return Decoded(*_say(numbers, self.encode(inputs[FRAMES])))


def _say(numbers: tf.Tensor, memory: Nest) -> tuple[tf.Tensor, tf.Tensor]:
    """Logits and attention of the pieces with these numbers, int32 [batch, any]."""
    last = tf.shape(memory.starts)[1] - 1
    starts = tf.gather(memory.starts, tf.minimum(numbers, last), batch_dims=1)
    ids = tf.gather(memory.ids, starts, batch_dims=1)
    return 7.0 * tf.one_hot(ids, SIZE), tf.one_hot(starts, last)


@functools.cache
def served() -> dict[str, Any]:
    model = Reader(name="reader")
    decoding = Decoding(beam_size=2, max_length_ratio=1.0, length_penalty=0.7)
    return ServedModel(model, Recordings(AUDIO), PIECES, decoding).functions()


def record(words: list[str], pauses: list[int]) -> bytes:
    """Words and the silence before each, in frames, as a file of features."""
    frames: list[tuple[int, int]] = []
    for word, pause in zip(words, pauses, strict=True):
        pieces = [PROCESSOR.piece_to_id("▁")] if frames else []  # a space between two words is a piece
        frames += [(0, 0)] * pause
        frames += [(piece, said) for piece in [*pieces, *PROCESSOR.encode(word)] for said in range(PIECE_FRAMES)]
    return np.array(frames, "<f4").tobytes()


def length(recording: bytes) -> int:
    return len(recording) // (4 * AUDIO.depth)


def recording_of(frames: int, seed: int) -> tuple[list[str], bytes]:
    """Of exactly so many frames, which may end within a word's last letter."""
    random = np.random.default_rng(seed)
    words, pauses = [], []
    while not words or length(record(words, pauses)) < frames:
        words.append("".join(random.choice(list(LETTERS), random.integers(1, 4))))
        pauses.append(int(random.integers(0, 5)))
    left = frames - length(record(words[:-1], pauses[:-1]))
    words, pauses = words[:-1], pauses[:-1]
    return words, record(words, pauses) + np.zeros((left, 2), "<f4").tobytes()


def transcripts(*recordings: bytes) -> tuple[list[str], np.ndarray]:
    found = served()["serving_default"](tf.constant(recordings))
    return [text.decode() for text in found["text"].numpy()], found["score"].numpy()


def test_recordings_of_many_lengths_in_one_batch() -> None:
    made = [
        recording_of(round(share * PARTS.length), seed)
        for seed, share in enumerate((1.0, 1.5, 2.9, 0.2, 0.76, 0.9, 1.76))
    ]
    found, scores = transcripts(*(recording for _, recording in made))
    assert found == [" ".join(words) for words, _ in made]
    for (_, recording), text, score in zip(made, found, scores, strict=True):
        alone, alone_score = transcripts(recording)
        assert alone == [text]
        np.testing.assert_allclose(alone_score, [score], rtol=1e-5)


@pytest.mark.parametrize("offset", range(PARTS.shared + 2 * PIECE_FRAMES))
def test_a_word_across_the_border_is_there_once(offset: int) -> None:
    """One long word, which begins at every frame around what two parts share; a part ends in the middle of that."""
    begin = PARTS.step - 2 * PIECE_FRAMES + offset
    words = ["a", "bcd", "e"]
    before = begin - length(record(["a"], [0]))
    assert transcripts(record(words, [0, before, 5 * PARTS.length // 4]))[0] == ["a bcd e"]


word = st.text(LETTERS, min_size=1, max_size=3)
spoken = st.lists(st.tuples(word, st.integers(0, 11)), min_size=1, max_size=43)


@settings(max_examples=60)
@given(st.lists(spoken, min_size=1, max_size=3))
def test_any_text_comes_back_whatever_else_is_in_the_batch(texts: list[list[tuple[str, int]]]) -> None:
    made = [([word for word, _ in text], [pause for _, pause in text]) for text in texts]
    found, _ = transcripts(*(record(*one) for one in made))
    assert found == [" ".join(words) for words, _ in made]


def test_a_recording_that_fits_is_answered_as_by_the_plain_search() -> None:
    _, fits = recording_of(PARTS.length, 5)
    _, long = recording_of(2 * PARTS.length, 7)
    plain = served()["n_best"](tf.constant([fits]))
    for asked in ([fits], [fits, long]):
        found, scores = transcripts(*asked)
        assert found[0] == plain["text"][0, 0].numpy().decode()
        np.testing.assert_allclose(scores[0], plain["score"][0, 0], rtol=1e-5)


def test_a_space_at_the_end_is_written_as_by_the_plain_search() -> None:
    space = [(PROCESSOR.piece_to_id("▁"), said) for said in range(PIECE_FRAMES)]
    ends = record(["ab"], [7]) + np.array(space, "<f4").tobytes()
    alone, _ = transcripts(ends)
    assert alone == ["ab "]
    assert transcripts(ends, recording_of(2 * PARTS.length, 7)[1])[0][:1] == alone


def test_silence_for_longer_than_a_part_is_no_word() -> None:
    pause = 3 * PARTS.length
    assert transcripts(record(["ab", "c"], [0, pause]), record(["d"], [pause]))[0] == ["ab c", "d"]


def test_parts_are_as_long_as_a_row_of_the_training() -> None:
    assert Parts.of(Audio()) == Parts(length=3000, shared=200) and Parts.of(Audio()).step == 2800
    assert Parts(109, 27) == PARTS  # a quarter, where two seconds would be more
    assert Parts.of(Audio(max_seconds=0.01)) == Parts(length=4, shared=1)


def test_positions_are_the_same_in_a_part_and_the_next() -> None:
    """Times are those of positions: else a word at a border would be in both parts, or in none."""
    for max_seconds in (1.09, 2.0, 6.0, 7.0, 30.0):
        for positions in (1, 2, 4, 8):
            parts = Parts.of(Audio(max_seconds=max_seconds), positions)
            assert parts.step % positions == 0 and 0 < parts.shared <= parts.length // 4 + positions
    assert Parts.of(Audio(max_seconds=0.01), 8).step == 1
