"""The examples in docstrings are true, and those in examples/ can be run."""

from __future__ import annotations

import doctest
import pathlib
import types

import pytest

from components import alignment, batches, metrics
from pipeline import config, digest


@pytest.mark.parametrize("module", [alignment, batches, metrics], ids=lambda module: module.__name__)
def test_docstrings(module: types.ModuleType) -> None:
    outcome = doctest.testmod(module, optionflags=doctest.NORMALIZE_WHITESPACE)
    assert outcome.attempted and not outcome.failed


@pytest.mark.parametrize("path", sorted((digest.PROJECT / "examples").glob("*.yaml")), ids=lambda path: path.stem)
def test_example_configurations_are_good_and_say_what_to_expect(path: pathlib.Path) -> None:
    config.model_shape(config.load(path))
    header = path.read_text().split("\nname: ")[0]
    for word in ("command", "time", "measured"):
        assert f"#   {word} " in header, f"the header of {path} does not say its {word}"
