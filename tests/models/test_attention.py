"""Attention against NumPy written out, and what must hold for every mechanism."""

from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from models.attention import ATTENTIONS, Dot, masked_softmax

BATCH, QUERY, SOURCE, DEPTH = 2, 3, 5, 7
NAMES = sorted(ATTENTIONS)


def value_depth(name: str) -> int:
    return DEPTH if name == "dot" else 11


def arrays(name: str, seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    mask = rng.random((BATCH, SOURCE)) < 0.6
    mask[:, 0] = True
    query = rng.normal(size=(BATCH, QUERY, DEPTH)).astype(np.float32)
    return query, rng.normal(size=(BATCH, SOURCE, value_depth(name))).astype(np.float32), mask


def score(name: str, layer: keras.Layer, query: np.ndarray, key: np.ndarray) -> float:
    """One query vector and one key vector -> one number, as the papers write it."""
    if name == "dot":
        return query @ key
    if name == "general":
        return query @ (key @ layer.keys.kernel.numpy())
    queries, keys, energy = (part.kernel.numpy() for part in (layer.queries, layer.keys, layer.energy))
    return np.tanh(np.concatenate([query, key]) @ np.concatenate([queries, keys])) @ energy[:, 0]


@pytest.mark.parametrize("name", NAMES)
def test_matches_numpy(name: str) -> None:
    layer = ATTENTIONS[name](DEPTH, value_depth(name))
    query, values, mask = arrays(name)
    context, weights = layer(query, layer.prepare(values, mask))
    for b in range(BATCH):
        for q in range(QUERY):
            exponents = np.exp([score(name, layer, query[b, q], values[b, s]) for s in range(SOURCE)]) * mask[b]
            expected = exponents / exponents.sum()
            np.testing.assert_allclose(weights[b, q], expected, atol=1e-5)
            np.testing.assert_allclose(context[b, q], expected @ values[b], atol=1e-4)


@pytest.mark.parametrize("name", NAMES)
def test_a_row_without_keys_gives_zeros_and_finite_gradients(name: str) -> None:
    layer = ATTENTIONS[name](DEPTH, value_depth(name))
    query, values, mask = (tf.constant(array) for array in arrays(name))
    mask = tf.concat([mask[:1], tf.zeros_like(mask[1:])], axis=0)
    with tf.GradientTape() as tape:
        tape.watch([query, values])
        context, weights = layer(query, layer.prepare(values, mask))
        total = tf.reduce_sum(context**2)
    np.testing.assert_array_equal(weights[1], np.zeros((QUERY, SOURCE)))
    np.testing.assert_array_equal(context[1], np.zeros((QUERY, value_depth(name))))
    for gradient in tape.gradient(total, [query, values, *layer.trainable_variables]):
        assert np.isfinite(gradient).all()


@pytest.mark.parametrize("name", NAMES)
@settings(max_examples=10, deadline=None)
@given(seed=st.integers(0, 2**16), padding=st.integers(1, 3), scale=st.sampled_from([0.0, 1.0, 1e4]))
def test_padding_never_changes_an_output(name: str, seed: int, padding: int, scale: float) -> None:
    layer = ATTENTIONS[name](DEPTH, value_depth(name))
    query, values, mask = arrays(name, seed)
    longer = np.concatenate([values, np.full((BATCH, padding, value_depth(name)), scale, np.float32)], axis=1)
    context, weights = layer(query, layer.prepare(values, mask))
    padded = layer(query, layer.prepare(longer, np.pad(mask, [(0, 0), (0, padding)])))
    np.testing.assert_allclose(padded.context, context, atol=1e-5)
    np.testing.assert_allclose(padded.weights, np.pad(weights, [(0, 0), (0, 0), (0, padding)]), atol=1e-6)


@pytest.mark.parametrize("name", NAMES)
def test_the_order_of_the_keys_does_not_matter(name: str) -> None:
    layer = ATTENTIONS[name](DEPTH, value_depth(name))
    query, values, mask = arrays(name)
    order = np.random.default_rng(1).permutation(SOURCE)
    context, weights = layer(query, layer.prepare(values, mask))
    shuffled = layer(query, layer.prepare(values[:, order], mask[:, order]))
    np.testing.assert_allclose(shuffled.context, context, atol=1e-5)
    np.testing.assert_allclose(shuffled.weights, weights.numpy()[:, :, order], atol=1e-6)


@pytest.mark.parametrize("name", NAMES)
def test_the_softmax_is_float32_under_mixed_precision(name: str) -> None:
    policy = keras.config.dtype_policy()
    keras.config.set_dtype_policy("mixed_bfloat16")
    layer = ATTENTIONS[name](DEPTH, value_depth(name))
    keras.config.set_dtype_policy(policy)
    query, values, mask = arrays(name)
    context, weights = layer(tf.cast(query, tf.bfloat16), layer.prepare(tf.cast(values, tf.bfloat16), mask))
    assert (context.dtype, weights.dtype) == (tf.bfloat16, tf.float32)
    np.testing.assert_allclose(tf.reduce_sum(weights, axis=-1), np.ones((BATCH, QUERY)), atol=1e-6)


def test_masked_softmax_does_not_mind_large_scores() -> None:
    weights = masked_softmax(tf.constant([[3e4, -3e4, 3e4, 9e9]]), tf.constant([[True, True, True, False]]))
    np.testing.assert_allclose(weights, [[0.5, 0.0, 0.5, 0.0]])


def test_dot_wants_equal_depths() -> None:
    with pytest.raises(ValueError, match=r"depths must be equal, got 7 and 11; general attention takes any"):
        Dot(7, 11)
