"""Listen, attend and spell: what CTC adds to the loss and to a search."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from models import ctc, ctc_prefix, scheduled_sampling
from models.audio import Audio
from models.contract import DECODER_IDS, END, FRAMES, PAD, START
from models.listener import Config as ListenerConfig
from models.zoo import las

BATCH, LENGTH, VOCABULARY = 3, 23, 11
AUDIO = Audio(kind="features", depth=5, normalize="none")
SMALL = {"listener": ListenerConfig(units=6, layers=2, reduce_after=(1,)), "units": 6, "embedding": 5}


def build(**options: Any) -> las.ListenAttendSpell:
    return las.build(las.Config(**{**SMALL, "dropout": 0.0, **options}), AUDIO, VOCABULARY)


def batch() -> tuple[dict[str, np.ndarray], np.ndarray]:
    rng = np.random.default_rng(0)
    real = np.arange(LENGTH) < np.array([[LENGTH], [17], [13]])
    frames = np.concatenate([rng.normal(size=(BATCH, LENGTH, 5)) * real[..., None], real[..., None]], axis=-1)
    target = np.array([[5, 9, 9, END], [7, END, PAD, PAD], [4, 6, END, PAD]], np.int32)
    decoder = np.array([[START, 5, 9, 9], [START, 7, PAD, PAD], [START, 4, 6, PAD]], np.int32)
    return {FRAMES: frames.astype(np.float32), DECODER_IDS: decoder}, target


@pytest.mark.parametrize("weight", [0.2, 0.75])
def test_ctc_is_in_the_loss_with_its_share(weight: float) -> None:
    """Kim 2017, eq. 14, over 1 - lambda."""
    model = build(ctc_weight=weight)
    inputs, target = batch()
    decoded = model(inputs, training=True)
    logits, mask = decoded.heard
    assert logits.shape == (BATCH, 12, VOCABULARY) and logits.dtype == tf.float32
    np.testing.assert_array_equal(mask, model.source_mask(tf.constant(inputs[FRAMES])))
    alone = ctc.loss(logits, mask, tf.constant(np.where(target == END, PAD, target)))
    expected = weight * tf.reduce_sum(alone) / (1 - weight)
    np.testing.assert_allclose(model.auxiliary_loss(decoded, tf.constant(target)), expected, rtol=1e-5)


def test_training_says_what_the_speller_says_and_a_search_what_both_say() -> None:
    model = build(ctc_decoding_weight=0.4)
    inputs, _ = batch()
    speller, both = model(inputs, training=True), model(inputs)
    heard = ctc_prefix.along(ctc_prefix.hear(*speller.heard), tf.constant(inputs[DECODER_IDS]))
    expected = 0.6 * tf.nn.log_softmax(speller.logits) + 0.4 * heard
    np.testing.assert_allclose(both.logits, expected, atol=1e-4)


def test_without_ctc_there_is_none() -> None:
    model = build(ctc_weight=0.0, ctc_decoding_weight=0.0)
    inputs, target = batch()
    decoded = model(inputs, training=True)
    assert decoded.heard is None
    assert model.auxiliary_loss(decoded, tf.constant(target)) == 0
    np.testing.assert_allclose(decoded.logits, model(inputs).logits, atol=1e-6)
    assert not any("ctc" in weight.path for weight in model.weights)


def test_ctc_alone_follows_the_recording_whatever_the_speller_says() -> None:
    model = build(ctc_decoding_weight=1.0)
    inputs, _ = batch()
    heard = model.encode(tf.constant(inputs[FRAMES])).heard
    scores = ctc_prefix.along(heard, tf.constant(inputs[DECODER_IDS]))
    np.testing.assert_allclose(model(inputs).logits, scores, atol=1e-6)


def test_its_own_pieces_can_be_mixed_in() -> None:
    """Scheduled sampling is a function of `step` alone."""
    model = build()
    inputs, _ = batch()
    mixed = scheduled_sampling.mix(
        model, tf.constant(inputs[FRAMES]), inputs[DECODER_IDS], 0.0, [1, 0], "argmax"
    ).numpy()
    assert (mixed[:, 0] == START).all() and ((mixed == PAD) == (inputs[DECODER_IDS] == PAD)).all()
    said = model({FRAMES: inputs[FRAMES], DECODER_IDS: mixed}).logits.numpy()
    said[..., [PAD, START]] = -np.inf
    own = mixed[:, 1:] != PAD
    np.testing.assert_array_equal(said[:, :-1].argmax(axis=-1)[own], mixed[:, 1:][own])


@pytest.mark.parametrize("name", ["location", "general", "monotonic", "coverage"])
def test_a_model_takes_any_attention_by_name(name: str) -> None:
    config = las.Config(**{**SMALL, "attention": name})
    config.check()
    model = las.build(config, AUDIO, VOCABULARY)
    assert type(model.decoder.attention).__name__.lower() == name
    assert model(batch()[0]).logits.shape == (BATCH, 4, VOCABULARY)


def test_check_knows_how_deep_the_listener_is() -> None:
    deep = ListenerConfig(units=6, layers=2, reduce_after=(2,))
    with pytest.raises(ValueError, match="their depths must be equal, got 6 and 12"):
        las.Config(**{**SMALL, "listener": deep, "attention": "dot"}).check()
    las.Config(**{**SMALL, "listener": ListenerConfig(projection=6), "attention": "dot"}).check()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"input_feeding": True}, "input_feeding is for attend: after"),
        ({"ctc_weight": 0.0}, "ctc_decoding_weight is 0.3: it needs a ctc_weight"),
    ],
)
def test_options_that_do_not_go_together(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        las.Config(**options)
