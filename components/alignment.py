"""Attention that people can look at: in a terminal, and as a PNG."""

from __future__ import annotations

import pathlib
import typing
import warnings
from collections.abc import Mapping, Sequence

import numpy as np

from serving import signatures
from serving.signatures import WORD_BOUNDARY

SHADES = " ░▒▓█"
WIDEST = 240  # characters of a line
SPECIAL_PIECES = ("<pad>", "<unk>", "<s>", "</s>")  # its names of PAD, UNK, START, END


class Alignment(typing.NamedTuple):
    """One row of the signature `align`, without its padding."""

    source_pieces: list[str]
    target_pieces: list[str]
    attention: np.ndarray  # float32 [target, source]


def read(outputs: Mapping[str, typing.Any]) -> list[Alignment]:
    """The answer of the signature `align`, a row at a time."""
    columns = (outputs[name] for name in (signatures.SOURCE_PIECES, signatures.TARGET_PIECES, signatures.ATTENTION))
    rows = []
    for source, target, attention in zip(*columns, strict=True):
        source_pieces, target_pieces = ([piece for piece in pieces if piece] for pieces in (source, target))
        rows.append(Alignment(source_pieces, target_pieces, attention[: len(target_pieces), : len(source_pieces)]))
    return rows


def label(piece: str) -> str:
    """A piece as people read it: "▁AH" -> "AH", "▁" -> "␣"."""
    return piece.replace(WORD_BOUNDARY, "") or "␣"


def text(source: Sequence[str], target: Sequence[str], attention: np.ndarray) -> str:
    """A heat map of characters, a line a target piece, for [target, source] weights.

    >>> print(text(["c", "a"], ["K", "AE"], np.array([[0.9, 0.1], [0.1, 0.9]])))
        c  a
     K  █
    AE     █
    """
    columns = [label(piece) for piece in source]
    rows = [label(piece) for piece in target]
    width, margin = max(map(len, columns)) + 2, max(map(len, rows))
    lines = [" " * margin + "".join(f"{column:>{width}}" for column in columns)]
    for row, weights in zip(rows, attention, strict=True):
        cells = "".join(f"{SHADES[min(int(weight * 5), 4)]:>{width}}" for weight in weights)
        lines.append(f"{row:>{margin}}{cells}".rstrip())
    return "\n".join(lines)


def fits(source: Sequence[str]) -> bool:
    """Whether `text` is something to look at: of a recording, whose columns are seconds, it seldom is."""
    return len(source) * (max(map(len, map(label, source)), default=0) + 2) <= WIDEST


def png_panels(
    source: Sequence[str], target: Sequence[str], panels: Mapping[str, np.ndarray], path: pathlib.Path
) -> None:
    """Several heat maps of the same [target, source] pieces beside each other, with their titles, as a PNG file."""
    from matplotlib.figure import Figure

    columns = min(len(panels), 4)
    lines = -(-len(panels) // columns)
    height, width = next(iter(panels.values())).shape
    size = (columns * (0.8 + 0.2 * width), lines * (0.8 + 0.2 * height))
    figure = Figure(figsize=size, dpi=100, layout="constrained")
    plain: dict[str, typing.Any] = {"parse_math": False, "fontsize": 7}
    for number, (title, attention) in enumerate(panels.items(), start=1):
        axes = figure.add_subplot(lines, columns, number)
        axes.imshow(attention, cmap="Blues", vmin=0, vmax=1, aspect="equal")
        axes.set_xticks(range(width), [label(piece) for piece in source], **plain)
        axes.set_yticks(range(height), [label(piece) for piece in target], **plain)
        axes.tick_params(length=0)
        axes.spines[:].set_visible(False)
        axes.set_title(title, fontsize=8)
    _save(figure, path)


def _save(figure: typing.Any, path: pathlib.Path) -> None:
    with warnings.catch_warnings():
        # A letter that no font of the machine has is drawn as a box, and says so for every letter.
        warnings.filterwarnings("ignore", r"Glyph \d+", UserWarning)
        figure.savefig(path)


def png(source: Sequence[str], target: Sequence[str], attention: np.ndarray, path: pathlib.Path, title: str) -> None:
    """A heat map of [target, source] weights as a PNG file."""
    from matplotlib.figure import Figure

    height, width = attention.shape
    cell_in = min(0.36, 20 / max(height, width))  # inches: a long text must not make a picture of gigabytes
    size = (1.5 + cell_in * width, 1.3 + cell_in * height)
    figure = Figure(figsize=size, dpi=150, layout="constrained")
    axes = figure.add_subplot()
    image = axes.imshow(attention, cmap="Blues", vmin=0, vmax=1, aspect="equal")
    plain: dict[str, typing.Any] = {"parse_math": False}  # a dollar sign is a piece like any other
    axes.set_xticks(range(width), [label(piece) for piece in source], **plain)
    axes.set_yticks(range(height), [label(piece) for piece in target], **plain)
    axes.xaxis.tick_top()
    axes.set_title(title, fontsize=10, **plain)
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    figure.colorbar(image, ax=axes, label="attention", shrink=0.8)
    _save(figure, path)
