"""The examples in docstrings are true."""

from __future__ import annotations

import doctest
import types

import pytest

from components import alignment, batches, metrics


@pytest.mark.parametrize("module", [alignment, batches, metrics], ids=lambda module: module.__name__)
def test_docstrings(module: types.ModuleType) -> None:
    outcome = doctest.testmod(module, optionflags=doctest.NORMALIZE_WHITESPACE)
    assert outcome.attempted and not outcome.failed
