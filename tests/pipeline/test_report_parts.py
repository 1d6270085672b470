"""What the page of a run is made of: places of lines and cells, and tables."""

from __future__ import annotations

import pytest

from components.bootstrap import Difference
from components.evaluator import Verdict
from pipeline.report import charts, figures


def test_ticks_are_round_numbers() -> None:
    assert charts.ticks(0.13, 0.94) == [0.2, 0.4, 0.6, 0.8]
    assert charts.ticks(0, 1920) == [0, 500, 1000, 1500]
    assert charts.ticks(3, 3) == [3]


def test_curves_share_their_axes() -> None:
    chart = charts.line_chart("Loss", {"training/loss": [(10, 1.0), (0, 3.0)], "validation/loss": [(10, float("nan"))]})
    assert chart is not None and [series.name for series in chart.series] == ["training/loss"]
    (series,) = chart.series
    left, right, top, bottom = charts.LEFT, charts.WIDTH - charts.RIGHT, charts.TOP, charts.HEIGHT - charts.BOTTOM
    assert (series.points[0].x, series.points[0].y) == (left, top)
    assert series.points[1].x == right and top < series.points[1].y < bottom  # the axis begins at nought
    assert series.points[1].text == "step 10: 1"
    assert charts.line_chart("Loss", {}) is None and charts.line_chart("Loss", {"a": []}) is None


def test_a_long_curve_is_thinned_and_keeps_its_end() -> None:
    thin = charts.thinned([(step, 0.0) for step in range(1001)])
    assert len(thin) <= charts.POINTS + 1 and thin[0] == (0, 0.0) and thin[-1] == (1000, 0.0)


def test_an_alignment_has_a_cell_a_weight_and_is_cut_where_it_is_long() -> None:
    drawn = charts.heatmap(["▁a", "b", "</s>"], ["X", "</s>"], [[0.9, 0.1, 0.0], [0.0, 0.0, 1.0]])
    assert [cell.text for cell in drawn.cells] == [
        "X looks at a: 0.90",
        "X looks at b: 0.10",
        "END looks at END: 1.00",
    ]
    assert [tick.text for tick in drawn.columns] == ["a", "b", "END"] and drawn.cut == 0
    long = charts.heatmap(["a"] * 67, ["b"] * 61, [[1.0] * 67] * 61)
    assert len(long.cells) == 60 * 60 and long.cut == 8
    assert charts.heatmap([], [], []).cells == []


def test_comparisons_are_drawn_around_no_difference() -> None:
    better, none = charts.intervals(
        {"bleu": Difference(28, 29, 0.5, 1.5, 0.95), "ter": Difference(50, 50, 0.0, 0.0, 0.95)}
    )
    assert 50 < better.low < better.gain < better.high < 100
    assert (none.low, none.gain, none.high) == (50, 50, 50)


def test_slices_stand_in_the_order_of_their_numbers() -> None:
    slices = {
        f"source_length:{name}": {"rows": 7.0, "bleu": value} for name, value in (("17-32", 5.0), ("5-8", 20.0))
    } | {"group:": {"rows": 3.0, "bleu": float("nan")}}
    tables = figures.slices(Verdict(7, True, (), {"bleu": 1.0, "alignment_accuracy": 1.0}, {}, slices))
    assert [(line.value, line.share) for line in tables["source_length"]] == [("5-8", 100), ("17-32", 25)]
    assert tables["source_length"][0].metrics == {"bleu": 20.0}
    assert tables["group"][0].value == "(none)" and tables["group"][0].share == 0


def test_the_worst_rows_come_first_with_what_is_wrong_marked() -> None:
    rows = [
        {"source": "tea", "references": ["T IY"], "prediction": "T IY"},
        {"source": "ate", "references": ["X Y Z", "EY T"], "prediction": "EY D", "origin": "a.tsv:7"},
        {"source": "eat", "references": ["IY T"], "prediction": "AH B C"},
    ]
    worst = figures.worst(rows, "word", 9)
    assert [(row.source, row.errors) for row in worst] == [("eat", 3), ("ate", 1)]
    assert worst[1].reference == "EY T" and worst[1].said == [("EY", True), ("D", False)]
    assert worst[1].origin == "a.tsv:7" and worst[0].origin == ""
    (spelled,) = figures.worst([{"source": "x", "references": ["abc"], "prediction": "axc"}], "character", 9)
    assert spelled.said == [("a", True), ("x", False), ("c", True)]


@pytest.mark.parametrize("most", [1, 9])
def test_what_changed_is_counted_whole_and_shown_in_part(most: int) -> None:
    def row(champion: str, prediction: str) -> dict[str, object]:
        return {"source": "s", "references": ["a", "b"], "champion": champion, "prediction": prediction}

    rows = [row("a", "b"), row("x", "a"), row("x", "b"), row("a", "x"), row("x", "y")]
    changed = figures.changed(rows, most)
    assert changed is not None and (changed.mended, changed.broken) == (2, 1)
    assert changed.mended_rows == rows[1:3][:most] and changed.broken_rows == [rows[3]]
    assert figures.changed([{"source": "s", "references": ["a"], "prediction": "a"}], 9) is None
