"""The section `checks`: what is wrong with rows as sequences, which no schema of single values can say. Pure Python.

    Measured(split="test", file="a.tsv", line=7, source="tea", target="thé", pieces={"source": 3, "target": 3}, ...)
    -> Finding("length_ratio", "test", "a.tsv", 7, "target", 30.0, "at most 9 times the typical 1", "tea")

Rows are measured one by one, and what is measured adds up (`Counts`), over rows, shards and machines;
`row_checks_component.py` does it on Beam.
"""

from __future__ import annotations

import collections
import dataclasses
import functools
import hashlib
import json
import math
import typing
from collections.abc import Iterator, Mapping

import annotated_types

from components import rows
from components.tokenizer import SIDES
from models.contract import SPLITS

Kind = typing.Literal["length_ratio", "duplicate", "leakage", "unknown", "script", "drift"]
KINDS: tuple[Kind, ...] = typing.get_args(Kind)
Share = typing.Annotated[float, annotated_types.Ge(0), annotated_types.Le(1)]

# Where no limit is configured: above this a check warns. Nothing is wrong with a row by itself.
WARNED_ABOVE: dict[Kind, float] = {
    "length_ratio": 0.01, "duplicate": 0.01, "leakage": 0.0, "unknown": 0.01, "script": 0.05, "drift": 0.1,
}  # fmt: skip
_SHOWN = 80  # characters of a text in a list

Counts = dict[str, collections.Counter[str]]  # of a split; {"rows": {"": 7}, "unknown": {"source": 2}, ...}


@dataclasses.dataclass(frozen=True)
class Config:
    """The section `checks`. What it finds is listed and warned of; what has a limit and is above it stops the run.

    Attributes:
        length_ratio: a row is listed that has so many times the typical number of target pieces a source piece, or that
            part of it. Typical is the geometric mean over the train rows. 9 is what Moses' clean-corpus-n.perl takes.
        common_script: a script (Unicode's) with less than this share of a side's letters in the train rows is foreign
            there; a row with any letter of it is listed.
        listed: rows that are listed of each kind and split; all are counted.
        limits: kind of finding -> the most of it that any split may have. A share of the rows for length_ratio,
            duplicate (source and answers are those of another row of the split), leakage (the source is in an earlier
            split, too) and script; of the pieces of a side for unknown; for drift how far lengths, length ratios,
            scripts and all of these shares are from those of the data before (total variation; 1 is all of it).
    """

    __pydantic_config__: typing.ClassVar[dict[str, str]] = {"extra": "forbid"}

    length_ratio: typing.Annotated[float, annotated_types.Gt(1)] = 9.0
    common_script: Share = 0.01
    listed: typing.Annotated[int, annotated_types.Ge(0)] = 100
    limits: dict[Kind, Share] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True)
class Measured:
    """A row, and what the checks need to know of it."""

    split: str
    row: rows.Row
    pieces: dict[str, int]  # by side, without END
    unknown: dict[str, int]
    scripts: dict[str, collections.Counter[str]]  # {"source": {"Latn": 3}, ...}
    source_pieces: collections.Counter[str]

    @property
    def ratio(self) -> float:
        """Target pieces a source piece."""
        return max(self.pieces["target"], 1) / max(self.pieces["source"], 1)

    def counts(self) -> Counts:
        """What this row adds to the counts of its split."""
        counter = collections.Counter[str]
        return {
            "rows": counter({"": 1}),
            "log_ratio": counter({"": math.log(self.ratio)}),
            "lengths": counter([rows.length_bucket(self.pieces["source"])]),
            "ratios": counter([f"2^{round(math.log2(self.ratio))}"]),
            "pieces": counter(self.pieces),
            "unknown": counter(self.unknown),
            **{f"scripts.{side}": self.scripts[side] for side in SIDES},
            # Of the train rows, for who asks how rare a piece is in training; see `components/rarity.py`.
            **({"source_pieces": self.source_pieces} if self.split == SPLITS[0] else {}),
        }


@dataclasses.dataclass(frozen=True)
class Finding:
    """An offending row, a line of findings.jsonl: what it has in which field, and what was expected."""

    kind: Kind
    split: str
    file: str
    line: int
    field: str
    value: float | str
    limit: str
    text: str

    @classmethod
    def of(cls, kind: Kind, split: str, row: rows.Row, field: str, value: float | str, limit: str) -> Finding:
        """A finding about a row."""
        text = row.references[0] if field == "target" else row.source
        clipped = text if len(text) <= _SHOWN else text[: _SHOWN - 1] + "…"
        return cls(kind, split, row.file, row.line, field, value, limit, clipped)

    def to_json(self) -> str:
        """One line of findings.jsonl."""
        return json.dumps(dataclasses.asdict(self), ensure_ascii=False)


