"""Batches for training: rows of similar length together, as many as a token budget allows.

A row ``{"source_ids": [7, 9, 3], "target_ids": [5, 3]}`` becomes a row of a batch, padded with PAD to the lengths of
its buckets::

    {"source_ids": [7, 9, 3, 0], "decoder_ids": [2, 5, 0, 0], "target_ids": [5, 3, 0, 0]}

Of a recording (`audio` is given) the source is frames, padded to the longest row of a batch::

    {"audio": b"RIFF...", "target_ids": [5, 3]}  ->  {"frames": float32 [frames, depth + 1], "decoder_ids": ..., ...}

Rows are handled a pool at a time in NumPy: bucketing single rows in `tf.data` measured 15,000 rows/s on two cores, this
350,000.
"""

from __future__ import annotations

import dataclasses
import functools
import itertools
import typing
from collections.abc import Callable, Iterator, Sequence

import annotated_types
import numpy as np
import tensorflow as tf

from components import recordings
from models.audio import Audio
from models.contract import AUDIO, DECODER_IDS, FRAMES, PAD, SOURCE_IDS, START, TARGET_IDS

Positive = annotated_types.Gt(0)
Lengths = typing.Annotated[tuple[typing.Annotated[int, Positive], ...], annotated_types.MinLen(1)]

PARSED_AT_ONCE = 4096
RECORDINGS_AT_ONCE = 64
POOL_BYTES = 2**30  # of recordings, after which a pool is full, however few rows it has
RAGGED = "$ragged_values"  # what Transform adds to the name of a ragged feature

# {SOURCE_IDS: [rows, source], DECODER_IDS, TARGET_IDS: [rows, target]}, int32; or FRAMES for SOURCE_IDS
Batch = dict[str, np.ndarray]


@dataclasses.dataclass(frozen=True)
class Config:
    """How rows are put together.

    Attributes:
        tokens: budget of a batch: rows times the longer side after padding, at most. A frame of a recording is one.
        boundaries: the lengths, in pieces with END, that sides are padded to. A side that is longer than the last is
            padded to its batch's longest row.
        pool_rows: rows that are in memory at once, shuffled and sorted into batches together.
    """

    __pydantic_config__: typing.ClassVar[dict[str, str]] = {"extra": "forbid"}

    tokens: typing.Annotated[int, Positive] = 2048
    boundaries: Lengths = (6, 8, 10, 12, 14, 16, 20, 24, 32, 48, 64, 96, 128)
    pool_rows: typing.Annotated[int, Positive] = 500_000

    def __post_init__(self) -> None:
        if list(self.boundaries) != sorted(set(self.boundaries)):
            raise ValueError(f"boundaries must rise, got {list(self.boundaries)}")


@dataclasses.dataclass(frozen=True)
class Sequences:
    """Many sequences of different lengths in two flat arrays."""

    values: np.ndarray  # int32 [all pieces]
    lengths: np.ndarray  # int64 [rows]

    @functools.cached_property
    def starts(self) -> np.ndarray:
        return np.cumsum(self.lengths) - self.lengths

    def padded(self, rows: np.ndarray, length: int) -> np.ndarray:
        """The given rows, padded: int32 [len(rows), length]."""
        index, inside = self._places(rows, length)
        return np.where(inside, self.values[index], PAD).astype(np.int32)

    def _places(self, rows: np.ndarray, length: int) -> tuple[np.ndarray, np.ndarray]:
        """Where the values of the rows are, int64 [len(rows), length], and whether there are any, bool."""
        columns = np.arange(length)
        inside = columns < self.lengths[rows, None]
        return np.where(inside, self.starts[rows, None] + columns, 0), inside


class Recordings(Sequences):
    """The same of frames: `values` are float32 [all frames, depth]."""

    def padded(self, rows: np.ndarray, length: int) -> np.ndarray:
        """The given rows, padded, as `models/audio` has frames: float32 [len(rows), length, depth + 1]."""
        index, inside = self._places(rows, length)
        frames = np.where(inside[..., None], self.values[index], np.float32(0))
        return np.concatenate([frames, inside[..., None].astype(np.float32)], axis=-1)


Pool = dict[str, Sequences]  # {SOURCE_IDS or FRAMES, TARGET_IDS}


def training(
    files: Sequence[str],
    config: Config,
    seed: int,
    epoch: int,
    cut_anew: Callable[[Pool, int], Pool] | None = None,
    audio: Audio | None = None,
) -> Iterator[Batch]:
    """Shuffled batches of one epoch: the same for the same seed and epoch, so that a resumed run finds its place.

    `cut_anew`, where it is given, makes other pieces of a pool's texts (`components/subword_sampling.py`) by a seed.
    """
    random = np.random.default_rng((seed, epoch))
    for pool in pools(files, config.pool_rows, audio):
        if cut_anew:
            pool = cut_anew(pool, int(random.integers(2**31)))
        batches = arrange(pool, config, random.permutation(_rows(pool)))
        for index in random.permutation(len(batches)):
            yield _batch(pool, batches[index], config)
        del pool  # before the next one is read


