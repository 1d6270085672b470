"""`fovea check`: samples of data, and what is wrong with them."""

from __future__ import annotations

import io
import pathlib

import pytest
import rich.console

from pipeline import check, config
from pipeline.home import Home


def test_made_up_rows_are_sampled_and_their_generator_is_named() -> None:
    source = {"name": "reverse", "rows": 211, "letters": 7}
    report = check.check(config.parse({"name": "a", "data": {"source": source}}, "a.yaml"))
    assert (report.inputs, report.sampled, report.problems) == (["reverse"], 211, [])
    assert report.examples[0]["target"] == report.examples[0]["source"][::-1]
    out = io.StringIO()
    check.show(report, rich.console.Console(file=out, width=97))
    assert "reads   reverse\n" in out.getvalue()


def test_an_input_that_cannot_be_read_is_a_problem_however_many_rows_can(tmp_path: pathlib.Path) -> None:
    (tmp_path / "a.en").write_text("tea\n" * 500)
    (tmp_path / "a.fr").write_text("thé\n" * 499)
    path = tmp_path / "a.yaml"
    source = f"{{name: parallel_text, path: [{tmp_path}/a.en, {tmp_path}/a.fr]}}"
    path.write_text(f"name: a\ndata: {{source: {source}}}\nmodel: rnn\n")
    (problem,) = check.check(config.load(path)).problems
    assert "aligned files must have the same number of lines" in problem


def test_a_home_folder_is_no_pattern(tmp_path: pathlib.Path) -> None:
    assert Home.at(str(tmp_path / "run 1, é")).root == tmp_path / "run 1, é"
    with pytest.raises(ValueError, match=r"holds \[, which TFX and SQLite read as a pattern"):
        Home.at(str(tmp_path / "run[1]"))


def test_what_cannot_be_made_is_a_problem_of_the_data() -> None:
    parsed = config.parse({"name": "a", "data": {"source": {"name": "dates", "locales": ["svv"]}}}, "a.yaml")
    assert check.check(parsed).problems == ["data.source: locales: Babel knows no 'svv'; did you mean 'sv'?"]
