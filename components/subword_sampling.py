"""Subword regularisation: rows are cut into pieces anew for every epoch, so a model meets a word in many spellings.

    [▁two ▁bush es </s>] -> [▁two ▁b ush es </s>]   in one epoch,   [▁t wo ▁bush es </s>]   in another

With `bpe` pieces a merge is skipped with the probability `strength` (BPE-dropout: Provilkov 2020), with `unigram` ones
a cut is drawn with its probability to the power of `strength` (Kudo 2018, section 3.2). Other pieces can be cut in one
way only and stay. Validation and serving keep to the one best cut.
"""

from __future__ import annotations

import numpy as np
import sentencepiece

from components.batches import Pool, Sequences
from components.tokenizer import Tokenizers
from models.contract import SOURCE_IDS, TARGET_IDS

_EVERY_CUT = -1  # SentencePiece's nbest_size: draw among all, not among the n best


class SubwordSampling:
    """A pool of rows -> the same texts in other pieces, the same ones for the same seed."""

    def __init__(self, tokenizers: Tokenizers, strength: float) -> None:
        models = {SOURCE_IDS: tokenizers.source_model, TARGET_IDS: tokenizers.target_model}
        processors = {side: sentencepiece.SentencePieceProcessor(model_proto=model) for side, model in models.items()}
        self._strength = strength
        self._processors = {side: processor for side, processor in processors.items() if self._can_sample(processor)}

    def __call__(self, pool: Pool, seed: int) -> Pool:
        """The pool's rows, cut anew; `seed` is below 2**31."""
        sides = enumerate(self._processors.items())
        return pool | {side: self._cut(processor, pool[side], seed + n) for n, (side, processor) in sides}

    def _cut(self, processor: sentencepiece.SentencePieceProcessor, sequences: Sequences, seed: int) -> Sequences:
        sentencepiece.set_random_generator_seed(seed)  # a thread's generator is made with it: see _sample
        rows = np.split(sequences.values, sequences.starts[1:])
        texts = processor.decode([row[:-1].tolist() for row in rows])
        pieces = self._sample(processor, texts)
        return Sequences(np.concatenate(pieces).astype(np.int32), np.array([len(row) for row in pieces]))

    def _sample(self, processor: sentencepiece.SentencePieceProcessor, texts: list[str]) -> list[list[int]]:
        """Texts -> pieces and END, in one new thread: several would take turns as they like, each with a generator."""
        sampled: list[list[int]] = processor.encode(
            texts, add_eos=True, enable_sampling=True, alpha=self._strength, nbest_size=_EVERY_CUT, num_threads=1
        )
        return sampled

    def _can_sample(self, processor: sentencepiece.SentencePieceProcessor) -> bool:
        try:
            self._sample(processor, ["a"])
        except RuntimeError:  # "SampleEncode is not available": a model of kind char or word
            return False
        return True
