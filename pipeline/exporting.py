"""`fovea export`: a trained model made anew, with another search or in another format; nothing is trained."""

from __future__ import annotations

import pathlib
import typing
from collections.abc import Sequence

from pipeline.config import load_decoding
from serving import ctranslate2_format
from serving.card import Card
from serving.reexport import reexport

Format = typing.Literal["savedmodel", "ctranslate2"]


def export(saved_model: pathlib.Path, output: pathlib.Path, format_: Format, changes: Sequence[str]) -> None:
    """Write the model of an export at `output`, a folder that is not there yet.

    Args:
        saved_model: an export of ours.
        output: where the new one goes.
        format_: ctranslate2 is for Transformers.
        changes: of the search, "decoding.beam_size=8"; for `savedmodel` alone.

    Raises:
        ValueError: names what cannot be done with it; FileExistsError: the folder is there.
    """
    card = Card.of(saved_model)
    if card is None:
        raise ValueError(f"{saved_model}: expected a SavedModel that fovea exported")
    if format_ == "savedmodel":
        reexport(saved_model, output, load_decoding(card, changes))
    elif changes:
        raise ValueError("--set is for --format savedmodel: elsewhere whoever asks says how to search")
    else:
        ctranslate2_format.convert(saved_model, output)
