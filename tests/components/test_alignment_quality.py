"""Alignment quality: rows worked by hand, and what holds for any attention."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from components import alignment_quality as quality
from components.alignment_quality import NOWHERE, Gold

sizes = st.tuples(st.integers(1, 7), st.integers(1, 5), st.integers(0, 2**16))


def attention(target: int, source: int, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).dirichlet(np.full(source, 0.3), target)


def random_gold(target: int, source: int, seed: int) -> Gold:
    draw = np.random.default_rng(seed).random((source, target))
    every = [(int(s), int(t)) for s, t in np.ndindex(source, target)]
    return Gold(
        frozenset(link for link in every if draw[link] < 0.2), frozenset(link for link in every if draw[link] < 0.4)
    )


@pytest.mark.parametrize(
    ("pieces", "expected"),
    [
        (["▁the", "▁ca", "t", "</s>"], [0, 1, 1]),
        (["▁", "猫", "<0xE3>", "▁b", "</s>"], [0, 0, 0, 1]),  # a mark alone begins a word
        (["c", "a", "▁", "t", "</s>"], [0, 1, 2, 3]),
        (["▁AE", "<unk>", "▁B", "</s>"], [0, 1, 2]),  # words of which one is not known
        (["<unk>", "▁B"], [0, 1]),
        (["a", "<unk>", "b"], [0, 1, 2]),
        (["</s>"], []),
    ],
)
def test_pieces_become_tokens(pieces: list[str], expected: list[int]) -> None:
    assert quality.tokens(pieces).tolist() == expected


def test_tokens_of_a_text() -> None:
    assert quality.count_tokens("le chat", ["▁le", "▁ch", "at", "</s>"]) == 2
    assert quality.count_tokens("le chat", [*"le▁chat", "</s>"]) == 7
    assert quality.count_tokens("a\u00a0b", ["▁a\u00a0b"]) == 1  # a no-break space parts no words


def test_gold_in_pharaohs_form() -> None:
    assert quality.parse("0-2 11-1 3?4") == Gold(frozenset({(0, 2), (11, 1)}), frozenset({(0, 2), (11, 1), (3, 4)}))
    assert quality.parse(" ") == Gold(frozenset(), frozenset())
    for wrong in ("0:1", "1-", "-1-2", "1-2-3", "a-b", "²-1"):
        with pytest.raises(ValueError, match=rf"alignment: '{wrong}', expected SOURCE-TARGET"):
            quality.parse(f"0-0 {wrong}")


def test_weights_of_a_source_token_are_summed_and_of_a_target_token_averaged() -> None:
    pieces = np.array([[0.1, 0.2, 0.3, 0.4], [0.5, 0.0, 0.5, 0.0], [0.0, 0.0, 0.2, 0.8]])  # the last column is END
    tokens = quality.by_source_token(pieces, np.array([0, 1, 1]))
    np.testing.assert_allclose(tokens, [[0.1, 0.5, 0.4], [0.5, 0.5, 0.0], [0.0, 0.2, 0.8]])
    np.testing.assert_allclose(quality.by_target_token(tokens, np.array([0, 0])), [[0.3, 0.5, 0.2]])


def test_a_target_token_that_looks_at_the_end_or_nowhere_is_linked_with_nothing() -> None:
    weights = np.array([[0.2, 0.7, 0.1], [0.1, 0.3, 0.6], [0.0, 0.0, 0.0], [0.5, 0.5, 0.0]])
    assert quality.links(weights).tolist() == [1, NOWHERE, NOWHERE, 0]


def test_accuracy_by_hand() -> None:
    linked = np.array([0, 2, NOWHERE, 1])
    # 0 right; 1 right, as any of its two; 2 looks at END; 3 has no known position.
    assert quality.accuracy_counts(linked, quality.parse("0-0 1-1 2-1 0-2")).tolist() == [2, 3]
    assert quality.accuracy_counts(linked, quality.parse("1?3")).tolist() == [1, 1]


def test_error_rate_by_hand() -> None:
    linked = np.array([0, 2, NOWHERE])
    counts = quality.error_counts(linked, quality.parse("0-0 1-1 2?1"))
    assert counts.tolist() == [1, 2, 2, 2]
    assert quality.error_rate(counts) == pytest.approx(1 - 3 / 4)
    # Sums over rows, not means of rows: (1 + 2 + 0) / ... of the first, and a row in which all is wrong.
    other = quality.error_counts(np.array([1]), quality.parse("0-0"))
    assert quality.error_rate(counts + other) == pytest.approx(1 - 3 / 6)
    assert np.isnan(quality.error_rate(np.zeros(4)))


def test_entropy_by_hand() -> None:
    weights = np.array([[0.5, 0.5, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 0.0], [0.2, 0.0, 0.2]])
    np.testing.assert_allclose(quality.entropy(weights), [np.log(2), 0.0, np.log(2)])


def test_coverage_by_hand() -> None:
    weights = np.array([[0.5, 0.4, 0.1], [0.9, 0.0, 0.1]])
    np.testing.assert_allclose(quality.coverage(weights), [1.0, 0.4])


@given(sizes)
def test_tokens_of_a_piece_each_change_nothing(sizes: tuple[int, int, int]) -> None:
    target, source, seed = sizes
    weights = attention(target, source + 1, seed)
    same = quality.by_target_token(quality.by_source_token(weights, np.arange(source)), np.arange(target))
    np.testing.assert_allclose(same, weights)


@given(sizes, st.integers(0, 2**16))
def test_grouped_rows_still_sum_to_one(sizes: tuple[int, int, int], seed: int) -> None:
    target, source, attention_seed = sizes
    draw = np.random.default_rng(seed)
    columns, rows = (np.cumsum(np.r_[0, draw.integers(0, 2, size - 1)]) for size in (source, target))
    weights = attention(target, source + 1, attention_seed)
    grouped = quality.by_target_token(quality.by_source_token(weights, columns), rows)
    assert grouped.shape == (rows[-1] + 1, columns[-1] + 2)
    np.testing.assert_allclose(grouped.sum(axis=1), 1)
    for row in range(len(grouped)):  # each written out
        for column in range(columns[-1] + 1):
            block = weights[:target][rows == row][:, :source][:, columns == column]
            assert grouped[row, column] == pytest.approx(block.sum(axis=1).mean())


@given(sizes)
def test_rates_are_rates(sizes: tuple[int, int, int]) -> None:
    target, source, seed = sizes
    linked = quality.links(attention(target, source + 1, seed))
    gold = random_gold(target, source, seed)
    right, known = quality.accuracy_counts(linked, gold)
    assert 0 <= right <= known <= target
    rate = quality.error_rate(quality.error_counts(linked, gold))
    assert np.isnan(rate) or 0 <= rate <= 1


@given(sizes)
def test_links_are_their_own_gold(sizes: tuple[int, int, int]) -> None:
    target, source, seed = sizes
    linked = quality.links(attention(target, source + 1, seed))
    gold = quality.parse(" ".join(f"{s}-{t}" for t, s in enumerate(linked) if s != NOWHERE))
    right, known = quality.accuracy_counts(linked, gold)
    assert right == known == len(gold.sure)
    if gold.sure:
        assert quality.error_rate(quality.error_counts(linked, gold)) == 0


@given(sizes)
def test_entropy_and_coverage_have_bounds_and_know_no_order(sizes: tuple[int, int, int]) -> None:
    target, source, seed = sizes
    weights = attention(target, source + 1, seed)
    nats, covered = quality.entropy(weights), quality.coverage(weights)
    assert nats.shape == (target,) and covered.shape == (source,)
    assert (nats >= -1e-12).all() and (nats <= np.log(source + 1) + 1e-12).all()
    assert (covered >= 0).all() and (covered <= 1).all()
    shuffled = np.random.default_rng(seed).permutation(source)
    order = np.append(shuffled, source)  # END stays where it is
    np.testing.assert_allclose(quality.entropy(weights[:, order]), nats)
    np.testing.assert_allclose(quality.coverage(weights[:, order]), covered[shuffled])
