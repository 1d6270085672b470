"""The Keras model of an export, from what lies beside its graph: to go on with it in Python, or in another format.

rebuild(path) -> Rebuilt(model, source pieces as SentencePiece has them, target pieces)
"""

from __future__ import annotations

import os
import pathlib
from typing import NamedTuple

import numpy as np
import sentencepiece
import tensorflow as tf
from pydantic import TypeAdapter

from models import zoo
from models.audio import Audio
from models.contract import Seq2Seq
from serving.card import EXTRA, SOURCE_PIECES, TARGET_PIECES, Card


class Rebuilt(NamedTuple):
    """A model of the zoo with the weights of an export, and the pieces that it was trained on."""

    model: Seq2Seq
    source: sentencepiece.SentencePieceProcessor | None  # None: it listens
    target: sentencepiece.SentencePieceProcessor


def rebuild(saved_model: str | os.PathLike[str]) -> Rebuilt:
    """Make the model anew and give it its weights.

    Raises:
        ValueError: it is no export of ours, or one of an older version, which does not say how it was built.
    """
    path = pathlib.Path(saved_model)
    card = Card.of(path)
    if card is None or not card.model:
        raise ValueError(f"{path} does not say how its model was built: expected a SavedModel that fovea exported")
    source = None if card.audio else _pieces(path, SOURCE_PIECES)
    target = _pieces(path, TARGET_PIECES)
    family = zoo.load(card.model["name"])
    shape = TypeAdapter(family.Config).validate_python({k: v for k, v in card.model.items() if k != "name"})
    read = source.get_piece_size() if source else TypeAdapter(Audio).validate_python(card.audio)
    model = family.build(shape, read, target.get_piece_size())
    model.set_weights(_weights(path, len(model.weights)))
    return Rebuilt(model, source, target)


def _pieces(saved_model: pathlib.Path, name: str) -> sentencepiece.SentencePieceProcessor:
    return sentencepiece.SentencePieceProcessor(model_file=str(saved_model / EXTRA / name))


def _weights(path: pathlib.Path, count: int) -> list[np.ndarray]:
    """The variables that an export tracks, in the order of the model's weights (`export.ServedModel`)."""
    reader = tf.train.load_checkpoint(str(path / "variables" / "variables"))
    return [reader.get_tensor(f"_weights/{number}/.ATTRIBUTES/VARIABLE_VALUE") for number in range(count)]
