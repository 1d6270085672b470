"""The tables of the page: figures as people read them, slices, the worst rows, and what changed.

{"source": "keep", "references": ["K IY P"], "prediction": "K IH P"}
-> Wrong(source="keep", origin="", reference="K IY P", said=[("K", True), ("IH", False), ("P", True)], errors=1)
"""

from __future__ import annotations

import difflib
import math
import typing
from collections.abc import Mapping, Sequence

from rapidfuzz.distance import Levenshtein

from components import alignment, alignment_quality, metrics
from components.evaluator import CHAMPION, Verdict

CLIPPED = 300  # characters of a text


def label(piece: str) -> str:
    """A piece as people read it: "▁AH" -> "AH", "</s>" -> "END"."""
    return "END" if piece == alignment_quality.END_PIECE else alignment.label(piece)


def figure(value: float, name: str) -> str:
    """Rates are fractions, shown in percent, ROUGE too; scores go from 0 to 100 as they are."""
    if not math.isfinite(value):
        return "–"
    is_fraction = name.endswith(("_rate", "accuracy")) or "rouge_" in name
    return f"{value:.2%}" if is_fraction else f"{value:.2f}"


def words(name: str) -> str:
    """attention_entropy -> attention entropy"""
    return name.replace("_", " ")


class Slice(typing.NamedTuple):
    """A line of a table of slices."""

    value: str
    rows: int
    metrics: Mapping[str, float]
    share: float  # of the first metric in the greatest of the feature's, in percent: a bar


def slices(verdict: Verdict) -> dict[str, list[Slice]]:
    """By feature, {"source_length": [Slice("1-4", 300, {...}, 80.0), ...]}, in the order of their numbers."""
    by_feature: dict[str, dict[str, Mapping[str, float]]] = {}
    for name, values in verdict.slices.items():
        feature, _, value = name.partition(":")
        by_feature.setdefault(feature, {})[value] = values
    tables = {}
    for feature, lines in by_feature.items():
        names = [name for name in verdict.metrics if name in next(iter(lines.values()))]
        first = names[0] if names else "rows"
        greatest = max((values[first] for values in lines.values() if math.isfinite(values[first])), default=0) or 1
        tables[feature] = [
            Slice(
                value or "(none)",
                int(values["rows"]),
                {name: values[name] for name in names},
                round(100 * values[first] / greatest, 1) if math.isfinite(values[first]) else 0,
            )
            for value, values in sorted(lines.items(), key=lambda line: _number_first(line[0]))
        ]
    return tables


def _number_first(value: str) -> tuple[float, str]:
    number = value.split("-")[0].rstrip("+")
    return (float(number) if number.isdigit() else math.inf, value)


class Wrong(typing.NamedTuple):
    """A row whose answer is wrong."""

    source: str
    origin: str
    reference: str  # the nearest one
    said: list[tuple[str, bool]]  # tokens, and whether they are the reference's
    errors: int


def worst(rows: Sequence[Mapping[str, typing.Any]], token_unit: str, most: int) -> list[Wrong]:
    """The rows with the most wrong tokens; of equals, those with the shorter reference."""
    metric = metrics.find("token_error_rate", token_unit)
    judged = []
    for number, row in enumerate(rows):
        edits, length = metric.statistics(row["references"], row["prediction"])
        if edits:
            judged.append((-edits, length, number))
    return [_wrong(rows[number], token_unit, int(-edits)) for edits, _, number in sorted(judged)[:most]]


def _wrong(row: Mapping[str, typing.Any], token_unit: str, errors: int) -> Wrong:
    split = list if token_unit == "character" else str.split
    said = split(clip(row["prediction"]))
    reference = min(row["references"], key=lambda text: Levenshtein.distance(split(clip(text)), said))
    matcher = difflib.SequenceMatcher(a=split(clip(reference)), b=said, autojunk=False)
    right = {match.b + offset for match in matcher.get_matching_blocks() for offset in range(match.size)}
    marked = [(token, number in right) for number, token in enumerate(said)]
    return Wrong(clip(row["source"]), row.get("origin", ""), clip(reference), marked, errors)


def clip(text: str) -> str:
    """A text as long as a table can hold."""
    return text if len(text) <= CLIPPED else text[: CLIPPED - 1] + "…"


class Changed(typing.NamedTuple):
    """Rows that one model has right and the other has not: how many, and the first of them."""

    mended: int
    broken: int
    mended_rows: list[Mapping[str, typing.Any]]
    broken_rows: list[Mapping[str, typing.Any]]


def changed(rows: Sequence[Mapping[str, typing.Any]], most: int) -> Changed | None:
    """What the candidate mends and breaks of the champion's answers; None where there is no champion."""
    if not rows or CHAMPION not in rows[0]:
        return None
    mended = [row for row in rows if row["prediction"] in row["references"] and row[CHAMPION] not in row["references"]]
    broken = [row for row in rows if row["prediction"] not in row["references"] and row[CHAMPION] in row["references"]]
    return Changed(len(mended), len(broken), mended[:most], broken[:most])
