"""Metrics of decoded strings, as sums over rows.

Each metric turns one row into a vector of statistics; vectors add up, over rows, shards and machines; the sum becomes
the score. The Evaluator's Beam combiners and `fovea evaluate` add up the same vectors, so their figures agree::

    row        references ("K AE T", "K AH T"), prediction "K AH"
    statistics token_error_rate -> [1 edit, 3 tokens]
    score      1 / 3
"""

from __future__ import annotations

import dataclasses
import functools
import re
import typing
from collections.abc import Callable, Iterable, Sequence

import numpy as np
from rapidfuzz.distance import Levenshtein

Name = typing.Literal[
    "sequence_accuracy",
    "sequence_error_rate",
    "accuracy",  # sequence_accuracy, as answers to questions call it
    "token_error_rate",
    "word_error_rate",
    "character_error_rate",
    "bleu",
    "bleu_zh",  # of Chinese: characters are tokens
    "token_bleu",
    "chrf",
    "ter",
    "rouge_1",
    "rouge_2",
    "rouge_l",
]
NAMES: tuple[str, ...] = typing.get_args(Name)


@dataclasses.dataclass(frozen=True)
class Metric:
    """How one metric counts: `statistics(references, prediction)` -> float64 [k], `score(sum of them)` -> float."""

    higher_is_better: bool
    statistics: Callable[[Sequence[str], str], np.ndarray]
    score: Callable[[np.ndarray], float]


def _ratio(sums: np.ndarray) -> float:
    return float(sums[0] / sums[1]) if sums[1] else float("nan")


def _plain(text: str) -> str:
    """With one space where there are several: an answer is made of pieces, and has never more."""
    return re.sub(" {2,}", " ", text.strip())


def _right(references: Sequence[str], prediction: str) -> bool:
    return _plain(prediction) in map(_plain, references)


def _characters(text: str) -> list[str]:
    return list(_plain(text))


def _edits(split: Callable[[str], list[str]], references: Sequence[str], prediction: str) -> np.ndarray:
    """[edits, length] against the nearest reference; of equally near ones, the longest."""
    hypothesis = split(prediction)
    pairs = [(Levenshtein.distance(reference, hypothesis), -len(reference)) for reference in map(split, references)]
    edits, negative_length = min(pairs)
    return np.array([edits, -negative_length], np.float64)


def _error_rate(split: Callable[[str], list[str]]) -> Metric:
    return Metric(False, functools.partial(_edits, split), _ratio)


@functools.cache
def _sacrebleu(name: str) -> typing.Any:
    import sacrebleu.metrics

    makers: dict[str, Callable[[], typing.Any]] = {
        "bleu": sacrebleu.metrics.BLEU,
        "bleu_zh": functools.partial(sacrebleu.metrics.BLEU, tokenize="zh"),
        "token_bleu": functools.partial(sacrebleu.metrics.BLEU, tokenize="none", force=True),
        "chrf": sacrebleu.metrics.CHRF,
        "ter": sacrebleu.metrics.TER,
    }
    return makers[name]()


def _corpus(name: str, higher_is_better: bool) -> Metric:
    """A metric of sacreBLEU. Its per-row statistics are a private method, so pyproject.toml pins its version."""

    def statistics(references: Sequence[str], prediction: str) -> np.ndarray:
        rows = _sacrebleu(name)._extract_corpus_statistics([prediction], [[reference] for reference in references])
        return np.asarray(rows[0], np.float64)

    def score(sums: np.ndarray) -> float:
        counts = [int(x) for x in sums] if "bleu" in name else list(sums)
        return float(_sacrebleu(name)._compute_score_from_stats(counts).score)

    return Metric(higher_is_better, statistics, score)


SACREBLEU = ("bleu", "bleu_zh", "token_bleu", "chrf", "ter")


def signatures(names: Iterable[str], references: Iterable[Sequence[str]]) -> dict[str, str]:
    """How sacreBLEU computed those of the scores that are its own (Post 2018), for rows with these references.

    ["chrf", "rouge_1"], [["a", "b"]] -> {"chrf": "nrefs:2|case:mixed|eff:yes|nc:6|nw:0|space:no|version:2.6.0"}
    """
    numbers = {len(each) for each in references}
    number: int | str = numbers.pop() if len(numbers) == 1 else "var"
    written = {}
    for name in names:
        if name in SACREBLEU:
            metric = _sacrebleu(name)
            metric.num_refs = number  # as its corpus_score does
            written[name] = str(metric.get_signature())
    return written


