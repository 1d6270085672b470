"""The paired bootstrap: against what statistics say, and on models that are known to be equal or not."""

from __future__ import annotations

import numpy as np
import pytest

from components import bootstrap, metrics

RIGHT = metrics.find("accuracy")
WRONG = metrics.find("sequence_error_rate")


def rows(right: np.ndarray) -> np.ndarray:
    """What `accuracy` counts of rows that are right or not."""
    return np.stack([right.astype(float), np.ones(len(right))], axis=1)


def answers(seed: int, share: float, number: int = 2000) -> np.ndarray:
    return np.random.default_rng(seed).random(number) < share


def test_the_interval_is_that_of_paired_differences() -> None:
    champion, candidate = answers(1, 0.6), answers(2, 0.7)
    found = bootstrap.compare(RIGHT, rows(champion), rows(candidate), resamples=4000)
    differences = candidate.astype(float) - champion
    error = differences.std() / np.sqrt(len(differences))
    assert (found.champion, found.candidate) == (champion.mean(), candidate.mean())
    assert found.low == pytest.approx(differences.mean() - 1.96 * error, abs=0.1 * error)
    assert found.high == pytest.approx(differences.mean() + 1.96 * error, abs=0.1 * error)


def test_what_happens_to_both_models_does_not_count() -> None:
    """Rows that are hard for both make the scores uncertain, and the difference not."""
    champion = answers(1, 0.5)
    candidate = champion | (np.arange(2000) % 100 == 0)
    found = bootstrap.compare(RIGHT, rows(champion), rows(candidate))
    assert found.verdict == "better" and found.high - found.low < 0.01


@pytest.mark.parametrize(
    ("champion", "candidate", "verdict"), [(0.6, 0.7, "better"), (0.7, 0.6, "worse"), (0.65, 0.65, "equal")]
)
def test_better_worse_and_equal(champion: float, candidate: float, verdict: str) -> None:
    old, new = answers(1, champion), answers(2, candidate)
    assert bootstrap.compare(RIGHT, rows(old), rows(new)).verdict == verdict
    turned = bootstrap.compare(WRONG, rows(~old), rows(~new))
    assert turned.verdict == verdict  # fewer errors are better


def test_equal_models_are_rarely_called_different() -> None:
    verdicts = [
        bootstrap.compare(
            RIGHT, rows(answers(2 * n, 0.6, 300)), rows(answers(2 * n + 1, 0.6, 300)), resamples=300
        ).verdict
        for n in range(100)
    ]
    assert 85 <= verdicts.count("equal") <= 99


def test_corpus_scores_are_recomputed_and_not_averaged() -> None:
    bleu = metrics.find("bleu")
    pairs = [("a b c d e", "a b c d e"), ("f g h i", "f g x i"), ("j k l m n o", "j k l m")] * 20
    good = np.stack([bleu.statistics([reference], answer) for reference, answer in pairs])
    bad = np.stack([bleu.statistics([reference], answer[:5]) for reference, answer in pairs])
    found = bootstrap.compare(bleu, bad, good)
    assert found.candidate == metrics.evaluate(["bleu"], [([r], a) for r, a in pairs])["bleu"]
    assert found.verdict == "better" and found.low < found.candidate - found.champion < found.high


def test_words() -> None:
    better = bootstrap.Difference(0.312, 0.298, 0.008, 0.02, 0.95)
    assert better.words() == "0.312 -> 0.298, better by 0.014 ±0.006 (95 %)"
    equal = bootstrap.Difference(0.312, 0.298, -0.008, 0.02, 0.9)
    assert equal.words() == "0.312 -> 0.298, no difference that these rows could show, ±0.014 (90 %)"


def test_rows_must_be_the_same() -> None:
    with pytest.raises(ValueError, match=r"expected statistics of the same rows, got \(3, 2\) and \(2, 2\)"):
        bootstrap.compare(RIGHT, rows(answers(1, 0.5, 3)), rows(answers(1, 0.5, 2)))
