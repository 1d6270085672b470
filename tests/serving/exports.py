"""Exports of untrained models: what they answer is arbitrary, and the same every time."""

from __future__ import annotations

import dataclasses
import pathlib
from typing import Any

import keras
import numpy as np

from components import settings as settings_of
from components import tokenizer
from models import zoo
from models.audio import Audio
from serving import export
from serving.card import Card
from serving.pieces import SourceIds
from serving.search import Decoding
from serving.sources import Recordings, Texts

TEXTS = ["ab", "fovea", "e"]
TARGETS = ["A B", "F OW V IY AH", "AH"]
RNN = {"name": "rnn", "units": 22, "embedding": 13}
LAS = {
    "name": "las",
    "listener": {"units": 6, "layers": 2, "reduce_after": [1, 2]},
    "units": 7,
    "embedding": 5,
    "ctc_decoding_weight": 0.4,
}
CLASSIFIER = {"name": "classifier", "units": 6, "embedding": 5}


def served(
    settings: Decoding,
    shape: dict[str, Any] = RNN,
    spread: float = 0.0,
    kind: type[export.ServedModel] = export.ServedModel,
) -> export.ServedModel:
    """What is exported: letters in, words out; biases and gains are off where they start by this much."""
    keras.utils.set_random_seed(1)
    letters = tokenizer.Pieces("char", 97)
    words = {word: 1 for text in TARGETS for word in text.split()}
    if shape.get("tie_embeddings") == "all":
        shared = tokenizer.train(dict.fromkeys([*TEXTS, *words], 1), letters)
        tokenizers = tokenizer.Tokenizers(shared, shared)
    else:
        tokenizers = tokenizer.Tokenizers(
            tokenizer.train(dict.fromkeys(TEXTS, 1), letters), tokenizer.train(words, tokenizer.Pieces("word", 97))
        )
    family = zoo.load(shape["name"])
    config = family.Config(**{name: value for name, value in shape.items() if name != "name"})
    model = family.build(config, tokenizers.source_size, tokenizers.target_size)
    for weight in model.weights:
        weight.assign_add(keras.random.normal(weight.shape, stddev=spread))
    source = Texts(SourceIds(tokenizers.source_model), tokenizers.source_model, settings.max_source_length)
    return kind(model, source, tokenizers.target_model, settings)


def exported(saved: pathlib.Path, settings: Decoding, shape: dict[str, Any] = RNN, spread: float = 0.0) -> pathlib.Path:
    """An export at `saved` of what `served` makes."""
    card = Card("tiny", "1", "word", shape, decoding=dataclasses.asdict(settings))
    export.save(served(settings, shape, spread), saved, card, TEXTS)
    return saved


def listening(settings: Decoding, audio: Audio, shape: dict[str, Any] = LAS, spread: float = 0.3) -> export.ServedModel:
    """The same of a model that hears recordings: the same words out."""
    keras.utils.set_random_seed(1)
    words = {word: 1 for text in TARGETS for word in text.split()}
    target_model = tokenizer.train(words, tokenizer.Pieces("word", 97))
    family = zoo.load(shape["name"])
    config = settings_of.from_json(family.Config, settings_of.options(shape))
    model = family.build(config, audio, tokenizer.vocabulary(target_model))
    draws = np.random.default_rng(1)
    for weight in model.trainable_weights:
        weight.assign_add(draws.normal(scale=spread, size=weight.shape))
    return export.ServedModel(model, Recordings(audio), target_model, settings)


def listening_export(
    saved: pathlib.Path, settings: Decoding, audio: Audio, shape: dict[str, Any], warmup: list[bytes]
) -> pathlib.Path:
    """An export at `saved` of what `listening` makes."""
    card = Card("tiny", "1", "word", shape, dataclasses.asdict(audio), dataclasses.asdict(settings))
    export.save(listening(settings, audio, shape), saved, card, warmup)
    return saved
