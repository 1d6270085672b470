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
from models.audio import Audio
from models.contract import PAD, SOURCE_IDS, TARGET_IDS, Seq2Seq
from models.forced import force

WATCH_FILE = "attention.jsonl"
ROWS = 64  # of validation, for the numbers
PICTURED = 4  # rows that are kept as they are
LONGEST = {True: 40, False: 150}  # the most pieces of a text, and positions of a recording, that they have

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

    def __init__(
        self,
        rows: Sequence[batches.Batch],
        tokenizers: Tokenizers,
        path: pathlib.Path,
        log: Log,
        audio: Audio | None = None,
    ) -> None:
        """Args:
        rows: what is watched, the same in every epoch.
        tokenizers: name the pieces.
        path: attention.jsonl. A training that goes on after a kill finds its earlier epochs there.
        log: gets the numbers.
        audio: of recordings, whose positions are named by their seconds.
        """
        self._rows, self._path, self._log, self._audio = rows, path, log, audio
        models = {SOURCE_IDS: tokenizers.source_model, TARGET_IDS: tokenizers.target_model}
        self._names = {
            side: sentencepiece.SentencePieceProcessor(model_proto=model) for side, model in models.items() if model
        }

    def __call__(self, model: Seq2Seq, epoch: int, step: int) -> None:
        """Look at the weights that the model has now."""
        signal, pictured = Signal(), []
        for batch in self._rows:
            source, target_ids = tf.constant(batch[model.source.name]), batch[TARGET_IDS]
            attention = force(model, source, tf.constant(target_ids)).attention.numpy()
            positions = model.source_mask(source).numpy().sum(axis=1)
            for number, (target, weights) in enumerate(zip(target_ids, attention, strict=True)):
                lengths = (target != PAD).sum(), positions[number]
                weights = weights[: lengths[0], : lengths[1]]
                signal.add(weights)
                if max(lengths) <= LONGEST[self._audio is None]:
                    pictured.append((self._positions(model, batch, number, weights.shape[1]), target, weights))
        metrics = signal.metrics()
        if not metrics:
            return
        self._log(step, metrics)
        chosen = np.unique(np.linspace(0, max(len(pictured) - 1, 0), PICTURED).astype(int)) if pictured else []
        now = Epoch(epoch, step, metrics, [self._row(*pictured[number]) for number in chosen])
        before = self._path.read_text(encoding="utf-8") if self._path.exists() else ""
        new = self._path.with_suffix(".new")  # a kill leaves half a line in it, and none in the other
        new.write_text(f"{before}{json.dumps(dataclasses.asdict(now), ensure_ascii=False)}\n", encoding="utf-8")
        new.replace(self._path)

    def _positions(self, model: Seq2Seq, batch: batches.Batch, number: int, count: int) -> list[str]:
        """What a row's attention may look at, for people: its pieces, or when each position begins."""
        if not self._audio:
            ids = batch[SOURCE_IDS][number]
            return self._names[SOURCE_IDS].id_to_piece(ids[ids != PAD].tolist())
        seconds = model.frames_per_position * self._audio.hop_ms / 1000
        return [f"{position * seconds:.2f}" for position in range(count)]

    def _row(self, source: list[str], target: np.ndarray, weights: np.ndarray) -> dict[str, list]:
        pieces = self._names[TARGET_IDS].id_to_piece(target[target != PAD].tolist())
        return {
            "source_pieces": source, "target_pieces": pieces,
            "attention": np.round(weights.astype(float), 3).tolist(),
        }  # fmt: skip


def read(path: pathlib.Path) -> list[Epoch]:
    """The epochs, in order; of one that was trained again after a kill, the last. [] for a model without attention."""

    def lines() -> Iterator[Epoch]:
        with path.open(encoding="utf-8") as file:
            yield from (Epoch(**json.loads(line)) for line in file)

    if not path.exists():
        return []
    by_number = {epoch.epoch: epoch for epoch in lines()}
    return [by_number[number] for number in sorted(by_number)]
