"""Scheduled sampling: the schedules against their formulas, the roll-out against models whose answers are known."""

from __future__ import annotations

import math
import types
import typing
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

from models import scheduled_sampling
from models.contract import DECODER_IDS, END, PAD, SOURCE_IDS, START, Step
from models.zoo import rnn

VOCABULARY, SOURCE = 13, 3
SEED = (7, 13)
FORMULAS = {
    "linear": ({"slope": 0.03, "start": 1.1, "floor": 0.2}, lambda i: min(1.0, max(0.2, 1.1 - 0.03 * i))),
    "exponential": ({"base": 0.97}, lambda i: 0.97**i),
    "inverse_sigmoid": ({"k": 17.0}, lambda i: 17 / (17 + math.exp(i / 17))),
}


@pytest.mark.parametrize("name", sorted(FORMULAS))
def test_schedules_match_their_formulas(name: str) -> None:
    options, formula = FORMULAS[name]
    config = scheduled_sampling.Config(name, **options)  # type: ignore[arg-type]
    compiled = tf.function(lambda update: scheduled_sampling.probability(config, update))
    for update in (0, 1, 2, 5, 31, 97, 401):
        np.testing.assert_allclose(compiled(tf.constant(update, tf.int64)), formula(update), rtol=1e-4)


@pytest.mark.parametrize("name", sorted(FORMULAS))
def test_a_schedule_never_falls_below_its_floor_nor_leaves_the_numbers(name: str) -> None:
    constants = {key: value for key, value in FORMULAS[name][0].items() if key in scheduled_sampling.CONSTANTS.values()}
    config = scheduled_sampling.Config(name, floor=0.25, **constants)  # type: ignore[arg-type]
    assert float(scheduled_sampling.probability(config, tf.constant(10**7))) == 0.25


def test_every_name_of_the_config_has_a_formula() -> None:
    names = typing.get_args(typing.get_type_hints(scheduled_sampling.Config)["name"])
    assert sorted(names) == sorted(FORMULAS) == sorted(scheduled_sampling.CONSTANTS)


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"name": "linear"}, "linear needs slope"),
        ({"name": "inverse_sigmoid", "base": 0.9}, "base is a constant of exponential, .*; inverse_sigmoid needs k"),
        ({"name": "exponential", "base": 0.9, "start": 1.2}, "start is a constant of linear, not of exponential"),
    ],
)
def test_constants_of_another_schedule_are_refused(options: dict[str, Any], text: str) -> None:
    with pytest.raises(ValueError, match=text):
        scheduled_sampling.Config(**options)


def counting(step: Any) -> Any:
    """A model of one hand-made step: (tokens [batch, beam], position) -> logits [batch, beam, vocabulary]."""

    def advance(tokens: tf.Tensor, state: tf.Tensor, memory: tf.Tensor) -> Step:
        return Step(step(tokens, state), tf.zeros([]), state + 1)

    return types.SimpleNamespace(
        encode=lambda source_ids: source_ids, start=lambda memory, length: tf.zeros_like(memory[:, 0]), step=advance
    )


def successor(tokens: tf.Tensor, position: tf.Tensor) -> tf.Tensor:
    """Says the next number; PAD and START are what it would like best."""
    return (
        tf.one_hot((tokens + 1) % VOCABULARY, VOCABULARY, 90.0, 0.0)
        + 500.0 * tf.one_hot(PAD, VOCABULARY)
        + 500.0 * tf.one_hot(START, VOCABULARY)
    )


