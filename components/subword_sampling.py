"""Subword regularisation: rows are cut into pieces anew for every epoch, so a model meets a word in many spellings.

    [▁two ▁bush es </s>] -> [▁two ▁b ush es </s>]   in one epoch,   [▁t wo ▁bush es </s>]   in another

With `bpe` pieces a merge is left out now and then (BPE-dropout: Provilkov 2020; in SentencePiece a pair that was left
out stays apart unless a merge beside it brings it back). With `unigram` pieces a cut is drawn by its probability (Kudo
2018, section 3.3). Other pieces can be cut in one way only. Validation and serving keep to the one best cut.
"""

from __future__ import annotations

import dataclasses
from typing import Annotated, ClassVar

import annotated_types
import numpy as np
import sentencepiece

from components.batches import Pool, Sequences
from components.tokenizer import Tokenizers
from models.contract import SOURCE_IDS, TARGET_IDS

_EVERY_CUT = -1  # SentencePiece's nbest_size: draw among all, not among the n best
_AT_ONCE = 50_000  # rows that are lists of Python's numbers at once


@dataclasses.dataclass(frozen=True)
class Config:
    """How wildly to cut; each is for the sides that have such pieces.

    Attributes:
        bpe_dropout: the probability that a merge is left out: 0.1 is usual, 0 is the one best cut.
        unigram_alpha: the exponent of a cut's probability: the smaller the wilder, 0.1 to 0.5 are usual; None is the
            one best cut.
    """

    __pydantic_config__: ClassVar[dict[str, str]] = {"extra": "forbid"}

    bpe_dropout: Annotated[float, annotated_types.Ge(0), annotated_types.Lt(1)] = 0.0
    unigram_alpha: Annotated[float, annotated_types.Gt(0), annotated_types.Le(1)] | None = None

    def strengths(self) -> dict[str, float]:
        """By the kinds of pieces that are cut anew: {"bpe": 0.1}."""
        strengths = {"bpe": self.bpe_dropout or None, "unigram": self.unigram_alpha}
        return {kind: strength for kind, strength in strengths.items() if strength is not None}


class SubwordSampling:
    """A pool of rows -> the same texts in other pieces, the same ones for the same seed."""

    def __init__(self, tokenizers: Tokenizers, kinds: dict[str, str], config: Config) -> None:
        """`kinds` are those of the pieces: {SOURCE_IDS: "bpe", TARGET_IDS: "char"}."""
        models = {SOURCE_IDS: tokenizers.source_model, TARGET_IDS: tokenizers.target_model}
        strengths = config.strengths()
        self._sides = {
            side: (sentencepiece.SentencePieceProcessor(model_proto=models[side]), strengths[kind])
            for side, kind in kinds.items()
            if kind in strengths and models[side]
        }

    def __call__(self, pool: Pool, seed: int) -> Pool:
        """The pool's rows, cut anew; `seed` is below 2**31."""
        seeds = np.random.default_rng(seed)
        return pool | {side: _cut(*how, pool[side], seeds) for side, how in self._sides.items()}


def _cut(
    processor: sentencepiece.SentencePieceProcessor, strength: float, sequences: Sequences, seeds: np.random.Generator
) -> Sequences:
    rows = np.split(sequences.values, sequences.starts[1:])
    values, lengths = [], []
    for first in range(0, len(rows), _AT_ONCE):
        # In one new thread, whose generator is made with the seed: several would take turns as they like.
        sentencepiece.set_random_generator_seed(int(seeds.integers(2**31)))
        pieces = processor.encode(
            processor.decode([row[:-1].tolist() for row in rows[first : first + _AT_ONCE]]),
            add_eos=True,
            enable_sampling=True,
            alpha=strength,
            nbest_size=_EVERY_CUT,
            num_threads=1,
        )
        values.append(np.concatenate(pieces).astype(np.int32))
        lengths.append(np.array([len(row) for row in pieces]))
    return Sequences(np.concatenate(values), np.concatenate(lengths))
