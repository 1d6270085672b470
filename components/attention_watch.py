"""Attention of fixed validation rows through the epochs: numbers for MLflow, alignments for people.

After each epoch the same rows are said piece by piece. The numbers (`attention_signal.py`) join the learning curves;
the alignments of a few rows are a line of attention.jsonl::

    {"epoch": 3, "step": 480, "metrics": {"attention_entropy": 0.8, ...},
     "rows": [{"source_pieces": ["c", "a", "t", "</s>"], "target_pieces": [...], "attention": [[0.9, 0.1, ...], ...]}]}
"""

from __future__ import annotations

import dataclasses
import json
import pathlib
from collections.abc import Callable, Iterator, Sequence

import numpy as np
import sentencepiece
import tensorflow as tf

from components import batches
from components.attention_signal import Signal
from components.tokenizer import Tokenizers
from models.contract import PAD, SOURCE_IDS, TARGET_IDS, Seq2Seq
from models.forced import force

WATCH_FILE = "attention.jsonl"
ROWS = 64  # of validation, for the numbers
PICTURED, LONGEST = 4, 40  # rows that are kept as they are, and the most pieces that a side of them has

Log = Callable[[int, dict[str, float]], None]  # (step, metrics)


@dataclasses.dataclass(frozen=True)
class Epoch:
    """A line of attention.jsonl; `rows` are {"source_pieces", "target_pieces", "attention" [target][source]}."""

    epoch: int
    step: int
    metrics: dict[str, float]
    rows: list[dict[str, list]]


class AttentionWatch:
    """A Watcher of `components.training`.

    Of a Transformer that chooses its alignment layer after training, this is the layer that it began with.
    """

    def __init__(self, rows: Sequence[batches.Batch], tokenizers: Tokenizers, path: pathlib.Path, log: Log) -> None:
        """Args:
        rows: what is watched, the same in every epoch.
        tokenizers: name the pieces.
        path: attention.jsonl. A training that goes on after a kill finds its earlier epochs there.
        log: gets the numbers.
        """
        self._rows, self._path, self._log = rows, path, log
        models = (tokenizers.source_model, tokenizers.target_model)
        self._names = [sentencepiece.SentencePieceProcessor(model_proto=model) for model in models]

    def __call__(self, model: Seq2Seq, epoch: int, step: int) -> None:
        """Look at the weights that the model has now."""
        signal, pictured = Signal(), []
        for batch in self._rows:
            source_ids, target_ids = batch[SOURCE_IDS], batch[TARGET_IDS]
            attention = force(model, tf.constant(source_ids), tf.constant(target_ids)).attention.numpy()
            for source, target, weights in zip(source_ids, target_ids, attention, strict=True):
                lengths = (target != PAD).sum(), (source != PAD).sum()
                weights = weights[: lengths[0], : lengths[1]]
                signal.add(weights)
                if max(lengths) <= LONGEST:
                    pictured.append((source, target, weights))
        metrics = signal.metrics()
        if not metrics:
            return
        self._log(step, metrics)
        chosen = np.unique(np.linspace(0, max(len(pictured) - 1, 0), PICTURED).astype(int)) if pictured else []
        now = Epoch(epoch, step, metrics, [self._row(*pictured[number]) for number in chosen])
        with self._path.open("a") as file:
            file.write(json.dumps(dataclasses.asdict(now), ensure_ascii=False) + "\n")

    def _row(self, source: np.ndarray, target: np.ndarray, weights: np.ndarray) -> dict[str, list]:
        pieces = [
            names.id_to_piece(ids[ids != PAD].tolist())
            for names, ids in zip(self._names, (source, target), strict=True)
        ]
        return {
            "source_pieces": pieces[0], "target_pieces": pieces[1],
            "attention": np.round(weights.astype(float), 3).tolist(),
        }  # fmt: skip


def read(path: pathlib.Path) -> list[Epoch]:
    """The epochs, in order; of one that was trained again after a kill, the last. [] for a model without attention."""

    def lines() -> Iterator[Epoch]:
        with path.open() as file:
            yield from (Epoch(**json.loads(line)) for line in file)

    if not path.exists():
        return []
    by_number = {epoch.epoch: epoch for epoch in lines()}
    return [by_number[number] for number in sorted(by_number)]
