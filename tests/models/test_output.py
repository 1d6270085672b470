"""The projections to pieces against NumPy written out."""

from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf

from models import output
from models.layers import Embedding
from models.output import Pointer, TiedLogits
from models.zoo import rnn

BATCH, TARGET, SOURCE, DEPTH, VOCABULARY = 2, 3, 5, 7, 11


def test_tied_logits_are_products_with_the_embeddings() -> None:
    embedding = Embedding(VOCABULARY, DEPTH, scaled=True)
    layer = TiedLogits(embedding)
    layer.bias.assign(np.arange(VOCABULARY))
    vector = np.random.default_rng(0).normal(size=(BATCH, TARGET, DEPTH)).astype(np.float32)
    expected = vector @ embedding.embeddings.numpy().T + np.arange(VOCABULARY)
    np.testing.assert_allclose(layer(vector), expected, atol=1e-5)


@pytest.mark.parametrize("tied", ["none", "output"])
def test_logits_of_a_bfloat16_product_are_float32(tied: output.Tied) -> None:
    policy = keras.config.dtype_policy()
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        _, targets = output.embeddings(VOCABULARY, VOCABULARY, DEPTH, tied)
        layer = output.logits(targets, DEPTH, tied)
    finally:
        keras.config.set_dtype_policy(policy)
    vector = np.random.default_rng(0).normal(size=(BATCH, TARGET, DEPTH)).astype(np.float32)
    kernel = layer.kernel.numpy() if tied == "none" else targets.embeddings.numpy().T
    found = layer(vector)
    assert found.dtype == tf.float32
    np.testing.assert_allclose(found, vector @ kernel, atol=0.05)
    assert np.abs(found - vector @ kernel).max() > 1e-4, "the product was not made in bfloat16"
    layer.bias.assign(np.full(VOCABULARY, 5.03))  # which bfloat16 does not have
    np.testing.assert_allclose(layer(vector) - found, np.full_like(found, 5.03), atol=1e-5)


def test_the_pointer_mixes_as_the_paper_says() -> None:
    """See 2017, eq. 8 and 9, over a vocabulary that both sides share."""
    rng = np.random.default_rng(0)
    logits = rng.normal(size=(BATCH, TARGET, VOCABULARY)).astype(np.float32)
    features = rng.normal(size=(BATCH, TARGET, DEPTH)).astype(np.float32)
    source = np.array([[7, 9, 7, 3, 0], [4, 3, 0, 0, 0]], np.int32)  # a piece may stand twice in a source
    weights = rng.random((BATCH, TARGET, SOURCE)).astype(np.float32) * (source != 0)[:, None]
    weights /= weights.sum(-1, keepdims=True)
    layer = Pointer(DEPTH)
    found = np.exp(layer(logits, features, weights, source))
    gate = 1 / (1 + np.exp(-(features @ layer.gate.kernel.numpy() + layer.gate.bias.numpy())))[..., 0]
    for b, t in np.ndindex(BATCH, TARGET):
        expected = np.exp(logits[b, t]) / np.exp(logits[b, t]).sum() * gate[b, t]
        for position, piece in enumerate(source[b]):
            expected[piece] += (1 - gate[b, t]) * weights[b, t, position]
        np.testing.assert_allclose(found[b, t], expected, atol=1e-6)
    np.testing.assert_allclose(found.sum(-1), np.ones((BATCH, TARGET)), atol=1e-5)


def test_a_piece_that_is_nowhere_in_the_source_has_finite_gradients() -> None:
    layer = Pointer(DEPTH)
    logits, features = tf.zeros([1, 1, VOCABULARY]), tf.zeros([1, 1, DEPTH])
    with tf.GradientTape() as tape:
        tape.watch([logits, features])
        said = layer(logits, features, tf.ones([1, 1, 1]), tf.constant([[4]]))[0, 0, 9]
    for gradient in tape.gradient(said, [logits, features]):
        assert np.isfinite(gradient).all()


@pytest.mark.parametrize("options", [{"copy": True}, {"tie_embeddings": "all"}])
def test_pieces_must_be_shared(options: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="pieces that source and target share, got vocabularies of 17 and 19"):
        rnn.build(rnn.Config(units=4, embedding=4, **options), 17, 19)


@pytest.mark.parametrize("section", ["none", {"name": "none"}])
def test_what_is_looked_at_nowhere_cannot_be_copied(section: str | dict[str, str]) -> None:
    with pytest.raises(ValueError, match="with attention: none there is nothing to copy"):
        rnn.Config(attention=section, copy=True)


def test_input_feeding_is_for_after() -> None:
    with pytest.raises(ValueError, match="input_feeding is for attend: after"):
        rnn.Config(attend="before", input_feeding=True)
