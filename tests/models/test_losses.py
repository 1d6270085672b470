"""The loss against NumPy."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from models.losses import label_smoothed_cross_entropy, log_likelihood

BATCH, TARGET, VOCABULARY = 2, 3, 7
IDS = np.array([[5, 3, 0], [6, 1, 3]])


@pytest.mark.parametrize("smoothing", [0.0, 0.1, 0.5])
def test_matches_numpy(smoothing: float) -> None:
    logits = np.random.default_rng(0).normal(size=(BATCH, TARGET, VOCABULARY)).astype(np.float32) * 3
    log_probabilities = np.log(np.exp(logits) / np.exp(logits).sum(-1, keepdims=True))
    target = (1 - smoothing) * np.eye(VOCABULARY)[IDS] + smoothing / VOCABULARY
    expected = -(target * log_probabilities).sum(-1)[IDS != 0].sum()
    loss, pieces = label_smoothed_cross_entropy(tf.constant(IDS, tf.int64), tf.constant(logits), smoothing)
    np.testing.assert_allclose(loss, expected, rtol=1e-5)
    assert float(pieces) == 5.0


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_padding_adds_neither_loss_nor_gradient(smoothing: float) -> None:
    logits = tf.constant(np.random.default_rng(0).normal(size=(BATCH, TARGET, VOCABULARY)), tf.float32)
    with tf.GradientTape() as tape:
        tape.watch(logits)
        loss, _ = label_smoothed_cross_entropy(tf.constant(IDS), logits, smoothing)
    gradient = tape.gradient(loss, logits).numpy()
    np.testing.assert_array_equal(gradient[0, 2], np.zeros(VOCABULARY))
    assert (np.abs(gradient[IDS != 0]).max(-1) > 0).all()


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_the_gradient_is_that_of_the_formula(smoothing: float) -> None:
    """It is written out in the code; here TensorFlow makes it from the definition."""
    logits = tf.constant(np.random.default_rng(0).normal(size=(BATCH, TARGET, VOCABULARY)), tf.float32)
    with tf.GradientTape(persistent=True) as tape:
        tape.watch(logits)
        ours = 7.0 * label_smoothed_cross_entropy(tf.constant(IDS), logits, smoothing)[0]
        target = (1 - smoothing) * tf.one_hot(IDS, VOCABULARY) + smoothing / VOCABULARY
        each = -tf.reduce_sum(target * tf.nn.log_softmax(logits), axis=-1)
        plain = 7.0 * tf.reduce_sum(tf.where(IDS != 0, each, 0.0))
    np.testing.assert_allclose(tape.gradient(ours, logits), tape.gradient(plain, logits), atol=1e-5)


def test_the_log_likelihood_has_a_gradient_for_each_piece() -> None:
    logits = tf.constant(np.random.default_rng(0).normal(size=(BATCH, TARGET, VOCABULARY)), tf.float32)
    weights = tf.constant([[1.0, -2.0, 0.5], [3.0, 0.0, -1.0]])
    with tf.GradientTape(persistent=True) as tape:
        tape.watch(logits)
        ours = tf.reduce_sum(weights * log_likelihood(tf.constant(IDS), logits))
        plain = tf.reduce_sum(weights * tf.gather(tf.nn.log_softmax(logits), IDS, batch_dims=2))
    np.testing.assert_allclose(ours, plain, rtol=1e-5)
    np.testing.assert_allclose(tape.gradient(ours, logits), tape.gradient(plain, logits), atol=1e-5)


def test_bfloat16_logits_are_summed_in_float32() -> None:
    logits = tf.zeros([BATCH, TARGET, VOCABULARY], tf.bfloat16)
    loss, pieces = label_smoothed_cross_entropy(tf.constant(IDS), logits, 0.1)
    assert (loss.dtype, pieces.dtype) == (tf.float32, tf.float32)
    np.testing.assert_allclose(loss, 5 * np.log(VOCABULARY), rtol=1e-6)


def test_a_batch_of_padding_is_zero_over_zero_pieces() -> None:
    loss, pieces = label_smoothed_cross_entropy(tf.zeros([1, 2], tf.int32), tf.ones([1, 2, VOCABULARY]), 0.1)
    assert (float(loss), float(pieces)) == (0.0, 0.0)
