"""Updates: a group of batches is one large batch, and what is reported of them."""

from __future__ import annotations

import time
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

from components import batches, training
from components.moving_average import MovingAverage
from components.training_steps import Updates
from models import scheduled_sampling
from models.contract import DECODER_IDS, END, PAD, SOURCE_IDS, TARGET_IDS, Seq2Seq
from tests.components.toy import VOCABULARY, build

SHAPES = ((7, 3, 5), (2, 11, 2), (5, 2, 3))  # rows, source, target


def batch_of(rows: int, source: int, target: int) -> batches.Batch:
    random = np.random.default_rng(rows)

    def ids(length: int) -> np.ndarray:
        lengths = random.integers(1, length + 1, (rows, 1))
        pieces = np.where(np.arange(length) == lengths - 1, END, random.integers(4, VOCABULARY, (rows, length)))
        return np.where(np.arange(length) < lengths, pieces, PAD).astype(np.int32)

    target_ids = ids(target)
    return {SOURCE_IDS: ids(source), TARGET_IDS: target_ids, DECODER_IDS: batches.decoder_ids(target_ids)}


def joined(group: list[batches.Batch]) -> batches.Batch:
    """All rows in one batch."""

    def pad(ids: np.ndarray, length: int) -> np.ndarray:
        return np.pad(ids, [(0, 0), (0, length - ids.shape[1])])

    longest = {name: max(batch[name].shape[1] for batch in group) for name in group[0]}
    return {name: np.concatenate([pad(batch[name], longest[name]) for batch in group]) for name in group[0]}


def updates(of: Seq2Seq, **options: Any) -> Updates:
    optimizer = keras.optimizers.SGD(1.0)  # its update is the gradient
    optimizer.build(of.trainable_variables)
    return Updates(of, optimizer, training.Config(**options), MovingAverage([], 0.0))


@pytest.mark.parametrize("jit_compile", [False, True])
def test_a_group_has_the_gradient_of_one_large_batch(jit_compile: bool) -> None:
    group = [batch_of(*shape) for shape in SHAPES]
    whole, apart = build(auxiliary=0.01), build(auxiliary=0.01)
    before = whole.get_weights()
    in_one, in_three = updates(whole), updates(apart, accumulate=3, jit_compile=jit_compile)
    for number in range(2):  # the second finds no trace of the first
        in_one.run([joined(group)], number)
        in_three.run(group, number)
        for start, one, three in zip(before, whole.get_weights(), apart.get_weights(), strict=True):
            np.testing.assert_allclose(one - start, three - start, rtol=1e-3, atol=1e-6)
    assert any(np.abs(one - start).max() > 0.01 for start, one in zip(before, whole.get_weights(), strict=True))


def test_a_shorter_group_is_an_update_too() -> None:
    whole, apart = build(auxiliary=0.01), build(auxiliary=0.01)
    group = [batch_of(*shape) for shape in SHAPES[:2]]
    updates(whole).run([joined(group)], 0)
    updates(apart, accumulate=3).run(group, 0)
    for one, two in zip(whole.get_weights(), apart.get_weights(), strict=True):
        np.testing.assert_allclose(one, two, rtol=1e-3, atol=1e-6)


def test_a_report_counts_the_pieces_of_all_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    now_s = [100.0]
    monkeypatch.setattr(time, "monotonic", lambda: now_s[0])
    group = [batch_of(*shape) for shape in SHAPES]
    pieces = sum(int((batch[TARGET_IDS] != PAD).sum()) for batch in group)
    counted = updates(build(), accumulate=3)
    counted.run(group, 0)
    counted.run(group[:1], 1)
    now_s[0] += 2.0
    with counted.interrupted():
        now_s[0] += 50.0
    both = pieces + int((group[0][TARGET_IDS] != PAD).sum())
    assert counted.report()["target_pieces_per_s"] == pytest.approx(both / 2.0)
    counted.run(group[:1], 2)
    now_s[0] += 4.0
    assert counted.report()["target_pieces_per_s"] == pytest.approx((both - pieces) / 4.0)


@pytest.mark.parametrize("jit_compile", [False, True])
def test_scheduled_sampling_trains_on_mixed_pieces(jit_compile: bool) -> None:
    """The update is that of the batch with the pieces that the model would have been given."""
    batch, seed = batch_of(31, 3, 7), 3
    half = scheduled_sampling.Config("linear", slope=0.25, floor=0.5)
    sampled, plain = build(auxiliary=0.01), build(auxiliary=0.01)
    mixing = updates(sampled, scheduled_sampling=half, seed=seed, jit_compile=jit_compile)

    @tf.function(jit_compile=jit_compile)  # with XLA a seed draws other numbers
    def mix(seed: tf.Tensor) -> tf.Tensor:
        return scheduled_sampling.mix(plain, batch[SOURCE_IDS], batch[DECODER_IDS], 0.5, seed)

    mixed = mix(tf.constant([seed, 4], tf.int64))
    assert (mixed != batch[DECODER_IDS]).numpy().any()
    mixing.run([batch], 4)
    updates(plain).run([batch | {DECODER_IDS: mixed.numpy()}], 4)
    for one, other in zip(sampled.get_weights(), plain.get_weights(), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-3, atol=1e-6)
    assert mixing.report()["gold_probability"] == 0.5


def test_scheduled_sampling_begins_with_the_gold_pieces() -> None:
    batch = batch_of(31, 3, 7)
    sampled, plain = build(auxiliary=0.01), build(auxiliary=0.01)
    updates(sampled, scheduled_sampling=scheduled_sampling.Config("linear", slope=0.25)).run([batch], 0)
    updates(plain).run([batch], 0)
    for one, other in zip(sampled.get_weights(), plain.get_weights(), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-7)
