"""Searches and sampling against the list of all answers, on chains so small that it can be written down."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from models import walk
from models.beam import beam_search
from models.constraints import Constraints
from models.contract import END, PAD, START, UNK, Step
from models.decoding import Hypotheses, greedy, sample
from models.walk import Leaving
from tests.models.chains import PIECES, Chain, chain, first_order, pieces_of, search


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 2**16), alpha=st.sampled_from([0.0, 0.6, 1.0, 2.5]), limit=st.integers(0, 3))
def test_a_beam_as_wide_as_all_answers_lists_them_in_order(seed: int, alpha: float, limit: int) -> None:
    model = chain(seed, batch=2)
    found = search(model, beam_size=41, max_length=limit, length_penalty=alpha)
    for row in range(2):
        expected = model.answers(row, limit, alpha)
        np.testing.assert_allclose(found.scores[row, : len(expected)], [s for s, _ in expected], atol=1e-4)
        assert {pieces_of(tokens) for tokens in found.tokens[row, : len(expected)]} == {p for _, p in expected}
        assert np.isneginf(found.scores[row, len(expected) :]).all()
        assert not np.any(found.tokens[row, len(expected) :])


@settings(max_examples=20, deadline=None)
@given(
    seed=st.integers(0, 2**16),
    alpha=st.sampled_from([0.0, 0.6, 2.5]),
    beam_size=st.integers(1, 5),
    limit=st.integers(0, 5),
)
def test_scores_are_those_of_the_answers_best_first_and_none_twice(
    seed: int, alpha: float, beam_size: int, limit: int
) -> None:
    model = chain(seed)
    tokens, scores = (
        part[0].numpy() for part in search(model, beam_size=beam_size, max_length=limit, length_penalty=alpha)
    )
    found = [pieces_of(row) for row, score in zip(tokens, scores, strict=True) if np.isfinite(score)]
    expected = [model.score(0, pieces, alpha) for pieces in found]
    np.testing.assert_allclose(scores[: len(found)], expected, atol=1e-4)
    assert list(scores) == sorted(scores, reverse=True)
    assert len(set(found)) == len(found) >= 1
    assert all(set(pieces) <= set(PIECES) and len(pieces) <= limit for pieces in found)


@settings(max_examples=10, deadline=None)
@given(seed=st.integers(0, 2**16), alpha=st.sampled_from([0.0, 0.6, 2.5]), beam_size=st.integers(2, 4))
def test_stopping_early_loses_nothing(seed: int, alpha: float, beam_size: int) -> None:
    model = chain(seed)
    options = {"beam_size": beam_size, "max_length": 5, "length_penalty": alpha}
    everything = search(model, **options)
    for n_best in range(1, beam_size + 1):
        found = search(model, **options, n_best=n_best)
        np.testing.assert_array_equal(found.tokens, everything.tokens[:, :n_best])
        np.testing.assert_array_equal(found.scores, everything.scores[:, :n_best])


@settings(max_examples=10, deadline=None)
@given(seed=st.integers(0, 2**16), beam_size=st.sampled_from([1, 3]), alpha=st.sampled_from([0.0, 1.0]))
def test_a_row_alone_gets_the_answer_it_gets_in_a_batch(seed: int, beam_size: int, alpha: float) -> None:
    model, limits = chain(seed, batch=4), [5, 0, 2, 3]
    together = search(model, beam_size=beam_size, max_length=tf.constant(limits), length_penalty=alpha)
    assert together.tokens.shape == (4, beam_size, 6)
    for row, limit in enumerate(limits):
        alone = search(model.row(row), beam_size=beam_size, max_length=limit, length_penalty=alpha)
        np.testing.assert_array_equal(together.tokens[row, :, : limit + 1], alone.tokens[0])
        assert not np.any(together.tokens[row, :, limit + 1 :])
        np.testing.assert_allclose(together.scores[row], alone.scores[0], rtol=1e-5)


@settings(max_examples=10, deadline=None)
@given(seed=st.integers(0, 2**16), limit=st.integers(0, 5), alpha=st.sampled_from([0.0, 1.0]))
def test_greedy_takes_the_likeliest_piece_and_is_a_beam_of_one(seed: int, limit: int, alpha: float) -> None:
    model = chain(seed)
    expected: tuple[int, ...] = ()
    before, last = PAD, START
    while len(expected) < limit:
        before, last = last, max((END, *PIECES), key=lambda piece: model.logits[0, before, last, piece])
        if last == END:
            break
        expected += (last,)
    options = {"max_length": limit, "length_penalty": alpha}
    found = greedy(model.step, model.start, model.memory, batch_size=1, **options)
    assert pieces_of(found.tokens[0, 0]) == expected
    np.testing.assert_allclose(found.scores[0, 0], model.score(0, expected, alpha), atol=1e-4)
    beam = search(model, beam_size=1, **options)
    np.testing.assert_array_equal(beam.tokens, found.tokens)
    np.testing.assert_array_equal(beam.scores, found.scores)


# 4 is the likelier start, but what follows it is open: 5 END (0.4) is likelier than 4 END and 4 6 END (0.3 each).
DETOUR = first_order({START: {4: 0.6, 5: 0.4}, 4: {END: 0.5, 6: 0.5}, 5: {END: 1.0}, 6: {END: 1.0}})


def test_a_beam_finds_what_greedy_search_walks_past() -> None:
    assert pieces_of(search(DETOUR, beam_size=1, max_length=3).tokens[0, 0]) in {(4,), (4, 6)}
    found = search(DETOUR, beam_size=2, max_length=3)
    assert pieces_of(found.tokens[0, 0]) == (5,)
    np.testing.assert_allclose(found.scores[0, 0], np.log(0.4), atol=1e-5)


def test_a_finished_answer_is_not_driven_out_by_live_ones_that_end_badly() -> None:
    # END after 4 costs 0.3; the live 4 5 and 4 6 are both likelier there, and both go on for long.
    model = first_order(
        {START: {4: 1.0}, 4: {END: 0.3, 5: 0.35, 6: 0.35}, 5: {END: 0.1, 5: 0.9}, 6: {END: 0.1, 6: 0.9}}
    )
    assert pieces_of(search(model, beam_size=3, max_length=6).tokens[0, 0]) == (4,)


def test_a_length_penalty_prefers_the_longer_of_two_alike() -> None:
    model = first_order({START: {4: 0.5, 5: 0.5}, 4: {END: 1.0}, 5: {6: 0.9, END: 0.1}, 6: {END: 1.0}})
    assert pieces_of(search(model, beam_size=3, max_length=3).tokens[0, 0]) == (4,)
    assert pieces_of(search(model, beam_size=3, max_length=3, length_penalty=2.0).tokens[0, 0]) == (5, 6)


@pytest.mark.parametrize("beam_size", [1, 3])
def test_unknown_is_said_only_where_it_is_allowed(beam_size: int) -> None:
    model = first_order({START: {UNK: 0.9, 4: 0.1}, UNK: {END: 1.0}, 4: {END: 1.0}})
    assert pieces_of(search(model, beam_size=beam_size, max_length=2).tokens[0, 0]) == (4,)
    assert pieces_of(
        search(model, beam_size=beam_size, max_length=2, constraints=Constraints(allow_unknown=True)).tokens[0, 0]
    ) == (UNK,)


@pytest.mark.parametrize("beam_size", [1, 3])
def test_the_search_stops_when_every_row_is_done(beam_size: int) -> None:
    model, steps = first_order({START: {4: 1.0}, 4: {END: 1.0}}), []

    def step(tokens: tf.Tensor, state: dict[str, tf.Tensor], memory: tf.Tensor) -> Step:
        steps.append(tokens)
        return model.step(tokens, state, memory)

    beam_search(step, model.start, model.memory, batch_size=1, beam_size=beam_size, max_length=50, n_best=1)
    assert len(steps) == 2


@settings(max_examples=20, deadline=None)
@given(
    seed=st.integers(0, 2**16),
    limits=st.lists(st.integers(0, 5), max_size=9),
    beam_size=st.sampled_from([1, 3]),
    alpha=st.sampled_from([0.0, 1.0]),
)
def test_rows_that_leave_when_they_are_done_have_the_answers_of_those_that_stay(
    seed: int, limits: list[int], beam_size: int, alpha: float
) -> None:
    model = chain(seed, batch=len(limits))
    constraints = Constraints(
        min_length=tf.constant([seed % 3] * len(limits)), prefix=tf.constant([[5, PAD]] * len(limits))
    )
    options = {"beam_size": beam_size, "max_length": tf.constant(limits, tf.int32), "length_penalty": alpha}
    options |= {"constraints": constraints, "n_best": 1}
    if beam_size > 1:
        options |= {"coverage_penalty": 0.3, "source": tf.constant([[True, True, False]] * len(limits))}
    stayed, *others = (search(model, **options, leaving=leaving) for leaving in ("none", "any", "halves"))
    for left in others:
        np.testing.assert_array_equal(left.tokens, stayed.tokens)
        np.testing.assert_allclose(left.scores, stayed.scores, rtol=1e-5)


@pytest.mark.parametrize("beam_size", [1, 3])
@pytest.mark.parametrize(
    ("leaving", "expected"), [("none", [4, 4, 4, 4]), ("any", [4, 3, 2, 1]), ("halves", [4, 4, 2, 1])]
)
def test_a_row_that_has_left_costs_nothing(leaving: Leaving, expected: list[int], beam_size: int) -> None:
    """Four rows say 0 to 3 pieces: of each step, how many rows it has."""
    model, rows = chain(1, batch=4), []

    def step(tokens: tf.Tensor, state: dict[str, tf.Tensor], memory: tf.Tensor) -> Step:
        rows.append(len(tokens))
        return model.step(tokens, state, memory)

    limits = tf.constant([0, 1, 2, 3])
    least = Constraints(min_length=limits)
    options = {"batch_size": 4, "beam_size": beam_size, "max_length": limits, "constraints": least, "n_best": 1}
    beam_search(step, model.start, model.memory, **options, leaving=leaving)
    assert rows == expected


@pytest.mark.parametrize("beam_size", [1, 3])
@pytest.mark.parametrize(("leaving", "expected"), [("any", [2, 2, 4, 4, 6, 6]), ("halves", [2, 2] + 2 * [4, 4, 6, 6])])
def test_a_state_has_little_room_at_first(
    leaving: Leaving, expected: list[int], beam_size: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of each of six steps, the room that the state has; under XLA of both rows, and then of one after the other."""
    monkeypatch.setattr(walk, "ROOM", 2)
    model, rooms = chain(1, batch=2), []

    def step(tokens: tf.Tensor, state: dict[str, tf.Tensor], memory: tf.Tensor) -> Step:
        rooms.append(state["said"].shape[-1])
        return model.step(tokens, state, memory)

    limits = tf.constant([5, 5])
    options = {"batch_size": 2, "beam_size": beam_size, "max_length": limits, "leaving": leaving}
    beam_search(step, model.start, model.memory, **options, constraints=Constraints(min_length=limits))
    assert rooms == expected


