"""A page of TFDV's statistics that needs no network: TFDV's own loads its pictures from the web."""

from __future__ import annotations

import html
import pathlib
from collections.abc import Iterable, Iterator

from tensorflow_metadata.proto.v0 import statistics_pb2

STATISTICS_FILE = "FeatureStats.pb"  # TFX's name
SHOWN_VALUES = 5
SHOWN_CHARACTERS = 60
HEADINGS = (
    "feature", "rows with it", "rows without", "values a row", "different values", "mean length in bytes",
    "most frequent",
)  # fmt: skip
STYLE = (
    "body{font:14px sans-serif;margin:2em}table{border-collapse:collapse;margin-bottom:2em}"
    "td,th{border-bottom:1px solid #ccc;padding:.3em 1em .3em 0;text-align:left;vertical-align:top}"
)


def page(statistics: pathlib.Path, splits: Iterable[str]) -> str:
    """HTML: a table a split of the artifact of a StatisticsGen, a line a feature."""
    tables = "".join(_split(statistics / f"Split-{split}" / STATISTICS_FILE, split) for split in splits)
    return f'<!doctype html><meta charset="utf-8"><title>Statistics</title><style>{STYLE}</style>{tables}'


def _split(path: pathlib.Path, split: str) -> str:
    (dataset,) = statistics_pb2.DatasetFeatureStatisticsList.FromString(path.read_bytes()).datasets
    rows = "".join(_line("td", _cells(feature)) for feature in dataset.features)
    return f"<h2>{html.escape(split)}: {dataset.num_examples:,} rows</h2><table>{_line('th', HEADINGS)}{rows}</table>"


def _cells(feature: statistics_pb2.FeatureNameStatistics) -> Iterator[str]:
    yield feature.path.step[-1] if feature.path.step else feature.name
    strings = feature.string_stats
    common = (strings if feature.HasField("string_stats") else feature.num_stats).common_stats
    yield f"{common.num_non_missing:,}"
    yield f"{common.num_missing:,}"
    yield f"{common.min_num_values} to {common.max_num_values}"
    yield f"{strings.unique:,}" if strings.unique else ""
    yield f"{strings.avg_length:.1f}" if strings.avg_length else ""
    yield "; ".join(
        f"{top.value[:SHOWN_CHARACTERS]} ({top.frequency:,.0f})" for top in strings.top_values[:SHOWN_VALUES]
    )


def _line(tag: str, cells: Iterable[str]) -> str:
    return "<tr>" + "".join(f"<{tag}>{html.escape(cell)}</{tag}>" for cell in cells) + "</tr>"
