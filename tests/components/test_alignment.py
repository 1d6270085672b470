"""Attention as people see it."""

from __future__ import annotations

import pathlib

import numpy as np

from components import alignment


def test_text() -> None:
    picture = alignment.text(["c", "a", "▁t"], ["▁K", "▁AE"], np.array([[0.95, 0.05, 0.0], [0.25, 0.45, 0.3]]))
    assert picture.splitlines() == ["    c  a  t", " K  █", "AE  ░  ▒  ░"]


def test_padding_is_cut() -> None:
    (row,) = alignment.read(
        {
            "source_pieces": np.array([["a", "</s>", ""]], dtype=object),
            "target_pieces": np.array([["X", "</s>", "", ""]], dtype=object),
            "attention": np.arange(12.0).reshape(1, 4, 3),
        }
    )
    assert row.source_pieces == ["a", "</s>"] and row.target_pieces == ["X", "</s>"]
    assert row.attention.tolist() == [[0, 1], [3, 4]]


def test_a_picture_of_any_text_and_any_length(tmp_path: pathlib.Path) -> None:
    pieces = ["$a_$", "\\x", *["b"] * 998]
    path = tmp_path / "long.png"
    alignment.png(pieces, pieces, np.eye(1000), path, title="costs $a_$ x")
    width, height = np.frombuffer(path.read_bytes()[16:24], ">u4")
    assert max(width, height) < 4000  # pixels


def test_png(tmp_path: pathlib.Path) -> None:
    path = tmp_path / "a.png"
    alignment.png(["c", "▁"], ["K"], np.array([[0.9, 0.1]]), path, title="c")
    assert path.read_bytes().startswith(b"\x89PNG")