ROUGE = {"rouge_1": "rouge1", "rouge_2": "rouge2", "rouge_l": "rougeL"}  # ours -> the library's


@functools.cache
def _rouge_scorer() -> typing.Any:
    from rouge_score import rouge_scorer

    return rouge_scorer.RougeScorer(list(ROUGE.values()), use_stemmer=True)


@functools.lru_cache(maxsize=1024)  # the metrics of one row are asked for one after another
def _rouge(references: tuple[str, ...], prediction: str) -> dict[str, typing.Any]:
    """Scores against the nearest reference: that of the best ROUGE-1, of equals the first, for all three metrics.

    So does SciTLDR's evaluation (Cachola 2020, allenai/scitldr, scripts/cal-rouge.py), and with Porter's stemmer, as
    files2rouge has it by default. The library knows words of ASCII letters and digits only.
    """
    scores = [_rouge_scorer().score(reference, prediction) for reference in references]
    return max(scores, key=lambda score: score["rouge1"].fmeasure)


def _rouge_metric(name: str) -> Metric:
    """The mean F-measure of the rows, a fraction."""

    def statistics(references: Sequence[str], prediction: str) -> np.ndarray:
        return np.array([_rouge(tuple(references), prediction)[ROUGE[name]].fmeasure, 1.0], np.float64)

    return Metric(True, statistics, _ratio)


def find(name: str, token_unit: str = "word") -> Metric:
    """The metric of that name.

    Args:
        name: one of NAMES.
        token_unit: what `token_error_rate` counts, "word" (white-space tokens) or "character".
    """
    if name in ("sequence_accuracy", "accuracy", "sequence_error_rate"):
        wanted = name != "sequence_error_rate"
        return Metric(wanted, lambda refs, text: np.array([_right(refs, text) == wanted, 1.0], np.float64), _ratio)
    if name in ("token_error_rate", "word_error_rate", "character_error_rate"):
        characters = name == "character_error_rate" or (name == "token_error_rate" and token_unit == "character")
        return _error_rate(_characters if characters else str.split)
    if name in ROUGE:
        return _rouge_metric(name)
    if name in SACREBLEU:
        return _corpus(name, higher_is_better=name != "ter")
    raise ValueError(f"metric {name!r} is not known; known are {', '.join(NAMES)}")


class Scorer:
    """Several metrics of the same rows: what each counts, behind each other.

    >>> scorer = Scorer(["token_error_rate", "sequence_accuracy"])
    >>> scorer.scores(scorer.count(["K AE T"], "K AH") + scorer.count(["T IY"], "T IY"))
    {'token_error_rate': 0.4, 'sequence_accuracy': 0.5}
    """

    def __init__(self, names: Iterable[str], token_unit: str = "word") -> None:
        """Args: as for `find`."""
        self._metrics = {name: find(name, token_unit) for name in names}

    def count(self, references: Sequence[str], prediction: str) -> np.ndarray:
        """The statistics of a row: float64 [all of them]."""
        return np.concatenate([metric.statistics(references, prediction) for metric in self._metrics.values()])

    def scores(self, sums: np.ndarray) -> dict[str, float]:
        """Of the sum over rows, by the names of the metrics."""
        parts = np.split(sums, np.cumsum(self._widths)[:-1])
        return {name: metric.score(part) for (name, metric), part in zip(self._metrics.items(), parts, strict=True)}

    @functools.cached_property
    def _widths(self) -> list[int]:
        return [len(metric.statistics([""], "")) for metric in self._metrics.values()]


def evaluate(
    names: Iterable[str], rows: Iterable[tuple[Sequence[str], str]], token_unit: str = "word"
) -> dict[str, float]:
    """Scores of all rows: ((references, prediction), ...) -> {name: score}."""
    scorer = Scorer(names, token_unit)
    return scorer.scores(np.sum([scorer.count(references, prediction) for references, prediction in rows], axis=0))
