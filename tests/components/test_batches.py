"""Batches: every row once, right content, within the budget, the same for the same seed."""

from __future__ import annotations

import pathlib
from collections import Counter

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given
from hypothesis import strategies as st

from components import batches, recordings
from models.audio import Audio
from models.contract import AUDIO, DECODER_IDS, FRAMES, PAD, SOURCE_IDS, START, TARGET_IDS

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


FEATURES = Audio(kind="features", depth=5)


def write_recordings(path: pathlib.Path, rows: list[tuple[np.ndarray, list[int]]]) -> str:
    """Frames, float32 [frames, 5], and target ids each."""
    with tf.io.TFRecordWriter(str(path), "GZIP") as writer:
        for frames, target in rows:
            features = {
                AUDIO: tf.train.Feature(bytes_list=tf.train.BytesList(value=[frames.astype("<f4").tobytes()])),
                TARGET_IDS + batches.RAGGED: tf.train.Feature(int64_list=tf.train.Int64List(value=target)),
            }
            writer.write(tf.train.Example(features=tf.train.Features(feature=features)).SerializeToString())
    return str(path)


def spoken(count: int, longest: int = 31) -> list[tuple[np.ndarray, list[int]]]:
    """Recordings that are told apart by their first number."""
    random = np.random.default_rng(7)
    rows = [random.normal(size=(random.integers(1, longest + 1), 5)).astype(np.float32) for _ in range(count)]
    return [(frames, [4 + number % 13] * (1 + number % 3) + [3]) for number, frames in enumerate(rows)]


def test_recordings_are_padded_and_say_where(tmp_path: pathlib.Path) -> None:
    rows = spoken(67)
    file = write_recordings(tmp_path / "rows.gz", rows)
    config = batches.Config(tokens=97, boundaries=(3, 7, 13))
    by_first = {float(frames[0, 0]): (frames, target) for frames, target in rows}
    seen = []
    for batch in batches.evaluation([file], config, FEATURES):
        assert set(batch) == {FRAMES, TARGET_IDS, DECODER_IDS}
        frames = batch[FRAMES]
        assert frames.dtype == np.float32 and frames.shape[2] == 6
        longest = max(frames.shape[1], batch[TARGET_IDS].shape[1])
        assert len(frames) == 1 or len(frames) * longest <= 97
        for row, target in zip(frames, batch[TARGET_IDS], strict=True):
            expected, expected_target = by_first[float(row[0, 0])]
            length = len(expected)
            np.testing.assert_array_equal(row[:length, :5], expected)
            assert not row[length:].any()
            assert row[:, 5].tolist() == [1] * length + [0] * (len(row) - length)
            assert target[target != PAD].tolist() == expected_target
            seen.append(float(row[0, 0]))
    assert sorted(seen) == sorted(by_first)


def test_a_waveform_is_cut_into_hops(tmp_path: pathlib.Path) -> None:
    audio = Audio(sample_rate_hz=1000, hop_ms=7, frame_ms=11, bands=3)
    samples = np.linspace(-0.5, 0.5, 17)
    wav = recordings.wav(samples, 1000)
    example = {
        AUDIO: tf.train.Feature(bytes_list=tf.train.BytesList(value=[wav])),
        TARGET_IDS + batches.RAGGED: tf.train.Feature(int64_list=tf.train.Int64List(value=[5, 3])),
    }
    with tf.io.TFRecordWriter(str(tmp_path / "rows.gz"), "GZIP") as writer:
        writer.write(tf.train.Example(features=tf.train.Features(feature=example)).SerializeToString())
    config = batches.Config(boundaries=(2, 5))
    (batch,) = batches.evaluation([str(tmp_path / "rows.gz")], config, audio)
    frames = batch[FRAMES]
    assert frames.shape == (1, 5, 8)
    np.testing.assert_allclose(frames[0, :3, :7].ravel(), [*samples, 0, 0, 0, 0], atol=2**-15)
    assert frames[0, :, 7].tolist() == [1, 1, 1, 0, 0]


def test_a_pool_of_recordings_is_full_by_its_bytes(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batches, "RECORDINGS_AT_ONCE", 3)
    rows = [(np.full((11, 5), number, np.float32), [5, 3]) for number in range(23)]
    file = write_recordings(tmp_path / "rows.gz", rows)

    def sizes() -> list[int]:
        return [len(pool[TARGET_IDS].lengths) for pool in batches.pools([file], 1000, FEATURES)]

    assert sizes() == [23]
    of_a_row = 11 * 5 * 4
    monkeypatch.setattr(batches, "POOL_BYTES", 5 * of_a_row)
    assert sizes() == [6, 6, 6, 5]  # what was parsed at once is not parted
    assert [len(pool[TARGET_IDS].lengths) for pool in batches.pools([file], 3, FEATURES)] == [3] * 7 + [2]
    found = [batch[FRAMES][:, 0, 0] for batch in batches.evaluation([file], batches.Config(), FEATURES)]
    assert sorted(np.concatenate(found).tolist()) == list(range(23))


def test_recordings_are_shuffled_and_reproducible(tmp_path: pathlib.Path) -> None:
    file = write_recordings(tmp_path / "rows.gz", spoken(131))
    config = batches.Config(tokens=97, boundaries=(7, 13))

    def epoch(seed: int, number: int) -> list[float]:
        found = batches.training([file], config, seed, number, audio=FEATURES)
        return [float(first) for batch in found for first in batch[FRAMES][:, 0, 0]]

    assert epoch(1, 0) == epoch(1, 0)
    assert epoch(1, 0) != epoch(1, 1) and epoch(1, 0) != epoch(2, 0)
    assert sorted(epoch(1, 4)) == sorted(float(frames[0, 0]) for frames, _ in spoken(131))


def test_a_sample_of_recordings_is_spread_over_all(tmp_path: pathlib.Path) -> None:
    rows = [(np.full((1 + number % 3, 5), number, np.float32), [5, 3]) for number in range(101)]
    file = write_recordings(tmp_path / "rows.gz", rows)
    sampled = batches.sample([file], batches.Config(), 11, FEATURES)
    assert sorted(float(first) for batch in sampled for first in batch[FRAMES][:, 0, 0]) == list(range(0, 101, 10))
