"""The section `data`: rows of a source, checked and split. `example_gen_component.py` runs this on Beam.

Config({"name": "parallel_text", "path": "a.tsv"}), its line 7 "tea<TAB>thé" -> Row("tea", ("thé",), "a.tsv", 7)
"""

from __future__ import annotations

import dataclasses
import heapq
from collections.abc import Iterable, Iterator, Mapping
from typing import Annotated, Any, ClassVar, cast

import annotated_types

from components import recordings, rows, settings, sources
from models.audio import Audio
from models.contract import SPLITS

REJECTED = "rejected"
GOOD = "good"  # rows that passed every check, before a subset is taken and recordings are read
UNHEARD = "unheard"  # rows that were rejected for their recording, which only those of the subset are
RESAMPLED = "resampled"  # rows with a recording of another rate
_SHOWN = 10  # rejected rows that an error shows


class DataError(ValueError):
    """Data that no model should be trained on: too much of it is broken, or a split is empty."""


@dataclasses.dataclass(frozen=True)
class Fractions:
    """How much of the rows each split gets, where the data does not come with splits."""

    __pydantic_config__: ClassVar[dict[str, str]] = {"extra": "forbid"}

    train: Annotated[float, annotated_types.Gt(0)] = 0.8
    validation: Annotated[float, annotated_types.Gt(0)] = 0.1
    test: Annotated[float, annotated_types.Gt(0)] = 0.1

    def __post_init__(self) -> None:
        """Fractions are of the whole."""
        total = self.train + self.validation + self.test
        if abs(total - 1) > 1e-6:
            raise ValueError(f"train + validation + test is {total:g}, expected 1")


@dataclasses.dataclass(frozen=True)
class Config:
    """The section `data`."""

    __pydantic_config__: ClassVar[dict[str, str]] = {"extra": "forbid"}

    source: dict[str, Any]  # {"name": "parallel_text", **options of that source}
    splits: Fractions = Fractions()
    max_train_rows: Annotated[int, annotated_types.Gt(0)] | None = None  # a subset of the train rows: others stay
    # A subset of so many good rows, always the same; fewer are left where recordings of theirs cannot be used.
    max_rows: Annotated[int, annotated_types.Gt(0)] | None = None
    max_length: Annotated[int, annotated_types.Gt(0)] = 1000  # characters of a text
    # Of the rows; where more are rejected, the run ends.
    max_rejected_fraction: Annotated[float, annotated_types.Ge(0), annotated_types.Le(1)] = 0.01


def open_source(config: Config) -> tuple[sources.Source, Any]:
    """The module of the configured source, and its options."""
    name = config.source.get("name")
    if not isinstance(name, str):
        raise sources.SourceError(f"source.name: {name!r}, expected one of {', '.join(sources.names())}")
    source = sources.load(name)
    return source, settings.from_json(source.Config, settings.options(config.source))


def find_inputs(config: Config) -> tuple[sources.Input, ...]:
    """What there is to read. Splits are given for all of it or for none of it; validation may be cut from train."""
    source, options = open_source(config)
    found = source.inputs(options)
    given = {item.split for item in found}
    if given not in ({None}, {"train", "test"}, set(SPLITS)):
        have = ", ".join(sorted(str(split) for split in given))
        raise sources.SourceError(
            f"given splits must be all of {', '.join(SPLITS)}, or train and test, or none; there are: {have}"
        )
    return found


def require_audio(config: Config, audio: Audio | None) -> None:
    """Recordings need the section `audio`, and nothing else does."""
    name = config.source["name"]
    if sources.is_recorded(open_source(config)[0]):
        if audio is None:
            raise sources.SourceError(f"the source {name!r} reads recordings: write `audio: {{}}` for what they are")
    elif audio is not None:
        recorded = ", ".join(other for other in sources.names() if sources.is_recorded(sources.load(other)))
        raise sources.SourceError(
            f"the source {name!r} reads texts: remove `audio`, or choose a source of recordings: {recorded}"
        )


class Recorder:
    """Gives a row its recording, read from its files or made up by its source: a row that is ready to be written."""

    def __init__(self, config: Config, audio: Audio) -> None:
        self._source, self._options = open_source(config)
        self._audio = audio

    def __call__(self, row: rows.Row) -> rows.Row | rows.Rejected:
        """The row with its recording, or why it cannot have one."""
        if not row.recordings:
            row = dataclasses.replace(row, audio=cast(Any, self._source).record(self._options, row))
        return recordings.attach(row, self._audio)


class Splitter:
    """The split of a row: the given one, or by a digest; where no validation is given, a part of train.

    The digest is that of the source; of a recording it is that of the speaker, who is not to be in two splits.
    With Fractions(train=0.8, validation=0.1, test=0.1) and only train and test given, a ninth of train is validation.
    """

    def __init__(self, config: Config) -> None:
        self._fractions = dataclasses.asdict(config.splits)
        self._cut = {item.split for item in find_inputs(config)} == {"train", "test"}
        of_train = config.splits.train + config.splits.validation
        self._of_train = {name: self._fractions[name] / of_train for name in ("train", "validation")}

    def __call__(self, row: rows.Row) -> str:
        """One of SPLITS."""
        key = row.speaker or row.source
        if row.split == "train" and self._cut:
            return rows.split_of(key, self._of_train)
        return row.split or rows.split_of(key, self._fractions)


def read_rows(config: Config, item: sources.Input) -> Iterator[rows.Row | rows.Rejected]:
    """The checked rows of one input. An input that cannot be read at all is one rejected row, at line 0."""
    source, options = open_source(config)
    try:
        for row in source.read(options, item):
            yield row if isinstance(row, rows.Rejected) else rows.check(row, max_length=config.max_length)
    except sources.SourceError as error:
        yield rows.Rejected(item.name, 0, str(error), "")


def require_sound(counts: Mapping[str, int], rejected: Iterable[rows.Rejected], limit: float) -> None:
    """Raise on data that is too broken.

    counts: {"train": 80, "validation": 10, "test": 10, "good": 200, "rejected": 1} where a subset of 100 was taken. Of
    recordings {"train": 79, ..., "rejected": 2, "unheard": 1}: of the subset alone is known how it sounds, and it is
    held against the limit alone.
    """
    first = heapq.nsmallest(_SHOWN, rejected, key=lambda row: (row.line != 0, row.file, row.line))
    for row in first:
        if row.line == 0:
            raise DataError(row.reason)
    written, unheard = sum(counts[split] for split in SPLITS), counts.get(UNHEARD, 0)
    shown = "".join(f"\n  {row.file}:{row.line}: {row.reason}" for row in first)
    for what, bad, good in (("rows", counts[REJECTED] - unheard, counts[GOOD]), ("recordings", unheard, written)):
        total = bad + good
        if good == 0:
            raise DataError(f"no good row: {total} {what} were read, all of them rejected{shown}")
        if bad > limit * total:
            share = f"{bad} of {total} {what} rejected ({bad / total:.1%})"
            raise DataError(f"{share}, max_rejected_fraction is {limit}{shown}")
    empty = [split for split in SPLITS if not counts[split]]
    if empty:
        have = ", ".join(f"{split} {counts[split]}" for split in SPLITS)
        raise DataError(f"no row in {' and '.join(empty)} ({have}): more rows or other `splits` are needed")
