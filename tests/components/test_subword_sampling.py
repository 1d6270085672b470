"""Subword regularisation: other pieces, the same texts, the same ones for the same seed."""

from __future__ import annotations

import numpy as np
import pytest
import sentencepiece

from components import batches, tokenizer
from components.subword_sampling import Config, SubwordSampling
from models.contract import END, SOURCE_IDS, TARGET_IDS

TEXTS = ["hello yellow fellow", "yellow", "zoë says hello", "fellow hello hello", "ll"] * 7
COUNTS = {"hello": 5, "yellow": 4, "fellow": 3, "says": 2, "low": 2}
CONFIGS = {"bpe": Config(bpe_dropout=0.3), "unigram": Config(unigram_alpha=0.3)}


def processor_of(kind: str) -> sentencepiece.SentencePieceProcessor:
    symbols = ("low",) if kind == "bpe" else ()
    model = tokenizer.train(COUNTS, tokenizer.Pieces(kind=kind, vocabulary_size=290, symbols=symbols))  # type: ignore[arg-type]
    return sentencepiece.SentencePieceProcessor(model_proto=model)


def pool_of(*processors: sentencepiece.SentencePieceProcessor) -> batches.Pool:
    sides = {}
    for name, processor in zip((SOURCE_IDS, TARGET_IDS), processors, strict=True):
        rows = processor.encode(TEXTS, add_eos=True)
        sides[name] = batches.Sequences(np.concatenate(rows).astype(np.int32), np.array([len(row) for row in rows]))
    return sides


def rows(sequences: batches.Sequences) -> list[list[int]]:
    return [row.tolist() for row in np.split(sequences.values, sequences.starts[1:])]


def sampling(
    config: Config, kinds: tuple[str, str], *processors: sentencepiece.SentencePieceProcessor
) -> SubwordSampling:
    models = tokenizer.Tokenizers(*(processor.serialized_model_proto() for processor in processors))
    return SubwordSampling(models, dict(zip((SOURCE_IDS, TARGET_IDS), kinds, strict=True)), config)


@pytest.mark.parametrize("kind", ["bpe", "unigram"])
def test_other_pieces_of_the_same_texts(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("components.subword_sampling._AT_ONCE", 11)  # several chunks
    processor = processor_of(kind)
    pool = pool_of(processor, processor)
    cut_anew = sampling(CONFIGS[kind], (kind, kind), processor, processor)
    once, again, other = cut_anew(pool, 7), cut_anew(pool, 7), cut_anew(pool, 2**31 - 1)
    for side in (SOURCE_IDS, TARGET_IDS):
        assert [processor.decode(row) for row in rows(once[side])] == TEXTS
        assert all(row[-1] == END for row in rows(once[side]))
        assert once[side].values.dtype == np.int32
        assert rows(once[side]) == rows(again[side])
        assert rows(once[side]) != rows(other[side]) != rows(pool[side])
    assert rows(once[SOURCE_IDS]) != rows(once[TARGET_IDS])


def test_a_higher_dropout_and_a_smaller_alpha_make_more_pieces() -> None:
    for kind, configs in (
        ("bpe", [Config(bpe_dropout=share) for share in (0.0, 0.1, 0.6)]),
        ("unigram", [Config(unigram_alpha=alpha) for alpha in (None, 0.3, 0.02)]),
    ):
        processor = processor_of(kind)
        pool = pool_of(processor, processor)
        pieces = [
            len(sampling(config, (kind, kind), processor, processor)(pool, 1)[SOURCE_IDS].values) for config in configs
        ]
        assert pieces[0] == len(pool[SOURCE_IDS].values)
        assert pieces[0] < pieces[1] < pieces[2], kind


def test_symbols_stay_whole() -> None:
    processor = processor_of("bpe")
    cut = sampling(Config(bpe_dropout=0.9), ("bpe", "bpe"), processor, processor)(pool_of(processor, processor), 1)
    symbol = processor.piece_to_id("low")
    assert [row.count(symbol) for row in rows(cut[SOURCE_IDS])] == [text.count("low") for text in TEXTS]


def test_pieces_of_other_kinds_stay() -> None:
    letters, subwords = processor_of("char"), processor_of("bpe")
    pool = pool_of(letters, subwords)
    cut = sampling(Config(bpe_dropout=0.5, unigram_alpha=0.1), ("char", "bpe"), letters, subwords)(pool, 1)
    assert cut[SOURCE_IDS] is pool[SOURCE_IDS]
    assert rows(cut[TARGET_IDS]) != rows(pool[TARGET_IDS])
