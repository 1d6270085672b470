"""Attention quality of an exported model: right answers, scored piece by piece, held against gold alignments.

    {"source": "ab", "references": ["B A"], "alignment": "1-0 0-1"}  (no alignment: "" or no such key)
    -> Measured({"alignment_accuracy": 1.0, "alignment_error_rate": 0.0, "attention_entropy": 0.1, ...}, left_out=0)

The first reference is said, not the model's own answer, so that models that answer differently can be compared.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import typing
from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from components import alignment, alignment_quality, asked, attention_signal
from components.attention_signal import Signal
from components.rows import batches
from models.contract import ALIGNMENT, AUDIO, REFERENCES, SOURCE
from serving import signatures
from serving.signatures import Asked

ACCURACY, ERROR_RATE = "alignment_accuracy", "alignment_error_rate"

WITHOUT_GOLD_ROWS = 1000  # enough for the two means that need no gold
BATCH = 64  # the logits of whole answers are large


class Scorer(typing.Protocol):
    """An exported model, here or on a server."""

    def predict(
        self, signature: str, inputs: Mapping[str, Sequence[Asked] | Sequence[int]]
    ) -> Mapping[str, typing.Any]:
        """Run a signature on a batch."""


class Measured(typing.NamedTuple):
    """Metrics by name, and the gold alignments that could not be used."""

    metrics: dict[str, float]
    left_out: int

    def sentences(self) -> tuple[str, ...]:
        """What a reader of the metrics should know: that attention collapsed, that rows are missing, or nothing."""
        left_out = f"gold alignments left out: {self.left_out}, for the pieces do not spell the tokens that they name"
        return attention_signal.collapsed(self.metrics) + ((left_out,) if self.left_out else ())


@dataclasses.dataclass
class _Sums:
    accuracy: np.ndarray  # see alignment_quality.accuracy_counts
    error: np.ndarray  # see alignment_quality.error_counts
    signal: Signal
    left_out: int = 0


def measure(model: Scorer, rows: Sequence[Mapping[str, typing.Any]]) -> Measured:
    """Score the rows that have a gold alignment; where none has, a part of them, for the signal alone.

    Which part does not depend on the order of the rows.

    Of a model without attention (all weights zero): nothing.
    """
    chosen = [row for row in rows if row.get(ALIGNMENT)] or sorted(rows, key=_rank)[:WITHOUT_GOLD_ROWS]
    sums = _Sums(np.zeros(2), np.zeros(4), Signal())
    for row, scored in _scored(model, chosen):
        _add(sums, row, scored)
    signal = sums.signal.metrics()
    if not signal:
        return Measured({}, 0)
    metrics = {}
    if sums.accuracy[1]:
        metrics[ACCURACY] = float(sums.accuracy[0] / sums.accuracy[1])
        metrics[ERROR_RATE] = alignment_quality.error_rate(sums.error)
    return Measured(metrics | signal, sums.left_out)


def _rank(row: Mapping[str, typing.Any]) -> bytes:
    return hashlib.blake2b(json.dumps([row[SOURCE], row[REFERENCES]]).encode(), digest_size=16).digest()


def _scored(
    model: Scorer, rows: Sequence[Mapping[str, typing.Any]]
) -> Iterable[tuple[Mapping[str, typing.Any], alignment.Alignment]]:
    longest = [max(row[SOURCE], row[REFERENCES][0], key=len) for row in rows]
    for numbers in batches(longest, BATCH):
        batch = [rows[number] for number in numbers]
        inputs = {**asked.inputs(batch), signatures.TARGET: [row[REFERENCES][0] for row in batch]}
        yield from zip(batch, alignment.read(model.predict(signatures.SCORE_TARGET, inputs)), strict=True)


def _add(sums: _Sums, row: Mapping[str, typing.Any], scored: alignment.Alignment) -> None:
    if AUDIO in row:
        sums.signal.add(scored.attention)  # a recording has no tokens
        return
    source = alignment_quality.tokens(scored.source_pieces)
    looked = alignment_quality.by_source_token(scored.attention, source)  # [target pieces, source tokens and END]
    sums.signal.add(scored.attention, looked)
    if not row.get(ALIGNMENT):
        return
    target = alignment_quality.tokens(scored.target_pieces)
    weights = alignment_quality.by_target_token(looked, target)
    gold = alignment_quality.parse(row[ALIGNMENT])
    sides = ((row[SOURCE], scored.source_pieces), (row[REFERENCES][0], scored.target_pieces))
    lengths = tuple(alignment_quality.count_tokens(text, pieces) for text, pieces in sides)
    named = tuple(max((link[side] for link in gold.possible), default=-1) for side in (0, 1))
    if lengths != (weights.shape[1] - 1, weights.shape[0]) or named[0] >= lengths[0] or named[1] >= lengths[1]:
        sums.left_out += 1
        return
    linked = alignment_quality.links(weights)
    sums.accuracy += alignment_quality.accuracy_counts(linked, gold)
    sums.error += alignment_quality.error_counts(linked, gold)
