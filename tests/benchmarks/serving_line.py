"""A line of the serving benchmark: what was measured, and the bar."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from typing import Any

NAME, SIDE = 46, 34


@dataclasses.dataclass(frozen=True)
class Line:
    """ "batching: rows/s", "1,650 with", "390 without", "4.2x", "at least 4x", True.

    Attributes:
        name: what is measured.
        ours: one side, in words.
        other: the other side, or "".
        result: what the bar is held against; "" where there is none.
        bar: what it shall be.
        met: whether it is; None where there is no bar.
        figures: for `--json`.
    """

    name: str
    ours: str
    other: str = ""
    result: str = ""
    bar: str = ""
    met: bool | None = None
    figures: dict[str, Any] = dataclasses.field(default_factory=dict)


def table(lines: Iterable[Line]) -> str:
    """For a person to read."""
    rows = [f"{'':{NAME}} {'':{SIDE}} {'against':{SIDE}} {'result':>10}  bar"]
    for line in lines:
        verdict = {True: "  met", False: "  NOT MET", None: ""}[line.met]
        rows.append(
            f"{line.name:{NAME}} {line.ours:{SIDE}} {line.other:{SIDE}} {line.result:>10}  {line.bar}{verdict}".rstrip()
        )
    return "\n".join(rows)


def shown(milliseconds: dict[str, float]) -> str:
    """{"p50": 7.31, "p99": 20.2} -> "p50 7.3, p99 20 ms"."""
    return ", ".join(f"{name} {value:.3g}" for name, value in milliseconds.items()) + " ms"
