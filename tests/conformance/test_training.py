"""Every model family is trained, in every shape of `families.py`."""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

from models.contract import DECODER_IDS, Seq2Seq
from models.losses import label_smoothed_cross_entropy
from tests.conformance.families import COMPILED, EVERY, batch, build, decode


class Trainer:
    """A training step in a graph, for shapes that are not known before."""

    def __init__(self, model: Seq2Seq, learning_rate: float = 0.02, jit_compile: bool = False) -> None:
        self.model = model
        self.optimizer = keras.optimizers.Adam(learning_rate)
        self.optimizer.build(model.trainable_variables)
        ids = tf.TensorSpec([None, None], tf.int32)
        signature = [model.source, ids, ids]
        self.step = tf.function(self._step, input_signature=signature, autograph=False, jit_compile=jit_compile)

    def _step(self, source: tf.Tensor, decoder: tf.Tensor, target: tf.Tensor) -> tuple[tf.Tensor, list[tf.Tensor]]:
        with tf.GradientTape() as tape:
            decoded = self.model({self.model.source.name: source, DECODER_IDS: decoder}, training=True)
            total, pieces = label_smoothed_cross_entropy(target, decoded.logits, 0.0)
            loss = (total + self.model.auxiliary_loss(decoded, target)) / pieces
        gradients = tape.gradient(loss, self.model.trainable_variables)
        self.optimizer.apply_gradients(zip(gradients, self.model.trainable_variables, strict=True))
        return total / pieces, [tf.convert_to_tensor(gradient) for gradient in gradients]

    def fit(self, steps: int) -> float:
        inputs, target = batch(self.model)
        losses = [self.step(*inputs.values(), target)[0] for _ in range(steps)]
        return float(losses[-1])


@pytest.fixture
def mixed_bfloat16() -> Iterator[None]:
    policy = keras.config.dtype_policy()
    keras.config.set_dtype_policy("mixed_bfloat16")
    yield
    keras.config.set_dtype_policy(policy)


@pytest.mark.parametrize(("family", "options"), EVERY)
def test_every_weight_learns_one_batch_by_heart_and_it_is_decoded(family: str, options: dict[str, Any]) -> None:
    random.seed(1)
    model = build(family, options, dropout=0.0)
    trainer = Trainer(model)
    inputs, target = batch(model)
    _, gradients = trainer.step(*inputs.values(), target)
    for gradient, weight in zip(gradients, model.trainable_variables, strict=True):
        assert np.isfinite(gradient).all() and np.abs(gradient).max() > 0, weight.path
    assert any(trainer.fit(80) < 0.05 for _ in range(6))  # the embeddings as output projection take the longest
    for beam_size in (1, 3):
        tokens = decode(model, tf.constant(inputs[model.source.name]), beam_size).tokens
        np.testing.assert_array_equal(tokens[:, 0, : target.shape[1]], target)


@pytest.mark.parametrize(("family", "options"), COMPILED)
def test_training_compiles_with_xla(family: str, options: dict[str, Any]) -> None:
    model = build(family, options, dropout=0.5)
    inputs, target = batch(model)
    loss, gradients = Trainer(model, jit_compile=True).step(*inputs.values(), target)
    assert np.isfinite(loss) and all(np.isfinite(gradient).all() for gradient in gradients)


@pytest.mark.parametrize(("family", "options"), EVERY)
def test_mixed_precision_trains_and_decodes(family: str, options: dict[str, Any], mixed_bfloat16: None) -> None:
    model = build(family, options)
    inputs, _ = batch(model)
    logits, attention = model(inputs)[:2]
    assert {weight.dtype for weight in model.trainable_variables} == {"float32"}
    assert (logits.dtype, attention.dtype) == (tf.float32, tf.float32)
    trainer = Trainer(model)
    first = trainer.fit(1)
    assert trainer.fit(8) < first
    assert np.isfinite(decode(model, tf.constant(inputs[model.source.name])).scores).all()