def compiled(model: Chain, jit_compile: bool, beam_size: int, leaving: Leaving) -> Callable[[tf.Tensor], Hypotheses]:
    return tf.function(
        lambda limits: search(model, beam_size=beam_size, max_length=5, length_penalty=0.6, leaving=leaving),
        jit_compile=jit_compile,
    )


@pytest.mark.parametrize("beam_size", [1, 3])
@pytest.mark.parametrize(
    ("jit_compile", "leaving"), [(False, "none"), (False, "any"), (False, "halves"), (True, "none"), (True, "halves")]
)
def test_a_graph_and_xla_give_what_eager_mode_gives(beam_size: int, jit_compile: bool, leaving: Leaving) -> None:
    model = chain(3, batch=5)
    expected = search(model, beam_size=beam_size, max_length=5, length_penalty=0.6)
    found = compiled(model, jit_compile, beam_size, leaving)(tf.constant(0))
    np.testing.assert_array_equal(found.tokens, expected.tokens)
    np.testing.assert_allclose(found.scores, expected.scores, rtol=1e-5)


@pytest.mark.parametrize("leaving", ["none", "any", "halves"])
@pytest.mark.parametrize("beam_size", [1, 3])
def test_a_saved_model_decodes_batches_and_limits_of_any_size(beam_size: int, leaving: Leaving, tmp_path: str) -> None:
    model = chain(5, batch=5)

    class Export(tf.Module):
        @tf.function(input_signature=[tf.TensorSpec([None], tf.int32), tf.TensorSpec([None], tf.int32)])
        def decode(self, rows: tf.Tensor, limits: tf.Tensor) -> Hypotheses:
            options = {"batch_size": tf.size(rows), "beam_size": beam_size, "max_length": limits, "leaving": leaving}
            return beam_search(model.step, model.start, rows, **options)

    tf.saved_model.save(Export(), str(tmp_path))
    decode = tf.saved_model.load(str(tmp_path)).decode
    limits = np.array([3, 1, 5, 2, 4], np.int32)
    expected = search(model, beam_size=beam_size, max_length=tf.constant(limits))
    found = decode(np.arange(5, dtype=np.int32), limits)
    np.testing.assert_array_equal(found.tokens, expected.tokens)
    np.testing.assert_allclose(found.scores, expected.scores, rtol=1e-5)
    one = decode(np.array([3], np.int32), limits[3:4])
    np.testing.assert_array_equal(one.tokens[0], expected.tokens[3, :, :3])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"beam_size": 3, "n_best": 5}, "n_best must be 1 to beam_size, got n_best 5 and beam_size 3"),
        ({"beam_size": 0}, "n_best must be 1 to beam_size, got n_best 0 and beam_size 0"),
        ({"beam_size": 3, "length_penalty": -0.5}, "length_penalty must be 0 or more, got -0.5"),
    ],
)
def test_wrong_options_are_refused(options: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        search(DETOUR, max_length=3, **options)


def drawn(model: Chain, seeds: list[int], **options: object) -> Hypotheses:
    """A sample of the chain's first row for each seed."""
    rows = Chain(*(np.repeat(part[:1], len(seeds), axis=0) for part in model))
    return sample(rows.step, rows.start, rows.memory, seeds=tf.constant(seeds), **options)


def test_samples_come_as_often_as_the_model_says() -> None:
    model, draws = chain(3, scale=1.0), 4000
    found = drawn(model, list(range(draws)), max_length=2)
    counted = Counter(pieces_of(tokens[0]) for tokens in found.tokens)
    answers = model.answers(0, 2, 0.0)
    # PAD, START and UNK are never said, and at the limit comes END: what is left is drawn from.
    open_ended = {pieces: chance_of(model, pieces, 2) for _, pieces in answers}
    np.testing.assert_allclose(sum(open_ended.values()), 1.0, atol=1e-6)
    for pieces, chance in open_ended.items():
        assert abs(counted[pieces] / draws - chance) < 5 * np.sqrt(chance * (1 - chance) / draws) + 1e-9, pieces


def chance_of(model: Chain, pieces: tuple[int, ...], limit: int) -> float:
    """That an answer is drawn, from pieces that may be said."""
    chance, before, last = 1.0, PAD, START
    for piece in (*pieces, END)[:limit]:
        logits = model.logits[0, before, last, [END, *PIECES]].astype(np.float64)
        chance *= (np.exp(logits) / np.exp(logits).sum())[[END, *PIECES].index(piece)]
        before, last = last, piece
    return chance


@settings(max_examples=10, deadline=None)
@given(seed=st.integers(0, 2**16), alpha=st.sampled_from([0.0, 0.6]))
def test_a_sample_has_the_score_of_its_answer_and_its_seed_decides(seed: int, alpha: float) -> None:
    model, options = chain(seed), {"max_length": 4, "temperature": 1.7, "length_penalty": alpha}
    found = drawn(model, [seed, 5, seed], **options)
    for tokens, score in zip(found.tokens[:, 0], found.scores[:, 0], strict=True):
        np.testing.assert_allclose(score, model.score(0, pieces_of(tokens), alpha), atol=1e-4)
    np.testing.assert_array_equal(found.tokens[0], found.tokens[2])
    np.testing.assert_array_equal(found.tokens[1], drawn(model, [5], **options).tokens[0])


@pytest.mark.parametrize("options", [{"top_k": 1}, {"top_p": 1e-6}, {"temperature": 1e-4}])
def test_what_leaves_one_piece_is_greedy_search(options: dict[str, float]) -> None:
    for seed in range(5):
        model = chain(seed)
        found = drawn(model, [7, 8], max_length=5, **options)
        expected = greedy(model.step, model.start, model.memory, batch_size=1, max_length=5)
        np.testing.assert_array_equal(found.tokens, np.repeat(expected.tokens, 2, axis=0))


def test_only_likely_pieces_are_drawn() -> None:
    model = first_order({START: {4: 0.5, 5: 0.3, 6: 0.2}, 4: {END: 1.0}, 5: {END: 1.0}, 6: {END: 1.0}})
    seeds = list(range(300))
    for options, expected in (
        ({}, {(4,), (5,), (6,)}),
        ({"top_k": 2}, {(4,), (5,)}),
        ({"top_p": 0.7}, {(4,), (5,)}),
        ({"top_p": 0.9}, {(4,), (5,), (6,)}),
        ({"top_k": 3, "top_p": 0.4}, {(4,)}),
    ):
        found = drawn(model, seeds, max_length=3, **options)
        assert {pieces_of(tokens[0]) for tokens in found.tokens} == expected, options


def test_samples_keep_to_constraints_and_compile_with_xla() -> None:
    model, constraints = chain(2), Constraints(min_length=2, prefix=tf.constant([[6]] * 3))
    options = {"max_length": 4, "top_k": 3, "constraints": constraints}
    compiled = tf.function(lambda: drawn(model, [1, 2, 3], **options).tokens, jit_compile=True)
    np.testing.assert_array_equal(compiled(), compiled())
    for found in (compiled(), drawn(model, [1, 2, 3], **options).tokens):
        answers = [pieces_of(tokens[0]) for tokens in found]
        assert all(answer[0] == 6 and len(answer) >= 2 for answer in answers)


@pytest.mark.parametrize("options", [{"temperature": 0.0}, {"top_k": -1}, {"top_p": 0.0}, {"top_p": 1.5}])
def test_samples_of_nothing_are_refused(options: dict[str, float]) -> None:
    with pytest.raises(
        ValueError, match="expected a temperature above 0, top_k of 0 or more and top_p above 0, at most 1"
    ):
        drawn(chain(1), [1], max_length=1, **options)
