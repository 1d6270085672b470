"""Metrics: by hand, against their libraries, and sums that do not care how rows are grouped."""

from __future__ import annotations

import jiwer
import numpy as np
import pytest
import sacrebleu
from hypothesis import given
from hypothesis import strategies as st
from rouge_score import rouge_scorer

from components import metrics

words = st.lists(st.sampled_from(["AE", "K", "T", "AH", "S"]), min_size=1, max_size=7).map(" ".join)
rows = st.lists(st.tuples(st.lists(words, min_size=1, max_size=3), words), min_size=1, max_size=11)


def one(name: str, references: list[str], prediction: str, unit: str = "word") -> float:
    return metrics.evaluate([name], [(references, prediction)], unit)[name]


def test_an_answer_is_right_if_it_is_any_reference() -> None:
    assert one("sequence_error_rate", ["K AE T", "K AH T"], "K AH T") == 0
    assert one("sequence_accuracy", ["K AE T"], "K AE") == 0
    assert one("sequence_error_rate", ["K AE T"], "K AE") == 1
    assert one("accuracy", ["kitchen"], "kitchen") == 1 and one("accuracy", ["kitchen"], "garden") == 0


def test_spaces_that_no_answer_can_have_are_no_errors() -> None:
    for name, best in (("sequence_accuracy", 1), ("sequence_error_rate", 0), ("character_error_rate", 0)):
        assert one(name, ["K  AE T "], "K AE T") == best


@pytest.mark.parametrize(
    ("references", "prediction", "expected"),
    [
        (["K AE T"], "K AE T", 0),
        (["K AE T"], "", 1),
        (["K AE T"], "K AH", 2 / 3),
        (["K AE T", "K AH"], "K AH", 0),
        (["K AE T S", "K AE"], "K AE T", 1 / 4),  # both one edit away: the longer one counts
    ],
)
def test_token_error_rate_by_hand(references: list[str], prediction: str, expected: float) -> None:
    assert one("token_error_rate", references, prediction) == pytest.approx(expected)


def test_token_unit() -> None:
    assert one("token_error_rate", ["kat"], "kut", "character") == pytest.approx(1 / 3)
    assert one("character_error_rate", ["kat"], "kut") == pytest.approx(1 / 3)
    assert one("word_error_rate", ["kat"], "kut") == 1


spoken = st.lists(st.text("abcé'", min_size=1, max_size=7), min_size=1, max_size=5).map(" ".join)


@given(st.lists(st.tuples(spoken, st.one_of(spoken, st.just(""))), min_size=1, max_size=11))
def test_error_rates_of_speech_are_jiwers(pairs: list[tuple[str, str]]) -> None:
    """Edits over all rows by what all references have; a space is a character."""
    references, said = [list(side) for side in zip(*pairs, strict=True)]
    found = metrics.evaluate(
        ["word_error_rate", "character_error_rate"], (([reference], text) for reference, text in pairs), "word"
    )
    assert found["word_error_rate"] == pytest.approx(jiwer.wer(references, said))
    assert found["character_error_rate"] == pytest.approx(jiwer.cer(references, said))


@given(rows)
def test_corpus_metrics_are_sacrebleus(rows: list[tuple[list[str], str]]) -> None:
    predictions = [prediction for _, prediction in rows]
    width = max(len(references) for references, _ in rows)
    streams = [[references[n] if n < len(references) else None for references, _ in rows] for n in range(width)]
    ours = metrics.evaluate(["bleu", "chrf", "ter"], rows)
    assert ours["bleu"] == pytest.approx(sacrebleu.corpus_bleu(predictions, streams).score)
    assert ours["chrf"] == pytest.approx(sacrebleu.corpus_chrf(predictions, streams).score)
    assert ours["ter"] == pytest.approx(sacrebleu.corpus_ter(predictions, streams).score)


@pytest.mark.parametrize(
    ("references", "prediction", "expected"),
    [
        (["cats sleep here"], "a cat sleeps", (2 / 3, 1 / 2, 2 / 3)),  # stemmed: cat sleep here, a cat sleep
        (["we run"], "we run", (1, 1, 1)),
        (["we run"], "", (0, 0, 0)),
        (["we run"], "run we", (1, 0, 1 / 2)),
        (["no", "we run far"], "we run", (4 / 5, 2 / 3, 4 / 5)),  # precision 1, recall 2/3; 1 and 1/2
        # All of the reference that is nearest by ROUGE-1, though the other is nearer by ROUGE-2.
        (["d c b a", "a b e f"], "a b c d", (1, 0, 1 / 4)),
    ],
)
def test_rouge_by_hand(references: list[str], prediction: str, expected: tuple[float, float, float]) -> None:
    for name, value in zip(("rouge_1", "rouge_2", "rouge_l"), expected, strict=True):
        assert one(name, references, prediction) == pytest.approx(value), name


@given(rows)
def test_rouge_is_the_librarys(rows: list[tuple[list[str], str]]) -> None:
    scorer = rouge_scorer.RougeScorer(["rouge1", "rouge2", "rougeL"], use_stemmer=True)
    alone = [(references[:1], prediction) for references, prediction in rows]
    scores = [scorer.score(references[0], prediction) for references, prediction in alone]
    ours = metrics.evaluate(["rouge_1", "rouge_2", "rouge_l"], alone)
    for name, theirs in (("rouge_1", "rouge1"), ("rouge_2", "rouge2"), ("rouge_l", "rougeL")):
        assert ours[name] == pytest.approx(np.mean([score[theirs].fmeasure for score in scores]))
    several = [scorer.score_multi(references, prediction)["rouge1"].fmeasure for references, prediction in rows]
    assert metrics.evaluate(["rouge_1"], rows)["rouge_1"] == pytest.approx(np.mean(several))


@given(rows, st.integers(0, 11))
def test_statistics_add_up_in_any_grouping(rows: list[tuple[list[str], str]], cut: int) -> None:
    for name in metrics.NAMES:
        metric = metrics.find(name)
        statistics = [metric.statistics(references, prediction) for references, prediction in rows]
        whole = np.sum(statistics, axis=0)
        parts = np.sum([np.sum(part, axis=0) for part in (statistics[:cut], statistics[cut:]) if part], axis=0)
        assert metric.score(whole) == pytest.approx(metric.score(parts), nan_ok=True)


def test_an_unknown_metric_is_named() -> None:
    with pytest.raises(ValueError, match="metric 'wer' is not known; known are sequence_accuracy, "):
        metrics.find("wer")


def test_signatures_are_sacrebleus() -> None:
    streams = [["a b", "c d"], ["a c", "d d"]]
    for metric, name in ((sacrebleu.BLEU(), "bleu"), (sacrebleu.CHRF(), "chrf"), (sacrebleu.TER(), "ter")):
        metric.corpus_score(["a b", "c d"], streams)
        two = [("a b", "a c"), ("c d", "d d")]
        assert metrics.signatures([name, "accuracy"], two) == {name: str(metric.get_signature())}
    assert metrics.signatures(["token_bleu"], [["a"], ["a", "b"]])["token_bleu"].startswith("nrefs:var|case:mixed")


def test_bleu_of_chinese_counts_characters() -> None:
    rows = [(["我们试试看吧。"], "我们试试看。")]
    expected = sacrebleu.corpus_bleu(["我们试试看。"], [["我们试试看吧。"]], tokenize="zh").score
    assert metrics.evaluate(["bleu_zh"], rows)["bleu_zh"] == pytest.approx(expected)
