"""Hard attention: what it draws, and that REINFORCE's gradient is that of the expectation."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from models.attention import Attended, Attention, Keys
from models.recurrence import scan
from tests.models.attention_cases import DEPTH, SOURCE, VALUE_DEPTH, arrays, ask, make, prepare

DRAWS = 20011
REWARDS = np.array([-0.5, -4.0, -9.0, -1.0, -2.0], np.float32)  # log p(piece | position)
MASK = np.array([[True, True, True, True, False]])


def many(layer: Attention) -> tuple[tf.Tensor, Keys, np.ndarray]:
    """The same query over and over, values that say which they are, and the weights, [source]."""
    query = tf.tile(tf.constant(np.random.default_rng(0).normal(size=(1, 1, DEPTH)), tf.float32), [1, DRAWS, 1])
    keys = prepare(layer, np.eye(SOURCE, VALUE_DEPTH, dtype=np.float32)[None], MASK)
    soft = make("hard")(query[:, :1], keys, tf.zeros([1, 1], tf.int32), training=True)
    return query, keys, soft.weights[0, 0].numpy()


def test_positions_are_drawn_as_often_as_their_weights_say() -> None:
    layer = make("hard", soft_share=0.0)
    query, keys, expected = many(layer)
    answer = layer(query, keys, layer.begin(keys, DRAWS), training=True)
    drawn = answer.context[0, :, :SOURCE].numpy()
    assert set(np.unique(drawn)) == {0.0, 1.0} and (drawn.sum(axis=-1) == 1).all()
    np.testing.assert_allclose(drawn.mean(axis=0), expected, atol=0.015)
    np.testing.assert_allclose(answer.weights[0], np.tile(expected, (DRAWS, 1)), atol=1e-6)
    np.testing.assert_allclose(answer.log_choice[0], np.log(expected[drawn.argmax(axis=-1)]), atol=1e-5)
    again = layer(query, keys, layer.begin(keys, DRAWS), training=True)
    repeated = np.mean(np.all(again.context == answer.context, axis=-1))
    assert repeated == pytest.approx(np.sum(expected**2), abs=0.02)


@pytest.mark.parametrize("jit_compile", [False, True])
def test_a_loop_draws_anew_at_every_step(jit_compile: bool) -> None:
    layer = make("hard", soft_share=0.0)
    query, keys, expected = many(layer)
    steps = tf.reshape(query[:, :20000], [10, 2000, DEPTH])

    def step(now: tuple[tf.Tensor, ...], state: tf.Tensor) -> tuple[tuple[tf.Tensor], tf.Tensor]:
        return (layer(now[0][None], keys, state, training=True).context[0],), state

    def loop() -> tf.Tensor:
        (context,), _ = scan(step, (steps,), layer.begin(keys, 2000), (tf.TensorSpec([2000, VALUE_DEPTH]),))
        return context

    drawn = tf.function(loop, jit_compile=jit_compile)().numpy()
    repeated = np.mean(np.all(drawn[1:] == drawn[:-1], axis=-1))
    assert repeated == pytest.approx(np.sum(expected**2), abs=0.02)


def test_at_test_the_likeliest_position_is_taken() -> None:
    query, values, mask = arrays("hard")
    soft = ask(make("hard"), query, values, mask, training=True)
    answer = ask(make("hard"), query, values, mask)
    best = soft.weights.numpy().argmax(axis=-1)
    np.testing.assert_array_equal(answer.weights, np.eye(SOURCE)[best])
    np.testing.assert_array_equal(answer.context, np.take_along_axis(values, best[..., None], axis=1))


@pytest.mark.parametrize("at_once", [True, False])
def test_a_share_of_the_rows_is_soft_and_a_row_stays_what_it_is(at_once: bool) -> None:
    layer = make("hard", soft_share=0.25)
    rows, queries = 2003, 3
    rng = np.random.default_rng(0)
    query = tf.constant(rng.normal(size=(rows, queries, DEPTH)), tf.float32)
    keys = prepare(
        layer, np.tile(np.eye(SOURCE, VALUE_DEPTH, dtype=np.float32), (rows, 1, 1)), np.tile(MASK, (rows, 1))
    )
    if at_once:
        answer = layer(query, keys, layer.begin(keys, queries), training=True)
        context, log_choice = answer.context, answer.log_choice
    else:
        state, contexts, choices = layer.begin(keys), [], []
        for time in range(queries):
            answer = layer(query[:, time : time + 1], keys, state, training=True)
            state = answer.state
            contexts.append(answer.context)
            choices.append(answer.log_choice)
        context, log_choice = tf.concat(contexts, 1), tf.concat(choices, 1)
    soft = (context.numpy() < 1).all(axis=-1)  # [row, query]
    assert (soft == soft[:, :1]).all()
    assert soft[:, 0].mean() == pytest.approx(0.25, abs=0.04)
    assert (log_choice.numpy()[soft] == 0).all() and (log_choice.numpy()[~soft] < 0).all()


def test_the_gradient_of_reinforce_is_that_of_the_expectation() -> None:
    """E[reward] = sum_s p(s) reward(s) by enumeration against 20011 draws, with a baseline that must not matter."""
    layer = make("hard", soft_share=0.0, entropy_weight=0.0, reinforce_weight=2.0)
    layer.baseline.assign(-3.0)
    query, keys, _ = many(layer)
    weights = layer.additive.trainable_variables
    with tf.GradientTape(persistent=True) as tape:
        keys = prepare(layer, keys.values, MASK)
        answer = layer(query, keys, layer.begin(keys, DRAWS), training=True)
        reward = tf.linalg.matvec(answer.context[..., :SOURCE], REWARDS)
        loss = layer.loss(answer.weights, answer.log_choice, reward, tf.ones([1, DRAWS], tf.bool)) / DRAWS
        exact = -2.0 * tf.reduce_sum(answer.weights[0, 0] * REWARDS)
    for sampled, true in zip(tape.gradient(loss, weights), tape.gradient(exact, weights), strict=True):
        size = np.abs(true).max()
        assert size > 0.05
        np.testing.assert_allclose(sampled, true, atol=0.06 * size)


def test_no_gradient_goes_through_a_draw() -> None:
    layer = make("hard", soft_share=0.0)
    query, values, mask = arrays("hard")
    values = tf.constant(values)
    with tf.GradientTape() as tape:
        tape.watch(values)
        total = tf.reduce_sum(ask(layer, query, values, mask, training=True).context ** 2)
    to_values, *to_scores = tape.gradient(total, [values, *layer.trainable_variables], unconnected_gradients="zero")
    assert np.abs(to_values).max() > 0
    assert not any(np.abs(gradient).any() for gradient in to_scores)


def test_a_row_without_keys_has_nothing_to_draw() -> None:
    layer = make("hard", soft_share=0.0)
    query, values, mask = arrays("hard")
    with tf.GradientTape() as tape:
        answer = ask(layer, query, values, np.stack([mask[0], np.zeros(SOURCE, bool)]), training=True)
        loss = layer.loss(answer.weights, answer.log_choice, tf.fill([2, 3], -1.0), tf.ones([2, 3], tf.bool))
    assert not answer.context[1].numpy().any() and not answer.log_choice[1].numpy().any()
    assert answer.log_choice[0].numpy().all()
    for gradient in tape.gradient(loss, layer.trainable_variables):
        assert np.isfinite(gradient).all() and np.abs(gradient).max() > 0


def test_the_loss_is_that_of_the_paper_and_padding_does_not_count() -> None:
    layer = make("hard", reinforce_weight=3.0, entropy_weight=0.5, baseline_decay=0.8)
    layer.baseline.assign(-2.0)
    weights = np.array([[[0.5, 0.5, 0.0], [0.2, 0.3, 0.5], [0.1, 0.1, 0.8]]], np.float32)
    log_choice, log_likelihood = (
        np.log(np.array([[0.5, 0.3, 0.8]], np.float32)),
        np.array([[-1.0, -4.0, -9.0]], np.float32),
    )
    loss = layer.loss(weights, log_choice, log_likelihood, np.array([[True, True, False]]))
    expected = 0.0
    for t in range(2):
        entropy = -sum(p * np.log(p) for p in weights[0, t] if p)
        expected -= 3.0 * (log_likelihood[0, t] + 2.0) * log_choice[0, t] + 0.5 * entropy
    np.testing.assert_allclose(loss, expected, rtol=1e-5)
    assert float(layer.baseline) == pytest.approx(0.8 * -2.0 + 0.2 * (-1.0 - 4.0) / 2)


def test_the_entropy_has_a_finite_gradient_where_a_weight_is_zero() -> None:
    layer = make("hard", soft_share=1.0, entropy_weight=1.0)
    scores = tf.Variable([[[200.0, 0.0, -200.0]]])
    with tf.GradientTape() as tape:
        answer = Attended(tf.zeros(0), tf.nn.softmax(scores), (), tf.zeros([1, 1]))
        loss = layer.loss(answer.weights, answer.log_choice, tf.zeros([1, 1]), tf.ones([1, 1], tf.bool))
    assert np.isfinite(tape.gradient(loss, scores)).all()


def test_the_baseline_is_kept_but_not_trained() -> None:
    layer = make("hard")
    assert [weight.name for weight in layer.non_trainable_weights] == ["baseline"]
