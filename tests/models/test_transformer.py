"""The Transformer's blocks against NumPy written out; what every family promises is in tests/conformance."""

from __future__ import annotations

import collections

import keras
import numpy as np
import pytest
import tensorflow as tf

from models.attention import Keys
from models.contract import DECODER_IDS, SOURCE_IDS
from models.layers import Dropout
from models.transformer import DecoderLayer, EncoderLayer, LayerShape, Residual, sinusoids
from models.zoo import transformer

BATCH, SOURCE, TARGET, UNITS, HEADS, HIDDEN = 2, 5, 3, 14, 7, 11


def shape(norm: str) -> LayerShape:
    return LayerShape(UNITS, HEADS, HIDDEN, norm, dropout=0.3)  # type: ignore[arg-type]


def randomise(layer: keras.layers.Layer) -> None:
    """Biases and gains start where leaving them out would not be seen."""
    rng = np.random.default_rng(5)
    for weight in layer.trainable_variables:
        weight.assign(rng.normal(size=weight.shape) * 0.5)


def normal(layer: keras.layers.Layer, x: np.ndarray) -> np.ndarray:
    scaled = (x - x.mean(-1, keepdims=True)) / np.sqrt(x.var(-1, keepdims=True) + 1e-5)
    return scaled * layer.gamma.numpy() + layer.beta.numpy()


def dense(layer: keras.layers.Dense, x: np.ndarray) -> np.ndarray:
    return x @ layer.kernel.numpy() + (layer.bias.numpy() if layer.use_bias else 0.0)


def multi_head(layer: keras.layers.Layer, queries: np.ndarray, values: np.ndarray, look: np.ndarray) -> np.ndarray:
    """[query, units], [source, units], bool [query, source] -> [query, units]."""
    q, k, v = dense(layer.queries, queries), dense(layer.keys, values), dense(layer.values, values)
    size = UNITS // HEADS
    heads = []
    for n in range(0, UNITS, size):
        scores = np.where(look, q[:, n : n + size] @ k[:, n : n + size].T / np.sqrt(size), -np.inf)
        weights = np.exp(scores - scores.max(-1, keepdims=True))
        heads.append(weights / weights.sum(-1, keepdims=True) @ v[:, n : n + size])
    return dense(layer.contexts, np.concatenate(heads, -1))


def around(residual: keras.layers.Layer, norm: str, x: np.ndarray, function: object) -> np.ndarray:
    if norm == "pre":
        return x + function(normal(residual.norm, x))  # type: ignore[operator]
    return normal(residual.norm, x + function(x))  # type: ignore[operator]


def feed_forward(layer: keras.layers.Layer, norm: str, x: np.ndarray) -> np.ndarray:
    return around(layer.around, norm, x, lambda y: dense(layer.outputs, np.maximum(dense(layer.hidden, y), 0)))


@pytest.mark.parametrize("norm", ["pre", "post"])
def test_an_encoder_layer_is_the_paper_written_out(norm: str) -> None:
    layer = EncoderLayer(shape(norm))
    randomise(layer)
    inputs = np.random.default_rng(1).normal(size=(BATCH, SOURCE, UNITS)).astype(np.float32)
    mask = np.array([[True] * SOURCE, [True, True, True, False, False]])
    found = layer(inputs, mask).numpy()
    for row in range(BATCH):
        look = np.broadcast_to(mask[row], (SOURCE, SOURCE))
        x = around(layer.around_attention, norm, inputs[row], lambda y: multi_head(layer.attention, y, y, look))  # noqa: B023
        np.testing.assert_allclose(found[row], feed_forward(layer.feed_forward, norm, x), atol=1e-4)


