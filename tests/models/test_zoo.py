"""Families are found by file name."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from models import attention, zoo
from models.contract import DECODER_IDS, SOURCE_IDS
from models.zoo import rnn


def test_a_family_is_a_module() -> None:
    assert "rnn" in zoo.families()
    assert zoo.load("rnn") is rnn


def test_an_unknown_name_is_answered_with_those_that_exist() -> None:
    with pytest.raises(ValueError, match=r"unknown model 'rnm': expected one of .*\brnn\b.*; the nearest is 'rnn'"):
        zoo.load("rnm")


def test_a_file_without_a_family_is_not_loaded() -> None:
    with pytest.raises(ValueError, match="unknown model '__init__'"):
        zoo.load("__init__")


@pytest.mark.parametrize("name", attention.names())
def test_a_model_takes_any_attention_by_name(name: str) -> None:
    model = rnn.build(rnn.Config(units=12, embedding=5, attention=name), 17, 19)
    assert type(model.decoder.attention) is attention.find(name)


@pytest.mark.parametrize("options", [{"attend": "after"}, {"attend": "before"}, {"input_feeding": True}])
def test_the_draws_of_hard_attention_reach_the_loss(options: dict[str, object]) -> None:
    hard = {"name": "hard", "soft_share": 0.0}
    model = rnn.build(rnn.Config(units=6, embedding=5, attention=hard, **options), 17, 19)
    inputs = {SOURCE_IDS: np.full((2, 7), 5, np.int32), DECODER_IDS: np.full((2, 3), 7, np.int32)}
    chosen = model(inputs, training=True).log_choice
    assert chosen.shape == (2, 3) and (chosen < 0).numpy().all()


@pytest.mark.parametrize("attend", ["after", "before"])
def test_nothing_but_embeddings_reaches_a_decoder_that_starts_from_zeros(attend: str) -> None:
    """With an encoder that says the same everywhere, every order of the source gives the same logits."""
    config = rnn.Config(units=6, embedding=6, attention="general", attend=attend, values="embedded", start="zeros")
    model = rnn.build(config, 17, 19)
    for weight in model.encoder.weights:
        weight.assign(tf.zeros_like(weight))
    target = np.array([[2, 7, 5]], np.int32)
    said = [
        model({SOURCE_IDS: np.array([source], np.int32), DECODER_IDS: target}).logits.numpy()
        for source in ([5, 9, 6, 3], [6, 5, 3, 9], [5, 8, 6, 3])
    ]
    np.testing.assert_allclose(said[0], said[1], atol=1e-6)
    assert np.abs(said[0] - said[2]).max() > 1e-4


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"attention": "none", "start": "zeros"}, "with none nothing reaches the decoder"),
        ({"attention": "none", "values": "embedded"}, "mixes values as they are, not for none"),
        ({"attention": "multi_head", "values": "embedded"}, "mixes values as they are, not for multi_head"),
        ({"units": 8, "embedding": 6, "values": "embedded"}, "depth of units, got 6 and 8"),
    ],
)
def test_what_of_the_source_reaches_the_decoder(options: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        rnn.Config(**options)