def gold(batch: int = 2) -> tuple[np.ndarray, np.ndarray]:
    decoder = np.array([[START, 9, 9, 9, 9], [START, 7, 7, END, PAD]] * (batch // 2), np.int32)
    return np.ones((batch, SOURCE), np.int32), decoder


def test_with_certainty_of_the_gold_piece_no_step_is_made() -> None:
    def fail(*unused: Any) -> tf.Tensor:
        raise AssertionError("a step was made")

    source, decoder = gold()
    np.testing.assert_array_equal(scheduled_sampling.mix(counting(fail), source, decoder, 1.0, SEED), decoder)


@pytest.mark.parametrize("choose", typing.get_args(scheduled_sampling.Choice))
def test_without_gold_pieces_the_model_listens_to_itself(choose: Any) -> None:
    mixed = scheduled_sampling.mix(counting(successor), *gold(), 0.0, SEED, choose)
    np.testing.assert_array_equal(mixed, [[START, 3, 4, 5, 6], [START, 3, 4, 5, PAD]])


def test_a_gold_piece_is_what_the_next_step_hears() -> None:
    """Where the gold piece stays, the model counts on from it."""
    source, decoder = gold(62)
    mixed = scheduled_sampling.mix(counting(successor), source, decoder, 0.5, SEED).numpy()
    own = (mixed != decoder)[:, 1:]
    said = np.where(own, mixed[:, :-1] + 1, decoder[:, 1:])
    np.testing.assert_array_equal(mixed[:, 1:], said)
    np.testing.assert_array_equal(mixed == PAD, decoder == PAD)
    assert 0.35 < own[decoder[:, 1:] != PAD].mean() < 0.65


def test_frequencies_are_those_of_the_model() -> None:
    likely = {4: 0.5, 5: 0.3, 10: 0.2}
    logits = np.full(VOCABULARY, -np.inf, np.float32)
    logits[list(likely)] = np.log(list(likely.values()))
    logits[[PAD, START]] = 9.0
    rows = 3001
    source, decoder = np.ones((rows, SOURCE), np.int32), np.full((rows, 5), 7, np.int32)
    same = counting(lambda tokens, position: tf.broadcast_to(tf.constant(logits), [rows, 1, VOCABULARY]))
    mixed = scheduled_sampling.mix(same, source, decoder, 0.4, SEED).numpy()
    assert (mixed[:, 0] == 7).all()
    drawn = mixed[:, 1:]
    for piece, expected in {7: 0.4, **{piece: 0.6 * share for piece, share in likely.items()}}.items():
        deviation = math.sqrt(expected * (1 - expected) / drawn.size)
        assert abs((drawn == piece).mean() - expected) < 4 * deviation, piece
    assert set(np.unique(drawn)) == {7, *likely}


def test_draws_depend_on_the_seed_alone() -> None:
    source, decoder = gold(62)
    model = counting(lambda tokens, position: tf.zeros([62, 1, VOCABULARY]))
    first, again, other = (scheduled_sampling.mix(model, source, decoder, 0.5, seed) for seed in (SEED, SEED, (7, 14)))
    np.testing.assert_array_equal(first, again)
    assert (first != other).numpy().any()


@pytest.mark.parametrize("jit_compile", [False, True])
def test_a_real_model_in_a_graph_of_unknown_shapes_says_what_it_says_step_by_step(jit_compile: bool) -> None:
    keras.utils.set_random_seed(3)
    model = rnn.build(rnn.Config(units=6, embedding=5, dropout=0.5), VOCABULARY, VOCABULARY)
    ids, number = tf.TensorSpec([None, None], tf.int32), tf.TensorSpec([], tf.float32)

    @tf.function(input_signature=[ids, ids, number], jit_compile=jit_compile)
    def mix(source_ids: tf.Tensor, decoder_ids: tf.Tensor, teach: tf.Tensor) -> tf.Tensor:
        return scheduled_sampling.mix(model, source_ids, decoder_ids, teach, tf.constant(SEED), "argmax")

    source, decoder = np.array([[5, 9, END], [4, END, PAD]], np.int32), gold()[1]
    mixed = mix(source, decoder, 0.0).numpy()
    logits = model({SOURCE_IDS: source, DECODER_IDS: mixed}).logits.numpy()
    logits[..., [PAD, START]] = -np.inf
    np.testing.assert_array_equal(mixed[:, 1:], np.where(decoder[:, 1:] == PAD, PAD, logits.argmax(-1)[:, :-1]))
    np.testing.assert_array_equal(mix(source, decoder, 1.0), decoder)
    assert mix(source[:1], decoder[:1, :1], 0.0).shape == (1, 1)
