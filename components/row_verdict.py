"""What the findings of `row_checks.py` come to: a figure a kind and split, held against its limit, and in words.

Check("leakage", "test", rows=3, figure=0.0015, limit=0.0, configured=False)
-> "test: sources that an earlier split has, too: 3 rows, leakage 0.15%, warned of above 0.00%"
"""

from __future__ import annotations

import collections
import dataclasses
import json
import pathlib
import typing
from collections.abc import Iterator, Mapping, Sequence

from components.row_checks import KINDS, WARNED_ABOVE, Config, Counts, Finding, Kind
from components.tokenizer import SIDES
from models.contract import SPLITS

CHECKS_FILE, FINDINGS_FILE = "checks.json", "findings.jsonl"

# How the data may have moved: counts that are compared as distributions.
DISTRIBUTIONS = {
    "lengths": "lengths of sources",
    "ratios": "length ratios",
    **{f"scripts.{side}": f"scripts of {side}s" for side in SIDES},
}
_WORDS: dict[Kind, str] = {
    "length_ratio": "answers much longer or shorter than is typical",
    "duplicate": "the same row more than once",
    "leakage": "sources that an earlier split has, too",
    "unknown": "pieces that the tokeniser does not know",
    "script": "letters of a script that is foreign to the train rows",
}


class RowCheckError(ValueError):
    """Data with more findings than the section `checks` allows."""


@dataclasses.dataclass(frozen=True)
class Check:
    """What one kind of finding comes to in one split.

    Attributes:
        kind: of finding.
        split: where.
        rows: offending rows; of drift: 0.
        figure: see `row_checks.Config.limits`.
        limit: what it should not be above.
        configured: whether the limit stops the run; else it warns.
        about: of drift: what has moved most.
    """

    kind: Kind
    split: str
    rows: int
    figure: float
    limit: float
    configured: bool
    about: str = ""

    @property
    def state(self) -> typing.Literal["fine", "warning", "failed"]:
        """What follows from it."""
        if self.figure <= self.limit:
            return "fine"
        return "failed" if self.configured else "warning"

    def words(self) -> str:
        """One sentence."""
        bar = "at most" if self.configured else "warned of above"
        figure = f"{self.kind} {self.figure:.2%}, {bar} {self.limit:.2%}"
        if self.kind == "drift":
            return f"{self.split}: {self.about or 'nothing'} moved from the data before: {figure}"
        rows = f"{self.rows:,} row{'s' * (self.rows != 1)}"
        return f"{self.split}: {_WORDS[self.kind]}: {rows}, {figure}"


@dataclasses.dataclass(frozen=True)
class Verdict:
    """All checks, and the statistics that later data is held against: checks.json."""

    checks: tuple[Check, ...]
    statistics: dict[str, Counts]  # by split

    def of_state(self, state: str) -> tuple[Check, ...]:
        """The checks that came to this."""
        return tuple(check for check in self.checks if check.state == state)

    def write(self, folder: pathlib.Path) -> None:
        """Write it into the artifact's folder."""
        checks = [dataclasses.asdict(check) for check in self.checks]  # asdict does not know Counters
        document = {"checks": checks, "statistics": self.statistics}
        (folder / CHECKS_FILE).write_text(json.dumps(document, ensure_ascii=False, sort_keys=True))

    @classmethod
    def read(cls, folder: pathlib.Path) -> Verdict:
        """Read it from there."""
        fields = json.loads((folder / CHECKS_FILE).read_text())
        statistics = {split: counts_of(document) for split, document in fields["statistics"].items()}
        return cls(tuple(Check(**check) for check in fields["checks"]), statistics)


def counts_of(document: Mapping[str, Mapping[str, int]]) -> Counts:
    """Counts as JSON holds them."""
    return {name: collections.Counter(counter) for name, counter in document.items()}


def read_findings(folder: pathlib.Path) -> Iterator[Finding]:
    """The rows that are listed, by kind, split, file and line."""
    with (folder / FINDINGS_FILE).open() as lines:
        yield from (Finding(**json.loads(line)) for line in lines)


def judge(
    config: Config,
    statistics: Mapping[str, Counts],
    found: Mapping[tuple[Kind, str], int],
    before: Mapping[str, Counts] | None,
) -> Verdict:
    """Hold the figures against their limits.

    Args:
        config: the section `checks`.
        statistics: counts by split.
        found: offending rows by kind and split.
        before: `Verdict.statistics` of the data before; None where there was none.
    """
    whole = {split: dict(counts) for split, counts in statistics.items()}
    for split, counts in whole.items():
        counts["found"] = collections.Counter({kind: found.get((kind, split), 0) for kind in _WORDS})
    checks = []
    for split in (split for split in SPLITS if split in whole):
        figures = figures_of(whole[split])
        if before and split in before:
            moves = drift(before[split], whole[split])
            about = max(moves, key=lambda name: moves[name])
            checks.append(_check(config, "drift", split, 0, moves[about], about))
        checks += [_check(config, kind, split, whole[split]["found"][kind], figure) for kind, figure in figures.items()]
    checks.sort(key=lambda check: (KINDS.index(check.kind), SPLITS.index(check.split)))
    return Verdict(tuple(checks), whole)


def _check(config: Config, kind: Kind, split: str, rows: int, figure: float, about: str = "") -> Check:
    limit = config.limits.get(kind)
    bar = WARNED_ABOVE[kind] if limit is None else limit
    return Check(kind, split, rows, round(figure, 6), bar, limit is not None, about)


def figures_of(counts: Counts) -> dict[Kind, float]:
    """The share of each kind of finding in a split; of unknown pieces, that of the side with more of them."""
    number = max(counts["rows"][""], 1)
    shares: dict[Kind, float] = {kind: counts["found"][kind] / number for kind in _WORDS}
    shares["unknown"] = max(counts["unknown"][side] / max(counts["pieces"][side], 1) for side in SIDES)
    return shares


def drift(before: Counts, now: Counts) -> dict[str, float]:
    """How far each of the statistics has moved, from 0 to 1.

    Of distributions, the total variation: {"Latn": 9, "Cyrl": 1} and {"Latn": 5, "Cyrl": 5} differ by 0.4.
    """
    moves = {words: _variation(before.get(name, {}), now.get(name, {})) for name, words in DISTRIBUTIONS.items()}
    shares = figures_of(before), figures_of(now)
    return moves | {f"the share of {kind}": abs(shares[1][kind] - shares[0][kind]) for kind in shares[0]}


def _variation(before: Mapping[str, int], now: Mapping[str, int]) -> float:
    totals = max(sum(before.values()), 1), max(sum(now.values()), 1)
    return sum(abs(before.get(x, 0) / totals[0] - now.get(x, 0) / totals[1]) for x in {*before, *now}) / 2


def require(verdict: Verdict, listed: Sequence[Finding], listing: str, shown: int = 3) -> None:
    """Raise if a limit is passed: every such check, with its first rows."""
    lines = []
    for check in verdict.of_state("failed"):
        lines.append(check.words())
        rows = [each for each in listed if (each.kind, each.split) == (check.kind, check.split)]
        lines += [
            f"  {row.file}:{row.line}: {row.field} {row.text!r}: {row.value}, expected {row.limit}"
            for row in rows[:shown]
        ]
    if lines:
        raise RowCheckError(
            "\n  ".join(["the rows do not pass `checks.limits`:", *lines, f"all listed are in {listing}"])
        )
