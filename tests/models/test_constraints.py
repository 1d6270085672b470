"""Searches under constraints against the list of all answers that keep to them."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from models.beam import coverage
from models.constraints import Constraints
from models.contract import PAD, UNK
from tests.models.chains import SOURCE, chain, pieces_of, search

ALPHA, LIMIT = 0.6, 3
ALL = 41  # answers of up to three pieces, and one to spare


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 2**16), shortest=st.integers(0, 4))
def test_answers_are_long_enough(seed: int, shortest: int) -> None:
    model = chain(seed, batch=2)
    lengths = tf.constant([shortest, 0])
    found = search(
        model, beam_size=ALL, max_length=LIMIT, length_penalty=ALPHA, constraints=Constraints(min_length=lengths)
    )
    for row, least in enumerate((min(shortest, LIMIT), 0)):  # the greatest length wins
        expected = [answer for answer in model.answers(row, LIMIT, ALPHA) if len(answer[1]) >= least]
        np.testing.assert_allclose(found.scores[row, : len(expected)], [score for score, _ in expected], atol=1e-4)
        assert np.isneginf(found.scores[row, len(expected) :]).all()


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 2**16), prefix=st.lists(st.sampled_from([UNK, 4, 5, 6]), max_size=2))
def test_answers_begin_as_they_are_told(seed: int, prefix: list[int]) -> None:
    model = chain(seed, batch=2)
    told = tf.constant([[*prefix, PAD, PAD][:2], [PAD, PAD]])
    constraints = Constraints(prefix=told)
    found = search(model, beam_size=ALL, max_length=LIMIT, length_penalty=ALPHA, constraints=constraints)
    begin = tuple(prefix)
    rests = {pieces[len(begin) :] for _, pieces in model.answers(0, LIMIT, ALPHA) if len(pieces) >= len(begin)}
    expected = sorted((model.score(0, begin + rest, ALPHA) for rest in rests), reverse=True)
    np.testing.assert_allclose(found.scores[0, : len(expected)], expected, atol=1e-4)
    assert all(pieces_of(tokens)[: len(begin)] == begin for tokens in found.tokens[0, : len(expected)])
    np.testing.assert_array_equal(
        found.scores[1], search(model.row(1), beam_size=ALL, max_length=LIMIT, length_penalty=ALPHA).scores[0]
    )


@settings(max_examples=10, deadline=None)
@given(seed=st.integers(0, 2**16), shortest=st.integers(0, 2), beam_size=st.sampled_from([1, 3]))
def test_any_beam_keeps_to_the_constraints(seed: int, shortest: int, beam_size: int) -> None:
    constraints = Constraints(min_length=shortest, prefix=tf.constant([[5], [PAD]]))
    found = search(chain(seed, batch=2), beam_size=beam_size, max_length=4, constraints=constraints)
    first, second = (pieces_of(found.tokens[row, 0]) for row in range(2))
    assert first[0] == 5 and min(len(first), len(second)) >= shortest


def test_an_answer_that_reaches_its_limit_ends_there_whatever_it_was_told() -> None:
    for beam_size in (1, 2):
        constraints = Constraints(min_length=9, prefix=tf.constant([[4, 5, 6]]))
        found = search(chain(1), beam_size=beam_size, max_length=2, constraints=constraints)
        assert pieces_of(found.tokens[0, 0]) == (4, 5)
        np.testing.assert_allclose(found.scores[0, 0], chain(1).log_probability(0, (4, 5)), atol=1e-4)


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 2**16), beta=st.sampled_from([0.2, 1.0, 5.0]))
def test_scores_with_coverage_are_those_of_the_paper(seed: int, beta: float) -> None:
    model = chain(seed, batch=2)
    source = np.array([[True] * SOURCE, [True, True, False]])
    options = {"coverage_penalty": beta, "source": tf.constant(source), "length_penalty": ALPHA}
    found = search(model, beam_size=ALL, max_length=LIMIT, **options)
    for row in range(2):
        expected = [
            score + beta * np.log(np.clip(model.looked(row, pieces), 1e-6, 1.0))[source[row]].sum()
            for score, pieces in model.answers(row, LIMIT, ALPHA)
        ]
        np.testing.assert_allclose(found.scores[row, : len(expected)], sorted(expected, reverse=True), atol=1e-3)
    alone = search(model.row(1), beam_size=ALL, max_length=LIMIT, **{**options, "source": tf.constant(source[1:])})
    np.testing.assert_allclose(found.scores[1], alone.scores[0], rtol=1e-5)


def test_what_was_looked_at_whole_costs_nothing() -> None:
    looked = tf.constant([[[1.0, 3.0, 0.0], [0.5, 1.0, 0.0]]])
    source = tf.constant([[True, True, False]])
    np.testing.assert_allclose(coverage(looked, source, 2.0), [[0.0, 2 * np.log(0.5)]], atol=1e-6)


def test_constraints_compile_with_xla() -> None:
    model, source = chain(3, batch=2), tf.constant([[True] * SOURCE] * 2)
    constraints = Constraints(min_length=1, prefix=tf.constant([[5], [PAD]]))

    def searched() -> tf.Tensor:
        return search(
            model, beam_size=3, max_length=4, coverage_penalty=0.4, source=source, constraints=constraints
        ).tokens

    np.testing.assert_array_equal(tf.function(searched, jit_compile=True)(), searched())


@pytest.mark.parametrize(
    ("beam_size", "penalty", "text"),
    [
        (2, -1.0, r"coverage_penalty must be 0 or more, got -1\.0"),
        (1, 0.5, "it needs a beam of 2 and the source"),
        (2, 0.5, "it needs a beam of 2 and the source"),
    ],
)
def test_a_coverage_penalty_that_cannot_be_is_refused(beam_size: int, penalty: float, text: str) -> None:
    source = tf.ones([1, SOURCE], tf.bool) if beam_size == 1 else None
    with pytest.raises(ValueError, match=text):
        search(chain(1), beam_size=beam_size, max_length=1, coverage_penalty=penalty, source=source)