@pytest.mark.parametrize("norm", ["pre", "post"])
def test_a_decoder_layer_is_the_paper_written_out(norm: str) -> None:
    layer = DecoderLayer(shape(norm))
    randomise(layer)
    rng = np.random.default_rng(1)
    inputs = rng.normal(size=(BATCH, TARGET, UNITS)).astype(np.float32)
    source = rng.normal(size=(BATCH, SOURCE, UNITS)).astype(np.float32)
    mask = np.array([[True] * SOURCE, [True, True, True, False, False]])
    past = np.tril(np.ones((TARGET, TARGET), bool))
    keys: Keys = layer.attention.prepare(tf.constant(source), tf.constant(mask))
    found, weights = layer(inputs, past[None], keys)
    np.testing.assert_allclose(tf.reduce_sum(weights, -1), np.ones((BATCH, TARGET)), atol=1e-5)
    for row in range(BATCH):
        look = np.broadcast_to(mask[row], (TARGET, SOURCE))
        x = around(
            layer.around_self_attention, norm, inputs[row], lambda y: multi_head(layer.self_attention, y, y, past)
        )
        x = around(layer.around_attention, norm, x, lambda y: multi_head(layer.attention, y, source[row], look))  # noqa: B023
        np.testing.assert_allclose(found[row], feed_forward(layer.feed_forward, norm, x), atol=1e-4)


def test_positions_are_sines_and_cosines() -> None:
    """Vaswani 2017, section 3.5: of wave lengths from 2 pi to 10,000 * 2 pi."""
    depth, position = 6, 17
    angles = [position / 10_000 ** (2 * i / depth) for i in range(depth // 2)]
    expected = [*np.sin(angles), *np.cos(angles)]
    np.testing.assert_allclose(sinusoids(tf.constant([0, position]), depth)[1], expected, rtol=1e-4)
    assert sinusoids(tf.constant([[3]]), 5).shape == (1, 1, 5)


def test_positions_beyond_the_learned_ones_are_the_last() -> None:
    config = transformer.Config(units=4, heads=2, learned_positions=3)
    positions = transformer.Positions(config)(tf.constant([1, 2, 3, 99]))
    assert np.abs(positions[0] - positions[1]).max() > 0
    np.testing.assert_array_equal(positions[1:], np.repeat(positions[1:2], 3, axis=0))


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"units": 10, "heads": 4}, "units must be a multiple of heads, which share them: got 10 and 4"),
        ({"decoder_layers": 2, "alignment_layer": 3}, "alignment_layer is 3, expected at most 2"),
    ],
)
def test_shapes_that_cannot_be_are_refused(options: dict[str, int], text: str) -> None:
    with pytest.raises(ValueError, match=text):
        transformer.Config(**options)  # type: ignore[arg-type]


def test_the_layer_that_is_asked_for_tells_the_alignment() -> None:
    shapes = [transformer.Config(units=8, heads=2, decoder_layers=4, alignment_layer=layer) for layer in (None, 1, 4)]
    assert [transformer.build(config, 7, 7).alignment_layer for config in shapes] == [2, 0, 3]
    assert transformer.build(transformer.Config(units=8, heads=2, decoder_layers=1), 7, 7).alignment_layer == 0


@pytest.mark.parametrize("norm", ["pre", "post"])
def test_every_sub_layer_has_dropout_in_training(norm: str, monkeypatch: pytest.MonkeyPatch) -> None:
    dropped: list[tuple[Dropout, bool]] = []
    whole = Dropout.call

    def call(self: Dropout, inputs: tf.Tensor, training: bool = False) -> tf.Tensor:
        dropped.append((self, training))
        return whole(self, inputs, training=training)

    monkeypatch.setattr(Dropout, "call", call)
    config = transformer.Config(units=6, heads=2, feed_forward=5, encoder_layers=2, decoder_layers=3, norm=norm)  # type: ignore[arg-type]
    inputs = {SOURCE_IDS: np.full((1, 3), 5, np.int32), DECODER_IDS: np.full((1, 2), 5, np.int32)}
    for training in (False, True):
        model = transformer.build(config, 7, 7)
        model(inputs, training=training)
        layers = [layer for layer in model._flatten_layers() if isinstance(layer, Residual)]
        assert len(layers) == 2 * 2 + 3 * 3
        # Pieces with their positions on either side, and what each sub-layer adds.
        wanted = [model.dropout, model.dropout, *(layer.dropout for layer in layers)]
        assert collections.Counter(dropped) == collections.Counter((layer, training) for layer in wanted)
        dropped.clear()