def evaluation(files: Sequence[str], config: Config, audio: Audio | None = None) -> Iterator[Batch]:
    """Batches of all rows, each once, unshuffled."""
    for pool in pools(files, config.pool_rows, audio):
        for rows in arrange(pool, config, np.arange(_rows(pool))):
            yield _batch(pool, rows, config)
        del pool


def sample(files: Sequence[str], config: Config, rows: int, audio: Audio | None = None) -> Iterator[Batch]:
    """Batches of so many rows (all, where there are fewer), evenly spread over those of the first pool."""
    for pool in itertools.islice(pools(files, config.pool_rows, audio), 1):
        chosen = np.unique(np.linspace(0, _rows(pool) - 1, rows).astype(np.int64))
        for numbers in arrange(pool, config, chosen):
            yield _batch(pool, numbers, config)


def pools(files: Sequence[str], pool_rows: int, audio: Audio | None = None) -> Iterator[Pool]:
    """Read transformed rows of gzipped TFRecord files, in order, up to `pool_rows` (rounded up) at a time."""
    names = (TARGET_IDS,) if audio else (SOURCE_IDS, TARGET_IDS)
    spec: dict[str, typing.Any] = {name: tf.io.RaggedFeature(tf.int64, value_key=name + RAGGED) for name in names}
    if audio:
        spec[AUDIO] = tf.io.FixedLenFeature([], tf.string)
    at_once = RECORDINGS_AT_ONCE if audio else PARSED_AT_ONCE
    records = tf.data.TFRecordDataset(sorted(files), compression_type="GZIP").batch(at_once)
    parts: list[Pool] = []
    for serialized in records:
        parts.append(_part(tf.io.parse_example(serialized, spec), audio))
        held = sum(part[FRAMES].values.nbytes for part in parts) if audio else 0
        if len(parts) * at_once >= pool_rows or held >= POOL_BYTES:
            pool, parts = _joined(parts), []
            yield pool
            del pool  # one at a time, which may be a gigabyte
    if parts:
        yield _joined(parts)


def _part(parsed: dict[str, typing.Any], audio: Audio | None) -> Pool:
    """What was parsed at once, in flat arrays."""
    part: Pool = {}
    if audio:
        frames = [recordings.from_canonical(content, audio) for content in parsed.pop(AUDIO).numpy()]
        part[FRAMES] = Recordings(np.concatenate(frames), np.array([len(each) for each in frames]))
    for name, ids in parsed.items():
        part[name] = Sequences(ids.values.numpy().astype(np.int32), ids.row_lengths().numpy())
    return part


def _joined(parts: list[Pool]) -> Pool:
    def together(name: str, field: str) -> np.ndarray:
        return np.concatenate([getattr(part[name], field) for part in parts])

    return {name: type(first)(together(name, "values"), together(name, "lengths")) for name, first in parts[0].items()}


def _rows(pool: Pool) -> int:
    return len(pool[TARGET_IDS].lengths)


def _source(pool: Pool) -> str:
    """What its source is called."""
    return FRAMES if FRAMES in pool else SOURCE_IDS


def arrange(pool: Pool, config: Config, order: np.ndarray) -> list[np.ndarray]:
    """Cut the rows, taken in `order`, into batches: row numbers, of similar length, within the token budget."""
    source, target = (_bucket_lengths(pool[name].lengths[order], config) for name in (_source(pool), TARGET_IDS))
    longer = np.maximum(source, target)
    by_length = np.lexsort((target, source, longer))  # stable: rows of the same buckets stay in `order`
    order, longer = order[by_length], longer[by_length]
    batches, first = [], 0
    while first < len(order):
        fitting = max(1, config.tokens // int(longer[first]))
        last = min(first + fitting, len(order))
        last = first + max(1, min(last - first, config.tokens // int(longer[last - 1])))
        batches.append(order[first:last])
        first = last
    return batches


def _bucket_lengths(lengths: np.ndarray, config: Config) -> np.ndarray:
    """The length that each sequence is padded to, as far as buckets say: its boundary, or its own length."""
    boundaries = np.asarray(config.boundaries)
    bucket = np.searchsorted(boundaries, lengths)
    return np.where(bucket < len(boundaries), boundaries[np.minimum(bucket, len(boundaries) - 1)], lengths)


def _batch(pool: Pool, rows: np.ndarray, config: Config) -> Batch:
    ids = {}
    for name in (_source(pool), TARGET_IDS):
        length = _bucket_lengths(pool[name].lengths[rows], config).max()
        ids[name] = pool[name].padded(rows, int(length))
    return ids | {DECODER_IDS: decoder_ids(ids[TARGET_IDS])}


def decoder_ids(target_ids: np.ndarray) -> np.ndarray:
    """The decoder's input: START, then the target without its last column. int32 [rows, target] -> the same shape.

    >>> decoder_ids(np.array([[5, 3, 0]]))
    array([[2, 5, 3]])
    """
    return np.concatenate([np.full_like(target_ids[:, :1], START), target_ids[:, :-1]], axis=1)
