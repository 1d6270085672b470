"""Poolings against NumPy written out."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from models.pooling import POOLINGS, Pooling, PoolingName

BATCH, SOURCE, DEPTH = 2, 7, 5
HOPS = {"structured": 3}
LENGTHS = (SOURCE, 4)
NAMES = pytest.mark.parametrize("name", sorted(POOLINGS))


def build(name: PoolingName) -> Pooling:
    return POOLINGS[name](DEPTH, HOPS.get(name, 1))


def values(seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(BATCH, SOURCE, DEPTH)).astype(np.float32)


def mask(source: int = SOURCE) -> np.ndarray:
    return np.arange(source) < np.array(LENGTHS)[:, None]


def softmax(scores: np.ndarray) -> np.ndarray:
    return np.exp(scores) / np.exp(scores).sum(axis=0)


def attention(pooling: Any, row: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Zhou 2016, eq. 9 to 12."""
    weights = softmax(np.tanh(row) @ pooling.energy.kernel.numpy())
    return np.tanh(weights.T @ row), weights


def structured(pooling: Any, row: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Lin 2017, eq. 6 and 7."""
    weights = softmax(np.tanh(row @ pooling.hidden.kernel.numpy()) @ pooling.energy.kernel.numpy())
    return weights.T @ row, weights


def gated(pooling: Any, row: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Ilse 2018, eq. 9."""
    gate = 1 / (1 + np.exp(-row @ pooling.gate.kernel.numpy()))
    weights = softmax((np.tanh(row @ pooling.content.kernel.numpy()) * gate) @ pooling.energy.kernel.numpy())
    return weights.T @ row, weights


def highest(pooling: Any, row: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    counts = np.bincount(row.argmax(axis=0), minlength=len(row))
    return row.max(axis=0), counts[:, None] / row.shape[1]


ORACLES = {"attention": attention, "structured": structured, "gated": gated, "max": highest}


@NAMES
def test_it_matches_numpy_on_rows_without_padding(name: PoolingName) -> None:
    pooling = build(name)
    vector, weights = pooling(values(), mask())
    assert vector.shape == (BATCH, pooling.depth)
    for row, length in enumerate(LENGTHS):
        expected, looked = ORACLES[name](pooling, values()[row, :length])
        np.testing.assert_allclose(vector[row], expected.reshape(-1), atol=1e-5)
        np.testing.assert_allclose(weights[row, :, :length], looked.T, atol=1e-6)


@NAMES
@settings(max_examples=10, deadline=None)
@given(seed=st.integers(0, 2**16), padding=st.integers(1, 3), fill=st.floats(-1e3, 1e3, width=32))
def test_padding_never_changes_an_output(name: PoolingName, seed: int, padding: int, fill: float) -> None:
    pooling = build(name)
    vector, weights = pooling(values(seed), mask())
    filled = np.where(mask()[..., None], values(seed), np.float32(fill))
    longer = np.concatenate([filled, np.full((BATCH, padding, DEPTH), fill, np.float32)], axis=1)
    padded = pooling(longer, mask(SOURCE + padding))
    np.testing.assert_allclose(padded.vector, vector, atol=1e-5)
    np.testing.assert_allclose(padded.weights[..., :SOURCE], weights, atol=1e-6)
    assert not padded.weights[..., SOURCE:].numpy().any()


@NAMES
def test_nothing_is_pooled_of_nothing(name: PoolingName) -> None:
    vector, weights = build(name)(values(), np.zeros((BATCH, SOURCE), bool))
    assert not vector.numpy().any() and not weights.numpy().any()


def test_hops_cost_what_they_share() -> None:
    """Lin 2017, eq. 8: ||A A^T - I||^2."""
    pooling = build("structured")
    apart = np.eye(3, SOURCE, dtype=np.float32)
    alike = np.repeat(apart[:1], 3, axis=0)
    penalty = pooling.penalty(tf.constant(np.stack([apart, alike])))
    np.testing.assert_allclose(penalty, [0.0, 6.0])
    weights = pooling(values(), mask()).weights.numpy()
    expected = [np.linalg.norm(row @ row.T - np.eye(3)) ** 2 for row in weights]
    np.testing.assert_allclose(pooling.penalty(tf.constant(weights)), expected, rtol=1e-5)


def test_every_pooling_has_an_oracle() -> None:
    assert sorted(ORACLES) == sorted(POOLINGS)
