"""Where the lines and the cells of a drawing are: geometry in, numbers for SVG out; `page.html` draws them.

line_chart("Loss", {"training/loss": [(0, 2.0), (10, 1.0)]})
-> Chart(title="Loss", series=[Series(name="training/loss", path="M44,12 L428,148", points=[...])], ...)
"""

from __future__ import annotations

import math
import typing
from collections.abc import Mapping, Sequence

from components.bootstrap import Difference
from pipeline.report.figures import label

WIDTH, HEIGHT = 440, 190
LEFT, RIGHT, TOP, BOTTOM = 46, 12, 12, 26
POINTS = 160  # of a curve, at most
PIECES = 60  # of a side of an alignment, at most

Curve = Sequence[tuple[int, float]]


class Tick(typing.NamedTuple):
    """A place on an axis."""

    place: float
    text: str


class Point(typing.NamedTuple):
    """A place on a curve, and what is said of it."""

    x: float
    y: float
    text: str


class Series(typing.NamedTuple):
    """A curve."""

    name: str
    path: str
    points: list[Point]


class Chart(typing.NamedTuple):
    """Curves over the steps of a training."""

    title: str
    series: list[Series]
    across: list[Tick]
    up: list[Tick]


def ticks(low: float, high: float, most: int = 5) -> list[float]:
    """Round numbers between two: (0.13, 0.94) -> [0.2, 0.4, 0.6, 0.8]."""
    span = high - low
    if not span > 0:
        return [low]
    power = 10.0 ** math.floor(math.log10(span / most))
    step = next(factor * power for factor in (1, 2, 5, 10) if span / (factor * power) <= most)
    first = math.ceil(low / step - 1e-9)
    return [round(number * step, 12) for number in range(first, math.floor(high / step + 1e-9) + 1)]


def thinned(curve: Curve) -> Curve:
    """At most POINTS of a curve, the last among them."""
    step = max(1, -(-len(curve) // POINTS))
    return [*curve[:-1][::step], curve[-1]]


def line_chart(title: str, curves: Mapping[str, Curve]) -> Chart | None:
    """Curves that share their axes; None where there are none, or no finite point in them."""
    finite = {name: [point for point in curve if math.isfinite(point[1])] for name, curve in curves.items()}
    finite = {name: sorted(curve) for name, curve in finite.items() if curve}
    if not finite:
        return None
    steps = [step for curve in finite.values() for step, _ in curve]
    values = [value for curve in finite.values() for _, value in curve]
    last = max(max(steps), 1)
    low, high = min(values), max(values)
    low = 0.0 if 0 < low < 0.5 * high else low
    high = high if high > low else low + 1

    def x(step: float) -> float:
        return round(LEFT + (WIDTH - LEFT - RIGHT) * step / last, 1)

    def y(value: float) -> float:
        return round(HEIGHT - BOTTOM - (HEIGHT - TOP - BOTTOM) * (value - low) / (high - low), 1)

    series = []
    for name, curve in finite.items():
        points = [Point(x(step), y(value), f"step {step:,}: {value:.4g}") for step, value in thinned(curve)]
        path = "M" + " L".join(f"{point.x},{point.y}" for point in points)
        series.append(Series(name, path, points))
    across = [Tick(x(step), f"{step:,.0f}") for step in ticks(0, last)]
    return Chart(title, series, across, [Tick(y(value), f"{value:g}") for value in ticks(low, high)])


class Interval(typing.NamedTuple):
    """A comparison on a line whose middle is no difference, in percent of its width; better is to the right."""

    name: str
    difference: Difference
    low: float
    gain: float
    high: float


def intervals(differences: Mapping[typing.Any, Difference]) -> list[Interval]:
    """Each comparison on a scale of its own."""
    drawn = []
    for name, difference in differences.items():
        reach = 1.15 * max(abs(difference.low), abs(difference.high), 1e-12)
        low, gain, high = (
            round(50 + 50 * value / reach, 2)
            for value in (difference.low, (difference.low + difference.high) / 2, difference.high)
        )
        drawn.append(Interval(str(name), difference, low, gain, high))
    return drawn


class Cell(typing.NamedTuple):
    """A weight: its place, how strong it is, and what is said of it."""

    x: float
    y: float
    strength: float
    text: str


class Heatmap(typing.NamedTuple):
    """An alignment: source pieces across, target pieces down."""

    width: float
    height: float
    cell: int
    left: float
    top: float
    columns: list[Tick]
    rows: list[Tick]
    cells: list[Cell]
    cut: int  # pieces that are not shown


def heatmap(
    source: Sequence[str], target: Sequence[str], attention: Sequence[Sequence[float]], cell: int = 22
) -> Heatmap:
    """An alignment's drawing; long sides are cut. Cells next to nothing are empty, and left out."""
    columns, rows = ([label(piece) for piece in pieces[:PIECES]] for pieces in (source, target))
    cell = min(cell, max(9, 900 // max(len(columns), 1)))
    lettered = cell >= 14
    left = 8 + 7.4 * max(map(len, rows), default=0) if lettered else 0
    top = 8 + 7.4 * max(map(len, columns), default=0) if lettered else 0
    cells = [
        Cell(left + j * cell, top + i * cell, round(weight, 3), f"{wanted} looks at {given}: {weight:.2f}")
        for i, (wanted, weights) in enumerate(zip(rows, attention, strict=False))
        for j, (given, weight) in enumerate(zip(columns, weights, strict=False))
        if weight >= 0.005
    ]
    return Heatmap(
        width=left + cell * len(columns) + 1,
        height=top + cell * len(rows) + 1,
        cell=cell,
        left=left,
        top=top,
        columns=[Tick(left + (j + 0.5) * cell, text) for j, text in enumerate(columns)] if lettered else [],
        rows=[Tick(top + (i + 0.5) * cell, text) for i, text in enumerate(rows)] if lettered else [],
        cells=cells,
        cut=max(len(source) - PIECES, 0) + max(len(target) - PIECES, 0),
    )