@functools.lru_cache(maxsize=65_536)
def _script(character: str) -> str:
    from fontTools import unicodedata

    return unicodedata.script(character)


def scripts(text: str) -> collections.Counter[str]:
    """How many characters of each script there are, by their ISO 15924 codes: "tea чай 7" -> {"Latn": 3, "Cyrl": 3}.

    Digits, punctuation and accents are of no script.
    """
    found: collections.Counter[str] = collections.Counter()
    for character, count in collections.Counter(text).items():
        script = _script(character)
        if script not in ("Zyyy", "Zinh", "Zzzz"):
            found[script] += count
    return found


def add(total: Counts, more: Counts) -> Counts:
    """Add `more` to `total`, which is changed and returned."""
    for name, counter in more.items():
        total.setdefault(name, collections.Counter()).update(counter)
    return total


@dataclasses.dataclass(frozen=True)
class Typical:
    """What the train rows are like, which single rows are held against."""

    ratio: float
    scripts: dict[str, tuple[str, ...]]  # by side, the ones that are at home there

    @classmethod
    def of(cls, train: Counts, config: Config) -> Typical:
        """From the counts of the train split."""
        number = train.get("rows", collections.Counter())[""]
        home = {}
        for side in SIDES:
            letters = train.get(f"scripts.{side}", collections.Counter())
            bar = config.common_script * letters.total()
            home[side] = tuple(sorted(script for script, count in letters.items() if count >= bar))
        return cls(math.exp(train["log_ratio"][""] / number) if number else 1.0, home)


def offences(row: Measured, config: Config, typical: Typical) -> Iterator[Finding]:
    """What is wrong with one row, by itself: at most one finding of a kind."""
    finding = functools.partial(Finding.of, split=row.split, row=row.row)
    times = max(row.ratio / typical.ratio, typical.ratio / row.ratio)
    if times > config.length_ratio:
        limit = f"at most {config.length_ratio:g} times the typical {typical.ratio:.3g}, or that part of it"
        yield finding(kind="length_ratio", field="target", value=round(row.ratio, 3), limit=limit)
    for side in SIDES:
        if row.unknown[side]:
            yield finding(kind="unknown", field=side, value=row.unknown[side], limit="no unknown piece")
            break
    for side in SIDES:
        foreign = sorted(set(row.scripts[side]) - set(typical.scripts[side]))
        if foreign:
            home = ", ".join(typical.scripts[side]) or "none"
            yield finding(kind="script", field=side, value=", ".join(foreign), limit=f"scripts of {home}")
            break


@dataclasses.dataclass(frozen=True)
class Copies:
    """How often something is there in a split, and where first."""

    number: int
    first: rows.Row

    def __add__(self, other: Copies) -> Copies:
        first = min(self.first, other.first, key=lambda row: (row.file, row.line))
        return Copies(self.number + other.number, first)


def identities(row: Measured) -> Iterator[tuple[bytes, dict[str, Copies]]]:
    """What a row may share with others, as digests of fixed size: its source, and the whole of it."""
    clipped = dataclasses.replace(row.row, source=row.row.source[:_SHOWN], references=row.row.references[:0])
    copies = {row.split: Copies(1, clipped)}
    yield _digest(b"source", row.row.source), copies
    yield _digest(b"row", row.split, row.row.source, *row.row.references), copies


def _digest(purpose: bytes, *texts: str) -> bytes:
    return purpose[:1] + hashlib.blake2b(json.dumps(texts).encode(), digest_size=16, person=purpose).digest()


def repeats(identity: bytes, found: Mapping[str, Copies]) -> Iterator[tuple[int, Finding]]:
    """Rows too many, and a finding for them: duplicates in a split, or the same source in an earlier split.

    Args:
        identity: of `identities`.
        found: by split, where it is.
    """
    if identity.startswith(b"r"):
        for split, copies in found.items():
            if copies.number > 1:
                value = f"{copies.number} times"
                yield copies.number - 1, Finding.of("duplicate", split, copies.first, "row", value, "once")
        return
    for number, split in enumerate(SPLITS):
        earlier = next((other for other in SPLITS[:number] if other in found), None)
        if split in found and earlier:
            first = found[earlier].first
            value = f"also in {earlier}, {first.file}:{first.line}"
            finding = Finding.of("leakage", split, found[split].first, "source", value, "in one split")
            yield found[split].number, finding
