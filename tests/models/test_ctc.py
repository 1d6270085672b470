"""CTC against every way to say a target, spelt out, on a few positions and a few pieces."""

from __future__ import annotations

import itertools
from collections import defaultdict

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from models import ctc, ctc_prefix
from models.contract import END, PAD, START, UNK
from models.states import add_beam

BATCH, SOURCE, VOCABULARY = 2, 5, 7
A, B, C = 4, 5, 6
LENGTHS = (SOURCE, 3)


def logits(seed: int = 0, source: int = SOURCE, spread: float = 1.0) -> np.ndarray:
    said = np.random.default_rng(seed).normal(size=(BATCH, source, VOCABULARY), scale=spread).astype(np.float32)
    said[..., END] = ctc.NEVER
    return said


def mask(source: int = SOURCE) -> np.ndarray:
    return np.arange(source) < np.array(LENGTHS)[:, None]


def spelled(path: tuple[int, ...]) -> tuple[int, ...]:
    """Graves 2006, section 3.1: repeats are merged, then blanks are left out."""
    return tuple(piece for piece, _ in itertools.groupby(path) if piece != PAD)


def by_spelling(row: np.ndarray) -> dict[tuple[int, ...], float]:
    """The probability of everything that can be said: logits [source, vocabulary] -> {(4, 5): 0.02, ...}."""
    chances = np.exp(row.astype(np.float64)) / np.exp(row.astype(np.float64)).sum(axis=-1, keepdims=True)
    found: dict[tuple[int, ...], float] = defaultdict(float)
    for path in itertools.product([piece for piece in range(VOCABULARY) if piece != END], repeat=len(row)):
        found[spelled(path)] += float(np.prod(chances[np.arange(len(row)), list(path)]))
    return found


@pytest.mark.parametrize("targets", [[[A, B, A], [B, B, PAD]], [[A, A, B], [C, PAD, PAD]], [[PAD] * 3, [A, B, C]]])
def test_the_loss_sums_over_every_way_to_say_a_target(targets: list[list[int]]) -> None:
    said = logits()
    losses = ctc.loss(tf.constant(said), tf.constant(mask()), tf.constant(targets))
    for row, length in enumerate(LENGTHS):
        expected = by_spelling(said[row, :length])[tuple(piece for piece in targets[row] if piece)]
        np.testing.assert_allclose(losses[row], -np.log(expected), rtol=1e-5)


def test_the_loss_and_its_gradient_are_those_of_tensorflow() -> None:
    rng = np.random.default_rng(3)
    said = tf.constant(rng.normal(size=(3, 41, 13)), tf.float32)
    targets = rng.integers(END + 1, 13, (3, 11)).astype(np.int32)
    targets[1, 7:] = PAD
    frames, pieces = [41, 29, 37], [11, 7, 11]
    with tf.GradientTape(persistent=True) as tape:
        tape.watch(said)
        ours = ctc.loss(said, tf.sequence_mask(frames), tf.constant(targets)) * [1.0, 2.0, 3.0]
        theirs = tf.nn.ctc_loss(targets, said, pieces, frames, False, blank_index=PAD) * [1.0, 2.0, 3.0]
    np.testing.assert_allclose(ours, theirs, rtol=1e-5)
    np.testing.assert_allclose(tape.gradient(ours, said), tape.gradient(theirs, said), atol=1e-4)


@pytest.mark.parametrize("frames", [0, 1, 2])
def test_a_target_that_does_not_fit_costs_nothing_and_teaches_nothing(frames: int) -> None:
    said = tf.constant(logits()[:1])
    with tf.GradientTape() as tape:
        tape.watch(said)
        loss = ctc.loss(said, tf.sequence_mask([frames], SOURCE), tf.constant([[A, A, PAD]]))
    assert loss.numpy() == [0.0]
    assert not tape.gradient(loss, said).numpy().any()


def test_positions_that_a_target_needs() -> None:
    targets = tf.constant([[A, A, B, A], [A, B, PAD, PAD], [PAD] * 4, [C, C, C, PAD]])
    np.testing.assert_array_equal(ctc.frames_needed(targets), [5, 2, 0, 5])


def test_no_position_says_end() -> None:
    head = ctc.Head(3, VOCABULARY)
    assert (tf.nn.softmax(head(tf.ones([BATCH, SOURCE, 3])))[..., END] == 0).numpy().all()


def prefix_of(heard: ctc_prefix.Heard, pieces: tuple[int, ...]) -> ctc_prefix.Prefix:
    """The same pieces in every row, beam of one."""
    prefix = add_beam(ctc_prefix.begin(heard))
    for piece in (START, *pieces):
        prefix = ctc_prefix.extend(prefix, tf.fill([BATCH, 1], piece), heard)
    return prefix


