"""The command line: exit codes, and what is printed where."""

from __future__ import annotations

import json
import pathlib
import sys
from collections.abc import Callable

import pytest

from pipeline import cli

Fovea = Callable[..., tuple[int, str, str]]


@pytest.fixture
def fovea(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], tmp_path: pathlib.Path) -> Fovea:
    """`fovea ARGUMENTS` -> (exit code, standard output, standard error), in an empty home folder."""
    monkeypatch.setenv("FOVEA_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.chdir(tmp_path)

    def call(*arguments: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["fovea", *arguments])
        code = cli._run()
        return code, *capfd.readouterr()

    return call


def write(folder: pathlib.Path, rows: str, extra: str = "") -> str:
    (folder / "rows.tsv").write_text(rows)
    (folder / "a.yaml").write_text(f"name: a\ndata:\n  source: {{name: parallel_text, path: rows.tsv}}\n{extra}")
    return str(folder / "a.yaml")


GOOD = "".join(f"word{n}\tW {n}\n" for n in range(101))


def test_check_reads_a_sample(fovea: Fovea, tmp_path: pathlib.Path) -> None:
    code, out, _ = fovea("check", write(tmp_path, GOOD), "--json")
    report = json.loads(out)
    assert code == 0
    assert report["sampled"] == 101 and sum(report["splits"].values()) == 101
    assert report["examples"][0] == {"source": "word0", "target": "W 0"}


def test_check_says_what_a_run_would_stumble_over(fovea: Fovea, tmp_path: pathlib.Path) -> None:
    code, out, err = fovea("check", write(tmp_path, GOOD + "broken\n" * 7))
    assert (code, out) == (2, "")
    assert "rows.tsv:102: 1 column, expected 2" in err
    assert "data: 7 of 108 rows are rejected, data.max_rejected_fraction is 0.01" in err


def test_check_names_a_pattern_without_files(fovea: Fovea, tmp_path: pathlib.Path) -> None:
    code, _, err = fovea("check", write(tmp_path, GOOD), "--set", "data.source.path=nowhere*.tsv")
    assert code == 2 and "data.source: no file matches 'nowhere*.tsv'" in err


def test_a_bad_configuration_is_exit_2_with_all_its_problems(fovea: Fovea, tmp_path: pathlib.Path) -> None:
    code, out, err = fovea("run", write(tmp_path, GOOD, "trainin: {}\n"), "--set", "training.epochs=0", "--json")
    assert (code, out) == (2, "")
    assert "2 problems" in err and "did you mean 'training'?" in err and "training.epochs: 0" in err


@pytest.mark.parametrize(
    ("arguments", "code", "text"),
    [
        (["predict", "abc"], 2, "predict needs --model or --server"),
        (["predict", "--model", "nobody", "abc"], 1, "no model 'nobody'"),
        (["evaluate", "--model", "nobody", "--data", "x.tsv"], 1, "no model has been pushed"),
        (["predict", "--server", "localhost:1", "abc"], 1, "UNAVAILABLE"),
        (["run"], 2, "Missing argument"),
        (["nonsense"], 2, "No such command"),
        (["models"], 0, ""),
    ],
)
def test_exit_codes(fovea: Fovea, arguments: list[str], code: int, text: str) -> None:
    got, _, err = fovea(*arguments)
    assert got == code
    assert text in err


def test_check_as_json_names_the_problems_of_a_configuration(fovea: Fovea, tmp_path: pathlib.Path) -> None:
    code, out, _ = fovea("check", write(tmp_path, GOOD), "--set", "training.epochs=0", "--json")
    assert code == 2
    assert json.loads(out) == {"problems": ["training.epochs: 0: should be greater than 0"]}


def test_a_run_without_data_is_exit_2_and_leaves_no_run_behind(fovea: Fovea, tmp_path: pathlib.Path) -> None:
    code, _, err = fovea("run", write(tmp_path, GOOD), "--set", "data.source.path=nowhere.tsv")
    assert code == 2 and "data.source: no file matches 'nowhere.tsv'" in err


def test_json_has_no_nan(capsys: pytest.CaptureFixture[str]) -> None:
    cli._print_json({"a": [float("nan"), 1.5, (float("-inf"),)]})
    assert json.loads(capsys.readouterr().out) == {"a": [None, 1.5, [None]]}


def test_columns_of_a_labelled_file() -> None:
    from components.sources.parallel_text import Columns
    from pipeline import evaluate

    assert evaluate.parse_columns("") == Columns()
    assert evaluate.parse_columns("source=word,target=2,references=3+x") == Columns("word", 2, (3, "x"))
    assert evaluate.parse_columns("alignment=5") == Columns(alignment=5)
    for wrong in ("sorce=1", "source", "source=", "references=3+"):
        with pytest.raises(ValueError, match=r"--columns: .*expected source=N"):
            evaluate.parse_columns(wrong)


def test_a_home_lets_one_run_of_a_name_in(tmp_path: pathlib.Path) -> None:
    from pipeline.home import Home

    home = Home(tmp_path)
    refused = pytest.raises(RuntimeError, match="another run of 'a' is under way")
    with home.alone("a"), home.alone("b"), refused, home.alone("a"):
        raise AssertionError("two runs at once")
    with home.alone("a"):
        pass


def test_texts_come_from_arguments_and_files(tmp_path: pathlib.Path) -> None:
    from pipeline.predict import Question, read

    def texts(*arguments: str) -> list[str]:
        questions = read(arguments)
        assert questions == [Question(question.name, question.name) for question in questions]
        return [question.name for question in questions]

    (tmp_path / "two.txt").write_text("one\ntwo words\n")
    assert texts("a", str(tmp_path / "two.txt"), "b c") == ["a", "one", "two words", "b c"]
    (tmp_path / "odd.txt").write_bytes("\ufeffone\u2028line\r\n\r\ntwo".encode())
    assert texts(str(tmp_path / "odd.txt")) == ["one\u2028line", "", "two"]
    (tmp_path / "empty.txt").write_text("")
    assert texts(str(tmp_path / "empty.txt"), "x" * 999) == ["x" * 999]
