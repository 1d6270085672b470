"""Monotonic attention in training: the expected alignment, against every way in which the stops can fall."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from models.attention import build
from models.attention.monotonic import expected
from tests.models.attention_cases import BATCH, QUERY, SOURCE, arrays, ask, make
from tests.models.test_attention_oracles import energy, sigmoid


def in_a_row(energies: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Ours, one row: [query, source], bool [source] -> expected alignments [query, source]."""
    before = tf.one_hot([[0]], len(mask))
    rows = []
    for each in energies:
        before = expected(tf.constant(each[None, None], tf.float32), tf.constant(mask[None, None]), before)
        rows.append(before[0, 0])
    return np.array(rows)


def recurrence(energies: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Raffel 2017, eq. 11 to 14, in float64."""
    before, rows = np.eye(len(mask))[0], []
    for each in energies:
        p = sigmoid(each.astype(np.float64)) * mask
        q = np.zeros(len(mask))
        for j in range(len(mask)):
            q[j] = ((1 - p[j - 1]) * q[j - 1] if j else 0.0) + before[j]
        before = p * q
        rows.append(before)
    return np.array(rows)


def test_expected_alignments_are_those_of_every_draw() -> None:
    """All 2^12 outcomes of three queries at four positions, the third of which is masked, through the hard process."""
    rng = np.random.default_rng(0)
    energies, mask = rng.normal(size=(3, 4)), np.array([True, True, False, True])
    p = sigmoid(energies) * mask
    total = np.zeros((3, 4))
    for outcome in itertools.product([0, 1], repeat=12):
        stops = np.reshape(outcome, (3, 4))
        chance = np.prod(np.where(stops, p, 1 - p))
        position = 0
        for query in range(3):
            while position < 4 and not stops[query, position]:
                position += 1
            if position < 4:
                total[query, position] += chance
    np.testing.assert_allclose(in_a_row(energies, mask), total, atol=1e-6)
    np.testing.assert_allclose(recurrence(energies, mask), total, atol=1e-12)


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 2**16), scale=st.sampled_from([1.0, 10.0, 60.0]), source=st.sampled_from([1, 13, 61]))
def test_no_energy_is_too_large(seed: int, scale: float, source: int) -> None:
    """Where p rounds to 1 the quotient of cumulative products loses what comes after; the sum must not."""
    rng = np.random.default_rng(seed)
    energies, mask = scale * rng.normal(size=(7, source)).astype(np.float32), rng.random(source) < 0.9
    np.testing.assert_allclose(in_a_row(energies, mask), recurrence(energies, mask), atol=1e-4)


def test_weights_in_training_are_expected_alignments() -> None:
    layer = make("monotonic")
    query, values, mask = arrays("monotonic")
    answer = ask(layer, query, values, mask, training=True)
    for row in range(BATCH):
        energies = [[energy(layer, query[row, t], values[row, j]) for j in range(SOURCE)] for t in range(QUERY)]
        weights = recurrence(np.array(energies), mask[row])
        np.testing.assert_allclose(answer.weights[row], weights, atol=1e-5)
        np.testing.assert_allclose(answer.context[row], weights @ values[row], atol=1e-4)


def test_who_runs_past_the_end_sees_nothing_and_stays_there() -> None:
    layer = make("monotonic", initial_bias=0.0)
    query, values, mask = arrays("monotonic")
    layer.gain.assign(0.0)
    layer.bias.assign(-1.0)  # nothing says stop
    keys = layer.prepare(tf.constant(values), tf.constant(mask))
    lost = layer(query[:, :1], keys, layer.begin(keys))
    layer.bias.assign(1.0)  # everything does
    for answer in (lost, layer(query[:, 1:2], keys, lost.state)):
        assert not answer.weights.numpy().any() and not answer.context.numpy().any()
    found = layer(query[:, :1], keys, layer.begin(keys))
    np.testing.assert_array_equal(found.weights[:, 0], np.eye(SOURCE)[mask.argmax(axis=1)])


def test_noise_is_for_training_and_has_its_size() -> None:
    layer = make("monotonic", noise=0.5)
    layer.gain.assign(0.0)
    layer.bias.assign(0.0)
    query = tf.zeros([1, 5003, layer.depth])
    keys = layer.prepare(tf.zeros([1, 1, layer.value_depth]), tf.ones([1, 1], tf.bool))
    state = tf.ones([1, 5003, 1])
    first, second = (layer(query, keys, state, training=True).weights.numpy() for _ in range(2))
    energies = np.log(first / (1 - first))  # of a single position the weight is p
    assert (energies.mean(), energies.std()) == (pytest.approx(0, abs=0.03), pytest.approx(0.5, abs=0.03))
    assert np.abs(first - second).max() > 0.1
    assert (layer(query, keys, state).weights.numpy() == 1).all()


def test_the_bias_starts_as_the_config_says() -> None:
    layer = build({"name": "monotonic", "initial_bias": -4.0}, 7, 11)
    assert (float(layer.bias), float(layer.gain)) == (-4.0, pytest.approx(7**-0.5))
