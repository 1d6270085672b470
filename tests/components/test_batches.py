"""Batches: every row once, right content, within the budget, the same for the same seed."""

from __future__ import annotations

import pathlib
from collections import Counter

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given
from hypothesis import strategies as st

from components import batches
from models.contract import DECODER_IDS, PAD, SOURCE_IDS, START, TARGET_IDS

ids = st.lists(st.integers(4, 40), min_size=1, max_size=23)
pairs = st.lists(st.tuples(ids, ids), min_size=1, max_size=61)


def pool_of(rows: list[tuple[list[int], list[int]]]) -> batches.Pool:
    sides = zip(*rows, strict=True)
    return {
        name: batches.Sequences(
            np.array([piece for row in side for piece in row], np.int32), np.array([len(row) for row in side])
        )
        for name, side in zip((SOURCE_IDS, TARGET_IDS), sides, strict=True)
    }


def write(path: pathlib.Path, rows: list[tuple[list[int], list[int]]]) -> str:
    with tf.io.TFRecordWriter(str(path), "GZIP") as writer:
        for source, target in rows:
            features = {
                name + batches.RAGGED: tf.train.Feature(int64_list=tf.train.Int64List(value=value))
                for name, value in ((SOURCE_IDS, source), (TARGET_IDS, target))
            }
            writer.write(tf.train.Example(features=tf.train.Features(feature=features)).SerializeToString())
    return str(path)


def rows_of(batch: batches.Batch) -> list[tuple[tuple[int, ...], tuple[int, ...]]]:
    strip = lambda row: tuple(int(piece) for piece in row if piece != PAD)  # noqa: E731
    return [(strip(s), strip(t)) for s, t in zip(batch[SOURCE_IDS], batch[TARGET_IDS], strict=True)]


@given(rows=pairs, tokens=st.integers(1, 97))
def test_every_row_once_and_within_the_budget(rows: list[tuple[list[int], list[int]]], tokens: int) -> None:
    config = batches.Config(tokens=tokens, boundaries=(3, 7, 13))
    pool = pool_of(rows)
    arranged = batches.arrange(pool, config, np.arange(len(rows)))
    assert sorted(np.concatenate(arranged).tolist()) == list(range(len(rows)))
    for numbers in arranged:
        batch = batches._batch(pool, numbers, config)
        assert Counter(rows_of(batch)) == Counter((tuple(rows[n][0]), tuple(rows[n][1])) for n in numbers)
        longest = max(batch[SOURCE_IDS].shape[1], batch[TARGET_IDS].shape[1])
        assert len(numbers) == 1 or len(numbers) * longest <= tokens


@given(rows=pairs)
def test_sides_are_padded_to_boundaries(rows: list[tuple[list[int], list[int]]]) -> None:
    config = batches.Config(tokens=89, boundaries=(5, 11, 29))
    pool = pool_of(rows)
    for numbers in batches.arrange(pool, config, np.arange(len(rows))):
        batch = batches._batch(pool, numbers, config)
        assert batch[SOURCE_IDS].shape[1] in config.boundaries
        assert batch[TARGET_IDS].shape[1] in config.boundaries


def test_decoder_ids_start_the_target() -> None:
    target = np.array([[5, 3, PAD], [6, 7, 3]])
    assert batches.decoder_ids(target).tolist() == [[START, 5, 3], [START, 6, 7]]


def test_epochs_are_shuffled_and_reproducible(tmp_path: pathlib.Path) -> None:
    random = np.random.default_rng(3)
    rows = [(random.integers(4, 30, random.integers(1, 13)).tolist(), [5, 3]) for _ in range(307)]
    file = write(tmp_path / "rows.gz", rows)
    config = batches.Config(tokens=64, boundaries=(5, 13), pool_rows=100_000)

    def epoch(seed: int, number: int) -> list[tuple[tuple[int, ...], tuple[int, ...]]]:
        return [row for batch in batches.training([file], config, seed, number) for row in rows_of(batch)]

    assert epoch(1, 0) == epoch(1, 0)
    assert epoch(1, 0) != epoch(1, 1)
    assert epoch(1, 0) != epoch(2, 0)
    assert Counter(epoch(1, 4)) == Counter((tuple(source), tuple(target)) for source, target in rows)


def test_a_pool_is_cut_anew_by_the_seed_and_the_epoch(tmp_path: pathlib.Path) -> None:
    file, seeds = write(tmp_path / "rows.gz", [([4, 5, 3], [6, 3])] * 11), []

    def cut_anew(pool: batches.Pool, seed: int) -> batches.Pool:
        seeds.append(seed)
        return pool | {SOURCE_IDS: pool_of([([7, 3], [0])] * 11)[SOURCE_IDS]}

    for epoch in (0, 1, 0):
        cut = [
            row for batch in batches.training([file], batches.Config(), 5, epoch, cut_anew) for row in rows_of(batch)
        ]
        assert cut == [((7, 3), (6, 3))] * 11
    assert seeds[0] == seeds[2] != seeds[1]
    assert all(0 <= seed < 2**31 for seed in seeds)


def test_pools_lose_nothing(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batches, "PARSED_AT_ONCE", 11)
    rows = [([4 + n % 7, 3], [5, 3]) for n in range(101)]
    file = write(tmp_path / "rows.gz", rows)
    pools = list(batches.pools([file], pool_rows=22))
    assert [len(pool[SOURCE_IDS].lengths) for pool in pools] == [22, 22, 22, 22, 13]
    config = batches.Config(tokens=64, pool_rows=22)
    seen = [row for batch in batches.evaluation([file], config) for row in rows_of(batch)]
    assert Counter(seen) == Counter((tuple(source), tuple(target)) for source, target in rows)
    assert next(batches.evaluation([file], config))[DECODER_IDS][0, 0] == START


def test_a_sample_is_spread_over_all_rows(tmp_path: pathlib.Path) -> None:
    rows = [([n + 4] * (n % 5 + 1), [n + 4]) for n in range(101)]
    file = write(tmp_path / "rows.gz", rows)
    sampled = [row for batch in batches.sample([file], batches.Config(tokens=20), 11) for row in rows_of(batch)]
    assert sorted(target[0] - 4 for _, target in sampled) == list(range(0, 101, 10))
    assert len(list(batches.sample([file], batches.Config(tokens=20), 11))) > 1
    every = [row for batch in batches.sample([file], batches.Config(), 500) for row in rows_of(batch)]
    assert sorted(target[0] - 4 for _, target in every) == list(range(101))
