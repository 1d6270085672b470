"""Transformed rows to measure an epoch on: files that are there, a pair of texts, or sentences made up.

The sentences "two men ." and "zwei männer ." become {"source_ids": [15, 97, 4, 3], "target_ids": [11, 60, 4, 3]}.
"""

from __future__ import annotations

import collections
import gzip
import pathlib
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

import numpy as np
import sentencepiece
import tensorflow as tf

from components import batches, tokenizer
from components.rows import words
from models.contract import END, SOURCE_IDS, TARGET_IDS

Row = tuple[Sequence[int], Sequence[int]]  # source ids, target ids, each with END

# Multi30k's training rows, English and German, in 8,000 BPE pieces with END: means 15.1 and 15.5, of 100 sources the
# first, the 25th, the 50th, the 75th and the 99th 8, 12, 15, 18 and 30 long, and lengths that go together (0.86).
ROWS = 29_000
MEDIAN_LENGTH = 14.5
SPREAD = 0.28  # of the logarithm of the source's length
RATIO, RATIO_SPREAD = 1.02, 0.16  # of target to source
VOCABULARY = 8_000


class Rows(NamedTuple):
    """Gzipped TFRecord files of transformed rows, and how many pieces there are."""

    files: list[str]
    source_vocabulary: int
    target_vocabulary: int


def transformed(files: Sequence[str]) -> Rows:
    """Files as the pipeline's Transform wrote them; a vocabulary ends at the last piece that occurs."""
    pools = list(batches.pools(files, batches.Config().pool_rows))
    source, target = (1 + max(int(pool[side].values.max()) for pool in pools) for side in (SOURCE_IDS, TARGET_IDS))
    return Rows(list(files), source, target)


def tokenised(source: pathlib.Path, target: pathlib.Path, pieces: tokenizer.Pieces, folder: pathlib.Path) -> Rows:
    """Two texts with a sentence a line, gzipped or not."""
    texts = [_lines(source), _lines(target)]
    if len(texts[0]) != len(texts[1]):
        raise ValueError(f"{source} has {len(texts[0])} lines and {target} {len(texts[1])}: expected as many")
    sides = []
    for lines in texts:
        counts = collections.Counter(word for line in lines for word in words(line))
        sides.append(sentencepiece.SentencePieceProcessor(model_proto=tokenizer.train(counts, pieces)))
    ids = ([[*piece_ids, END] for piece_ids in side.encode(lines)] for side, lines in zip(sides, texts, strict=True))
    rows = zip(*ids, strict=True)
    return Rows([_write(rows, folder)], *(side.vocab_size() for side in sides))


def made_up(rows: int, folder: pathlib.Path) -> Rows:
    """Pieces at random, with the lengths of Multi30k's sentences."""
    return Rows([_write(_random_rows(rows), folder)], VOCABULARY, VOCABULARY)


def _random_rows(rows: int) -> Iterator[Row]:
    random = np.random.default_rng(1)
    for _ in range(rows):
        length = MEDIAN_LENGTH * np.exp(SPREAD * random.standard_normal())
        lengths = length, length * RATIO * np.exp(RATIO_SPREAD * random.standard_normal())
        source, target = ([*random.integers(END + 1, VOCABULARY, max(1, round(n) - 1)), END] for n in lengths)
        yield source, target


def _lines(path: pathlib.Path) -> list[str]:
    opened = gzip.open if path.suffix == ".gz" else open
    with opened(path, "rt", encoding="utf-8") as file:
        return file.read().splitlines()


def _write(rows: Iterable[Row], folder: pathlib.Path) -> str:
    path = str(folder / "rows.gz")
    with tf.io.TFRecordWriter(path, tf.io.TFRecordOptions(compression_type="GZIP")) as writer:
        for row in rows:
            example = tf.train.Example()
            for side, ids in zip((SOURCE_IDS, TARGET_IDS), row, strict=True):
                example.features.feature[side + batches.RAGGED].int64_list.value.extend(int(piece) for piece in ids)
            writer.write(example.SerializeToString())
    return path
