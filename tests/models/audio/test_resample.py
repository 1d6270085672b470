"""Resampling against the formula written out in NumPy, and sines that come back or disappear."""

from __future__ import annotations

import math

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given
from hypothesis import strategies as st

from models.audio import resample as module
from models.audio.resample import CUTOFF, ZEROS, resample

RATES = [
    (96_000, 16_000),
    (44_100, 16_000),
    (8_000, 16_000),
    (16_000, 11_025),
    (44_056, 16_000),
    (11_127, 16_000),
    (9, 10),
]


def oracle(x: np.ndarray, from_hz: int, to_hz: int) -> np.ndarray:
    """Every output as a sum over all inputs, in float64."""
    scale = CUTOFF * min(1.0, to_hz / from_hz)
    times = np.arange(math.ceil(len(x) * to_hz / from_hz)) * from_hz / to_hz
    distance = times[:, None] - np.arange(len(x))
    angle = np.pi * np.clip(distance * scale / ZEROS, -1, 1)
    window = 0.42 + 0.5 * np.cos(angle) + 0.08 * np.cos(2 * angle)
    return (scale * np.sinc(scale * distance) * window) @ x


@pytest.mark.parametrize(("from_hz", "to_hz"), RATES)
@pytest.mark.parametrize("length", [1, 2, 997])
def test_it_is_the_formula(from_hz: int, to_hz: int, length: int) -> None:
    x = np.random.default_rng(length).uniform(-1, 1, length).astype(np.float32)
    expected = oracle(x, from_hz, to_hz)
    np.testing.assert_allclose(resample(x, from_hz, to_hz), expected, atol=2e-5)
    compiled = tf.function(resample, input_signature=[tf.TensorSpec([None]), *[tf.TensorSpec([], tf.int32)] * 2])
    np.testing.assert_allclose(compiled(x, from_hz, to_hz), expected, atol=2e-5)


@pytest.mark.parametrize(("from_hz", "to_hz"), RATES)
@pytest.mark.parametrize("share", [0.01, 0.37, 0.9])
def test_a_sine_below_both_nyquist_frequencies_comes_back(from_hz: int, to_hz: int, share: float) -> None:
    per_second = share * min(from_hz, to_hz) / 2
    count = 3001
    x = np.sin(2 * np.pi * per_second / from_hz * np.arange(count)).astype(np.float32)
    got = resample(x, from_hz, to_hz).numpy()
    expected = np.sin(2 * np.pi * per_second / to_hz * np.arange(len(got)))
    edge = math.ceil(ZEROS / CUTOFF * max(1.0, to_hz / from_hz)) + 1  # where silence is heard
    assert len(got) == math.ceil(count * to_hz / from_hz) and len(got) > 2 * edge
    np.testing.assert_allclose(got[edge:-edge], expected[edge:-edge], atol=1e-3)


@pytest.mark.parametrize(("from_hz", "to_hz"), [rates for rates in RATES if rates[0] > rates[1]])
@pytest.mark.parametrize("share", [1.0, 1.1, 1.37])
def test_a_sine_above_the_new_nyquist_frequency_disappears(from_hz: int, to_hz: int, share: float) -> None:
    per_second = min(share * to_hz / 2, 0.49 * from_hz)
    x = np.sin(2 * np.pi * per_second / from_hz * np.arange(3001)).astype(np.float32)
    got = resample(x, from_hz, to_hz).numpy()
    edge = math.ceil(ZEROS / CUTOFF) + 1
    assert np.abs(got[edge:-edge]).max() < 1e-3


@pytest.mark.parametrize(("from_hz", "to_hz"), RATES)
def test_blocks_are_not_heard(from_hz: int, to_hz: int, monkeypatch: pytest.MonkeyPatch) -> None:
    x = np.random.default_rng(3).uniform(-1, 1, 4001).astype(np.float32)
    whole = resample(x, from_hz, to_hz).numpy()
    monkeypatch.setattr(module, "BLOCK", 1009)
    np.testing.assert_allclose(resample(x, from_hz, to_hz), whole, atol=1e-6)


def test_the_same_rate_is_the_same_samples() -> None:
    x = np.random.default_rng(5).uniform(-1, 1, 101).astype(np.float32)
    np.testing.assert_array_equal(resample(x, 7, 7), x)


@given(st.integers(0, 300), st.integers(0, 300), st.sampled_from([(3, 2), (10, 11), (16_000, 11_025)]))
def test_rows_and_their_padding_do_not_change_each_other(first: int, second: int, rates: tuple[int, int]) -> None:
    generator = np.random.default_rng(first)
    rows = np.zeros([2, max(first, second) + 13], np.float32)
    rows[0, :first], rows[1, :second] = generator.uniform(-1, 1, first), generator.uniform(-1, 1, second)
    together = resample(rows, *rates).numpy()
    for row, length in enumerate((first, second)):
        alone = resample(rows[row, :length], *rates).numpy()
        np.testing.assert_allclose(together[row, : len(alone)], alone, atol=1e-5)
