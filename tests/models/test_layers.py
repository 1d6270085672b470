"""Our layers against Keras' own."""

from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf

from models.layers import Dense, Dropout, LayerList

BATCH, TIME, DEPTH, UNITS = 2, 5, 7, 3


@pytest.mark.parametrize("shape", [(BATCH, DEPTH), (BATCH, TIME, DEPTH), (BATCH, 11, TIME, DEPTH)])
def test_dense_is_keras_dense(shape: tuple[int, ...]) -> None:
    ours, theirs = Dense(DEPTH, UNITS, "tanh"), keras.layers.Dense(UNITS, "tanh")
    ours.bias.assign([0.1, 0.2, 0.3])
    inputs = np.random.default_rng(0).normal(size=shape).astype(np.float32)
    theirs.build(shape)
    theirs.set_weights(ours.get_weights())
    np.testing.assert_allclose(ours(inputs), theirs(inputs), atol=1e-6)
    symbolic = tf.function(ours, input_signature=[tf.TensorSpec([None] * (len(shape) - 1) + [DEPTH])])
    np.testing.assert_allclose(symbolic(inputs), theirs(inputs), atol=1e-6)


@pytest.mark.parametrize("jit_compile", [False, True])
def test_dropout_drops_its_share_and_scales_the_rest(jit_compile: bool) -> None:
    layer = Dropout(0.25, seed=7)
    inputs = tf.ones([101, 103])
    drop = tf.function(lambda: layer(inputs, training=True), jit_compile=jit_compile)
    first, second = drop().numpy(), drop().numpy()
    assert {float(value) for value in np.unique(first)} == {0.0, np.float32(1 / 0.75)}
    assert np.mean(first == 0) == pytest.approx(0.25, abs=0.02)
    # A share of .25 * .75 * 2 differs between two independent masks.
    assert np.mean(first != second) == pytest.approx(0.375, abs=0.02)


def test_dropout_changes_nothing_where_it_must_not() -> None:
    inputs = tf.ones([BATCH, DEPTH])
    for output in (Dropout(0.5)(inputs), Dropout(0.5)(inputs, training=False), Dropout(0.0)(inputs, training=True)):
        np.testing.assert_array_equal(output, inputs)


def test_a_checkpoint_holds_the_layers_of_a_list(tmp_path: str) -> None:
    class Holder(keras.layers.Layer):
        def __init__(self) -> None:
            super().__init__()
            self.parts = LayerList([Dense(DEPTH, UNITS), Dense(UNITS, UNITS)])

    saved, restored = Holder(), Holder()
    path = tf.train.Checkpoint(layer=saved).save(f"{tmp_path}/weights")
    tf.train.Checkpoint(layer=restored).restore(path).assert_consumed()
    assert len(restored.parts) == 2
    for ours, theirs in zip(restored.parts, saved.parts, strict=True):
        np.testing.assert_array_equal(ours.kernel, theirs.kernel)
    assert restored.parts[1] is list(restored.parts)[1]
