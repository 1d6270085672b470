"""`fovea check` on data that no file holds."""

from __future__ import annotations

import io

import rich.console

from pipeline import check, config


def test_made_up_rows_are_sampled_and_their_generator_is_named() -> None:
    source = {"name": "reverse", "rows": 211, "letters": 7}
    report = check.check(config.parse({"name": "a", "data": {"source": source}}, "a.yaml"))
    assert (report.inputs, report.sampled, report.problems) == (["reverse"], 211, [])
    assert report.examples[0]["target"] == report.examples[0]["source"][::-1]
    out = io.StringIO()
    check.show(report, rich.console.Console(file=out, width=97))
    assert "reads   reverse\n" in out.getvalue()


def test_what_cannot_be_made_is_a_problem_of_the_data() -> None:
    parsed = config.parse({"name": "a", "data": {"source": {"name": "dates", "locales": ["svv"]}}}, "a.yaml")
    assert check.check(parsed).problems == ["data.source: locales: Babel knows no 'svv'; did you mean 'sv'?"]
