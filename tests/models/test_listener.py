"""The pyramid and its convolutions against NumPy written out."""

from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from models.audio import Audio
from models.listener import Config, Convolution, Listener, Subsampling, join, real_frames, source_of

BATCH, FRAMES, BANDS, PLANES = 2, 11, 7, 3
DEPTH = BANDS * PLANES
LENGTHS = (FRAMES, 5)
FRONT = Convolution(channels=5, strides=(2, 3))


def features(seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(BATCH, FRAMES, DEPTH)).astype(np.float32)


def mask(frames: int = FRAMES) -> np.ndarray:
    return np.arange(frames) < np.array(LENGTHS)[:, None]


def shake(layer: keras.Layer) -> None:
    """Biases start at zero, which would hide a bias that is left out."""
    rng = np.random.default_rng(7)
    for weight in layer.weights:
        weight.assign(weight.numpy() + rng.normal(size=weight.shape, scale=0.1))


def convolved(planes: np.ndarray, layer: keras.Layer, stride: int) -> np.ndarray:
    """One row without padding: [frames, bands, channels] -> 3 x 3 around every `stride`-th frame and band, and ReLU."""
    around = np.pad(planes, [(1, 1), (1, 1), (0, 0)])
    places = np.ndindex(-(-planes.shape[0] // stride), -(-planes.shape[1] // stride))
    kernel, bias = layer.kernel.numpy(), layer.bias.numpy()
    found = {
        (t, b): np.tensordot(around[stride * t : stride * t + 3, stride * b : stride * b + 3], kernel, 3) + bias
        for t, b in places
    }
    shape = np.max(list(found), axis=0) + 1
    return np.maximum(np.reshape(list(found.values()), [*shape, -1]), 0)


def test_convolutions_match_numpy_on_rows_without_padding() -> None:
    front = Subsampling(FRONT, DEPTH, PLANES)
    shake(front)
    inputs = features()
    outputs, reduced = front(inputs, mask())
    np.testing.assert_array_equal(reduced, [[True, True], [True, False]])  # of 11 frames 6, then 2; of 5 frames 3, 1
    assert outputs.shape == (BATCH, 2, front.depth)
    for row, length in enumerate(LENGTHS):
        # Deltas are beside the bands, plane by plane.
        expected = inputs[row, :length].reshape(length, PLANES, BANDS).transpose(0, 2, 1)
        for layer, stride in zip(front.layers, FRONT.strides, strict=True):
            expected = convolved(expected, layer, stride)
        np.testing.assert_allclose(outputs[row, : len(expected)], expected.reshape(len(expected), -1), atol=1e-5)


@pytest.mark.parametrize("time", [1, 4, 5])
def test_outputs_are_joined_in_pairs(time: int) -> None:
    outputs = np.random.default_rng(0).normal(size=(BATCH, time, 3)).astype(np.float32)
    lengths = [time, max(1, time - 2)]
    joined, reduced = join(tf.constant(outputs), tf.sequence_mask(lengths, time))
    for row, length in enumerate(lengths):
        for place in range((time + 1) // 2):
            pair = [outputs[row, t] if t < length else np.zeros(3) for t in (2 * place, 2 * place + 1)]
            np.testing.assert_array_equal(joined[row, place], np.concatenate(pair))
            assert bool(reduced[row, place]) == (2 * place < length)


CONFIGS = [
    Config("gru", 4, 3, (1, 3)),
    Config("lstm", 4, 2, (1,), projection=5, convolution=FRONT),
    Config("simple", 4, 2, (), layer_norm=True),
]


@pytest.mark.parametrize("config", CONFIGS)
def test_how_long_and_how_deep(config: Config) -> None:
    listener = Listener(config, DEPTH, 0.0, PLANES)
    outputs, reduced, summary = listener(features(), mask())
    assert outputs.shape == (BATCH, -(-FRAMES // config.frames_per_position), listener.depth)
    assert summary.shape == (BATCH, config.units)
    np.testing.assert_array_equal(reduced, listener.positions(tf.constant(mask())))


def test_a_pyramid_is_layers_and_joins() -> None:
    """Chan 2015, eq. 5: a layer hears pairs of what the one below said."""
    listener = Listener(Config("gru", 4, 2, (1,), projection=3), DEPTH, 0.0)
    shake(listener)
    outputs, reduced, summary = listener(features(), mask())
    low, high = listener.layers
    below, _ = low(features(), mask())
    pairs, expected_mask = join(below, tf.constant(mask()))
    above, expected_summary = high(listener.projections[0](pairs), expected_mask)
    np.testing.assert_array_equal(reduced, expected_mask)
    np.testing.assert_allclose(outputs, listener.projections[1](above), atol=1e-6)
    np.testing.assert_allclose(summary, expected_summary, atol=1e-6)


@pytest.mark.parametrize("config", CONFIGS)
@settings(max_examples=10, deadline=None)
@given(seed=st.integers(0, 2**16), padding=st.integers(1, 7), fill=st.floats(-1e3, 1e3, width=32))
def test_padding_never_changes_an_output(config: Config, seed: int, padding: int, fill: float) -> None:
    listener = Listener(config, DEPTH, 0.5, PLANES)
    shake(listener)
    inputs = features(seed)
    outputs, reduced, summary = listener(inputs, mask())
    filled = np.where(mask()[..., None], inputs, np.float32(fill))
    longer = np.concatenate([filled, np.full((BATCH, padding, DEPTH), fill, np.float32)], axis=1)
    padded, longer_mask, padded_summary = listener(longer, mask(FRAMES + padding))
    positions = reduced.shape[1]
    assert not longer_mask[:, positions:].numpy().any()
    for row, length in enumerate(np.count_nonzero(reduced, axis=1)):
        np.testing.assert_allclose(padded[row, :length], outputs[row, :length], atol=1e-5)
    np.testing.assert_allclose(padded_summary, summary, atol=1e-5)


def test_dropout_is_between_layers_in_training_only() -> None:
    listener = Listener(Config("gru", 4, 2, ()), DEPTH, 0.5)
    resting = listener(features(), mask())[0]
    np.testing.assert_array_equal(resting, listener(features(), mask(), training=False)[0])
    assert np.abs(resting - listener(features(), mask(), training=True)[0]).max() > 1e-3
    alone = Listener(Config("gru", 4, 1, ()), DEPTH, 0.5)
    np.testing.assert_allclose(alone(features(), mask(), training=True)[0], alone(features(), mask())[0], atol=1e-6)


@pytest.mark.parametrize("named", [(3,), (1, 1), (2, 5)])
def test_layers_that_are_not_there_cannot_be_joined(named: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=r"reduce_after names layers, each once, from 1 to 2: got \[\d"):
        Config(layers=2, reduce_after=named)


def test_frames_cross_the_boundary_with_their_mask() -> None:
    spec = source_of(Audio(kind="features", depth=13))
    assert (spec.name, spec.shape.as_list(), spec.dtype) == ("frames", [None, None, 14], tf.float32)
    frames = np.concatenate([np.zeros((BATCH, FRAMES, 13)), mask()[..., None]], axis=-1)
    np.testing.assert_array_equal(real_frames(tf.constant(frames)), mask())