def prefixes(row: np.ndarray) -> dict[tuple[int, ...], float]:
    """The probability of everything that can be begun."""
    found: dict[tuple[int, ...], float] = defaultdict(float)
    for said, chance in by_spelling(row).items():
        for length in range(len(said) + 1):
            found[said[:length]] += chance
    return found


@pytest.mark.parametrize("pieces", [(), (A,), (A, A), (A, B), (B, A, B), (UNK, C), (A, A, A)])
def test_the_next_piece_is_as_likely_as_all_that_begins_so(pieces: tuple[int, ...]) -> None:
    said = logits(1)
    heard = ctc_prefix.hear(tf.constant(said), tf.constant(mask()))
    scores = ctc_prefix.scores(prefix_of(heard, pieces), heard)[:, 0]
    for row, length in enumerate(LENGTHS):
        whole, begun = by_spelling(said[row, :length]), prefixes(said[row, :length])
        if not begun[pieces]:  # it does not fit into the second row
            np.testing.assert_allclose(scores[row], np.full(VOCABULARY, -np.log(VOCABULARY)), rtol=1e-5)
            continue
        expected = [begun[(*pieces, piece)] for piece in range(VOCABULARY)]
        expected[PAD], expected[END] = 0.0, whole[pieces]
        assert sum(expected) == pytest.approx(begun[pieces])
        np.testing.assert_allclose(np.exp(scores[row]), np.array(expected) / begun[pieces], atol=1e-6)


def test_all_answers_together_are_certain() -> None:
    """Every answer of up to three pieces on three positions, step by step: their probabilities sum to 1."""
    said = logits(2)[:, :3]
    said[..., START] = ctc.NEVER  # which begins a prefix, and so cannot be tried as a piece
    heard = ctc_prefix.hear(tf.constant(said), tf.constant(mask()[:, :3]))

    def total(prefix: ctc_prefix.Prefix, log_probability: np.ndarray, left: int) -> np.ndarray:
        """Of all answers that begin so and have at most so many pieces more."""
        scores = ctc_prefix.scores(prefix, heard)[:, 0].numpy()
        found = np.exp(log_probability + scores[:, END])
        for piece in (UNK, A, B, C) if left else ():
            after = ctc_prefix.extend(prefix, tf.fill([BATCH, 1], piece), heard)
            found = found + total(after, log_probability + scores[:, piece], left - 1)
        return found

    np.testing.assert_allclose(total(prefix_of(heard, ()), np.zeros(BATCH), 3), np.ones(BATCH), rtol=1e-5)


def test_hypotheses_of_a_beam_do_not_mix() -> None:
    heard = ctc_prefix.hear(tf.constant(logits(4)), tf.constant(mask()))
    prefix = add_beam(ctc_prefix.begin(heard), 2)
    for pieces in ([START, START], [A, B], [A, A]):
        prefix = ctc_prefix.extend(prefix, tf.constant([pieces] * BATCH), heard)
    both = ctc_prefix.scores(prefix, heard)
    for beam, pieces in enumerate([(A, A), (B, A)]):
        alone = ctc_prefix.scores(prefix_of(heard, pieces), heard)
        np.testing.assert_allclose(both[:, beam], alone[:, 0], atol=1e-5)


@settings(max_examples=10, deadline=None)
@given(seed=st.integers(0, 2**16), padding=st.integers(1, 4))
def test_padding_changes_nothing(seed: int, padding: int) -> None:
    rng = np.random.default_rng(seed)
    said, targets = logits(seed, spread=3.0), tf.constant(rng.integers(END + 1, VOCABULARY, (BATCH, 3)), tf.int32)
    more = np.concatenate([said, logits(seed + 1, padding, spread=9.0)], axis=1)
    np.testing.assert_allclose(
        ctc.loss(more, mask(SOURCE + padding), targets), ctc.loss(said, mask(), targets), rtol=1e-5
    )
    decoder_ids = tf.concat([tf.fill([BATCH, 1], START), targets, tf.fill([BATCH, 1], PAD)], axis=1)
    short, long = (
        ctc_prefix.along(ctc_prefix.hear(tf.constant(each), tf.constant(mask(each.shape[1]))), decoder_ids)
        for each in (said, more)
    )
    np.testing.assert_allclose(long, short, atol=1e-4)


def test_a_thousand_positions_lose_no_digits() -> None:
    """A listener that is sure: blank but for one piece. Its scores are exact, far into the recording."""
    source, sure = 1009, 30.0
    said = np.zeros([1, source, VOCABULARY], np.float32)
    said[..., PAD] = sure
    for place, piece in ((5, A), (601, B), (1000, C)):
        said[0, place, PAD], said[0, place, piece] = 0.0, sure
    heard = ctc_prefix.hear(tf.constant(said), tf.ones([1, source], tf.bool))
    scores = ctc_prefix.along(heard, tf.constant([[START, A, B, C]]))
    np.testing.assert_allclose(tf.gather(scores, [[A, B, C, END]], batch_dims=2), np.zeros([1, 4]), atol=1e-4)
