"""The shapes in which every model family is checked, small models of them, and what they are given."""

from __future__ import annotations

import dataclasses
import functools
import os
import random
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from models import attention, zoo
from models.audio import Audio
from models.beam import beam_search
from models.contract import DECODER_IDS, END, FRAMES, PAD, START, Decoded, Seq2Seq
from models.decoding import Hypotheses
from models.listener import Config as ListenerConfig
from models.listener import Convolution
from models.walk import Leaving

# What is heard: 7 numbers a frame, as they are, so that every weight of the model is one of the model's own.
AUDIO = Audio(kind="features", depth=7, normalize="none", deltas=1)
PYRAMID = ListenerConfig(units=6, layers=2, reduce_after=(1,))

# The shapes in which a family is checked: between them every choice that its config has.
CONFIGS: dict[str, list[dict[str, Any]]] = {
    "classifier": [
        {"pooling": "attention", "word_dropout": 0.2},
        {"pooling": "structured", "hops": 3, "hop_penalty": 0.1, "layers": 2},
        {"pooling": "gated", "audio": AUDIO, "convolution": Convolution(channels=5, strides=(2, 1))},
        {"pooling": "max", "audio": AUDIO, "layers": 2, "reduce_after": (1,), "cell": "gru"},
    ],
    "las": [
        {"cell": "lstm"},
        {"cell": "gru", "attend": "after", "input_feeding": True, "ctc_decoding_weight": 0.0, "layer_norm": True},
        {"ctc_weight": 0.0, "ctc_decoding_weight": 0.0, "attention": "general", "attend": "after", "layers": 2},
        {
            "tie_embeddings": "output",
            "listener": ListenerConfig("gru", 6, 2, (1,), 5, True, Convolution(channels=5, strides=(2, 1))),
        },
    ],
    "memory_network": [
        {"hops": 3, "tie_embeddings": "all"},
        {"hops": 1, "tie_embeddings": "output"},
    ],
    "rnn": [
        *({"attention": name, "attend": "after"} for name in attention.names()),
        *({"attention": name, "attend": "before"} for name in ("additive", "location", "hard", "none")),
        {"attention": "general", "cell": "simple", "encoder_layers": 2, "residual": True, "layer_norm": True},
        {"attention": "dot", "cell": "lstm", "decoder_layers": 2, "residual": True, "tie_embeddings": "output"},
        {"attention": "additive", "attend": "before", "cell": "lstm", "encoder_layers": 2, "decoder_layers": 3},
        {"attention": "general", "input_feeding": True, "layer_norm": True, "tie_embeddings": "all"},
        {"attention": "location", "input_feeding": True, "cell": "lstm", "decoder_layers": 2},
        {"attention": "coverage", "attend": "before", "copy": True, "tie_embeddings": "all"},
        {"attention": "monotonic", "values": "embedded", "start": "zeros", "embedding": 20},
    ],
    "transformer": [
        {"norm": "pre"},
        {"norm": "post", "learned_positions": 9, "tie_embeddings": "all"},
        {"norm": "pre", "tie_embeddings": "output", "alignment_layer": 2, "encoder_layers": 2},
        {"norm": "post", "decoder_layers": 1},
    ],
}
SMALL = {
    "classifier": {"units": 20, "embedding": 13},
    "las": {"units": 20, "embedding": 13, "listener": PYRAMID, "audio": AUDIO},
    # A window that is longer than the target has weights that learn nothing from it.
    "memory_network": {"units": 20, "window": 4},
    "rnn": {"units": 20, "embedding": 13},
    "transformer": {"units": 20, "heads": 4, "feed_forward": 23, "encoder_layers": 1, "decoder_layers": 2},
}
SOURCE_VOCABULARY, TARGET_VOCABULARY = 17, 19
BATCH, SOURCE, TARGET = 3, 7, 5
HEARD = (20, 29)  # frames of a recording, at least and at most


def _name(value: object) -> str:
    """Of an option, for people: of a section, what it is."""
    return type(value).__name__ if dataclasses.is_dataclass(value) else str(value)


