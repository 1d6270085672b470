"""Subword regularisation: other pieces, the same texts, the same ones for the same seed."""

from __future__ import annotations

import numpy as np
import pytest
import sentencepiece

from components import batches, tokenizer
from components.subword_sampling import SubwordSampling
from models.contract import END, SOURCE_IDS, TARGET_IDS

TEXTS = ["hello yellow fellow", "yellow", "zoë says hello", "fellow hello hello", "ll"] * 7
COUNTS = {"hello": 5, "yellow": 4, "fellow": 3, "says": 2, "low": 2}


def processor_of(kind: str) -> sentencepiece.SentencePieceProcessor:
    model = tokenizer.train(COUNTS, tokenizer.Pieces(kind=kind, vocabulary_size=290))  # type: ignore[arg-type]
    return sentencepiece.SentencePieceProcessor(model_proto=model)


def pool_of(*processors: sentencepiece.SentencePieceProcessor) -> batches.Pool:
    sides = {}
    for name, processor in zip((SOURCE_IDS, TARGET_IDS), processors, strict=True):
        rows = processor.encode(TEXTS, add_eos=True)
        sides[name] = batches.Sequences(np.concatenate(rows).astype(np.int32), np.array([len(row) for row in rows]))
    return sides


def rows(sequences: batches.Sequences) -> list[list[int]]:
    return [row.tolist() for row in np.split(sequences.values, sequences.starts[1:])]


def sampling(strength: float, *processors: sentencepiece.SentencePieceProcessor) -> SubwordSampling:
    return SubwordSampling(tokenizer.Tokenizers(*(p.serialized_model_proto() for p in processors)), strength)


@pytest.mark.parametrize("kind", ["bpe", "unigram"])
def test_other_pieces_of_the_same_texts(kind: str) -> None:
    processor = processor_of(kind)
    pool = pool_of(processor, processor)
    cut_anew = sampling(0.3, processor, processor)
    once, again, other = cut_anew(pool, 7), cut_anew(pool, 7), cut_anew(pool, 2**31 - 1)
    for side in (SOURCE_IDS, TARGET_IDS):
        assert [processor.decode(row) for row in rows(once[side])] == TEXTS
        assert all(row[-1] == END for row in rows(once[side]))
        assert once[side].values.dtype == np.int32
        assert rows(once[side]) == rows(again[side])
        assert rows(once[side]) != rows(other[side]) != rows(pool[side])
    assert rows(once[SOURCE_IDS]) != rows(once[TARGET_IDS])


def test_no_merge_is_skipped_at_strength_zero() -> None:
    processor = processor_of("bpe")
    pool = pool_of(processor, processor)
    assert rows(sampling(0.0, processor, processor)(pool, 1)[SOURCE_IDS]) == rows(pool[SOURCE_IDS])


def test_pieces_that_can_be_cut_in_one_way_stay() -> None:
    letters, subwords = processor_of("char"), processor_of("bpe")
    pool = pool_of(letters, subwords)
    cut = sampling(0.5, letters, subwords)(pool, 1)
    assert cut[SOURCE_IDS] is pool[SOURCE_IDS]
    assert rows(cut[TARGET_IDS]) != rows(pool[TARGET_IDS])
