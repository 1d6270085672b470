"""The digest of code sees what a step imports, and nothing else."""

from __future__ import annotations

import pathlib

import pytest

from pipeline import config, digest, graph


@pytest.fixture
def project(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> pathlib.Path:
    """models/a.py imports models/b.py inside a function; models/c.py is on its own."""
    folder = tmp_path / "models"
    folder.mkdir()
    (folder / "__init__.py").write_text("")
    (folder / "a.py").write_text("def f():\n    from models import b\n    return b\n")
    (folder / "b.py").write_text("import json\nB = 1\n")
    (folder / "c.py").write_text("C = 1\n")
    monkeypatch.setattr(digest, "PROJECT", tmp_path)
    return folder


def test_closure_follows_imports_inside_functions(project: pathlib.Path) -> None:
    assert {path.name for path in digest.closure("models.a")} == {"__init__.py", "a.py", "b.py"}


def test_a_change_of_what_is_imported_changes_the_digest(project: pathlib.Path) -> None:
    before = digest.of_code("models.a")
    (project / "b.py").write_text("import json\nB = 2\n")
    assert digest.of_code("models.a") != before


def test_a_change_elsewhere_does_not(project: pathlib.Path) -> None:
    before = digest.of_code("models.a")
    (project / "c.py").write_text("C = 2\n")
    assert digest.of_code("models.a") == before


def test_real_steps_hold_what_they_run() -> None:
    names = {str(path.relative_to(digest.PROJECT)) for path in digest.closure("components.trainer", "models.zoo.rnn")}
    assert {"models/attention/__init__.py", "models/decoding.py", "serving/export.py", "components/batches.py"} <= names
    assert not any(name.startswith("pipeline/") for name in names)


def test_a_model_is_made_of_its_family_and_its_mechanism() -> None:
    given = config.parse(
        {"name": "a", "data": {"source": "cmudict"}, "model": {"name": "rnn", "attention": "hard"}}, ""
    )
    names = {str(path.relative_to(digest.PROJECT)) for path in digest.closure(*graph.model_modules(given))}
    assert {"models/zoo/rnn.py", "models/attention/hard.py", "models/attention/additive.py"} <= names
    assert "models/attention/location.py" not in names
