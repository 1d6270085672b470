"""How much of the batches is padding, which is the same on every machine; speed is measured by hand (README.md)."""

import pathlib

import numpy as np
import pytest

from components import batches
from tests.benchmarks import epoch, sentences


def test_padding_of_sentences_is_under_a_tenth(tmp_path: pathlib.Path) -> None:
    rows = sentences.made_up(sentences.ROWS, tmp_path)
    padding = epoch.Padding.of(batches.training(rows.files, batches.Config(), seed=1, epoch=0))
    assert padding.waste()["both"] < 0.1


def test_padding_counts_cells_without_a_piece() -> None:
    batch = {"source_ids": np.array([[5, 3, 0], [3, 0, 0]]), "target_ids": np.array([[7, 3], [9, 3]])}
    padding = epoch.Padding.of([batch, batch])
    assert padding.waste() == pytest.approx({"source_ids": 0.5, "target_ids": 0.0, "both": 0.3})
    assert (padding.number, padding.shapes) == (2, 1)