# Which shapes of each family.
SHAPES = {"first": slice(1), "last": slice(-1, None), "": slice(None)}[os.environ.get("FOVEA_SHAPES", "")]
EVERY = [
    pytest.param(family, options, id=f"{family}-{'-'.join(map(_name, options.values()))}")
    for family, shapes in CONFIGS.items()
    for options in shapes[SHAPES]
]
# XLA takes its time to compile: not for a mechanism alone, which test_attention.py compiles.
COMPILED = [
    each for each in EVERY if each.values[1].keys() - {"attention", "attend", "encoder_layers", "decoder_layers"}
]


@functools.cache
def resting(family: str, shape: str) -> Seq2Seq:
    """The model of one of EVERY, for a test that does not train it."""
    options = next(each.values[1] for each in EVERY if each.values[0] == family and str(each.values[1]) == shape)
    random.seed(1)
    return build(family, options)


@functools.cache
def teacher_forced(family: str, shape: str) -> Callable[[dict[str, np.ndarray]], Decoded]:
    """What the model of `resting` gives of a batch of any size, in a graph: traced once, it takes milliseconds."""
    model = resting(family, shape)
    signature = {model.source.name: model.source, DECODER_IDS: tf.TensorSpec([None, None], tf.int32)}
    return tf.function(model, input_signature=[signature], autograph=False)


def build(family: str, options: dict[str, Any], **more: Any) -> Seq2Seq:
    module = zoo.load(family)
    options = {**SMALL[family], **options, **more}
    audio = options.pop("audio", None)
    config = module.Config(**options)
    assert ("audio" if audio else "text") in config.reads
    return module.build(
        config, audio or (TARGET_VOCABULARY if config.shared_pieces else SOURCE_VOCABULARY), TARGET_VOCABULARY
    )


def ids(rng: np.random.Generator, length: int, vocabulary: int, shortest: int = 2) -> np.ndarray:
    """Pieces, END, PAD: int32 [batch, length]; the first row is as long as can be."""
    rows = rng.integers(END + 1, vocabulary, (BATCH, length))
    ends = np.concatenate([[length], rng.integers(shortest, length + 1, BATCH - 1)])[:, None] - 1
    return np.where(np.arange(length) < ends, rows, np.where(np.arange(length) == ends, END, PAD)).astype(np.int32)


def frames(rng: np.random.Generator) -> np.ndarray:
    """Noise, and the column that says where it is: float32 [batch, frames, depth + 1]; the first row is the longest."""
    shortest, longest = HEARD
    lengths = np.concatenate([[longest], rng.integers(shortest, longest + 1, BATCH - 1)])
    real = np.arange(longest) < lengths[:, None]
    heard = rng.normal(size=(BATCH, longest, AUDIO.frame_depth)) * real[..., None]
    return np.concatenate([heard, real[..., None]], axis=-1).astype(np.float32)


def length_of(source: np.ndarray) -> int:
    """How much of a row of a source is there."""
    return np.count_nonzero(source if source.ndim == 1 else source[:, -1])


def batch(model: Seq2Seq, seed: int = 0) -> tuple[dict[str, np.ndarray], np.ndarray]:
    rng = np.random.default_rng(seed)
    source = frames(rng) if model.source.name == FRAMES else ids(rng, SOURCE, SOURCE_VOCABULARY)
    # A classifier's answer is one piece and END.
    target = ids(rng, 2 if model.name == "classifier" else TARGET, TARGET_VOCABULARY)
    decoder = np.concatenate([np.full((BATCH, 1), START, np.int32), target[:, :-1]], axis=1)
    return {model.source.name: source, DECODER_IDS: np.where(decoder == END, PAD, decoder)}, target


def decode(model: Seq2Seq, source: tf.Tensor, beam_size: int = 3, leaving: Leaving = "none") -> Hypotheses:
    return beam_search(
        model.step,
        model.start,
        model.encode(source),
        batch_size=tf.shape(source)[0],
        beam_size=beam_size,
        max_length=TARGET,
        length_penalty=0.6,
        leaving=leaving,
    )
