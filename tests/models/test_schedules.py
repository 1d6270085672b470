"""Learning rates, step by step."""

from __future__ import annotations

import math
import typing

import keras
import numpy as np
import pytest
import tensorflow as tf

from models import schedules

PEAK, WARMUP, TOTAL = 0.5, 7, 23
DECAYS = {
    "constant": lambda step: 1.0,
    "inverse_sqrt": lambda step: math.sqrt(WARMUP / step),
    "cosine": lambda step: (1 + math.cos(math.pi * (step - WARMUP) / (TOTAL + 1 - WARMUP))) / 2,
    "linear": lambda step: (TOTAL + 1 - step) / (TOTAL + 1 - WARMUP),
}


def build(name: str, warmup_steps: int = WARMUP) -> schedules.Schedule:
    return schedules.build(schedules.Config(name=name, learning_rate=PEAK, warmup_steps=warmup_steps), TOTAL)


@pytest.mark.parametrize("name", sorted(schedules.SCHEDULES))
def test_matches_its_formula(name: str) -> None:
    rates = tf.function(build(name))
    for step in range(TOTAL):
        number = step + 1
        expected = PEAK * (number / WARMUP if number <= WARMUP else DECAYS[name](number))
        np.testing.assert_allclose(rates(tf.constant(step, tf.int64)), expected, rtol=1e-5)


@pytest.mark.parametrize("name", ["cosine", "linear"])
def test_decays_to_zero_and_stays_there(name: str) -> None:
    assert float(build(name)(TOTAL - 1)) > 0.0
    for step in (TOTAL, TOTAL + 1, 10 * TOTAL):
        assert float(build(name)(step)) == pytest.approx(0.0, abs=1e-7)


@pytest.mark.parametrize("name", sorted(schedules.SCHEDULES))
def test_without_warm_up_the_first_step_learns_at_the_peak(name: str) -> None:
    assert float(build(name, warmup_steps=0)(0)) == pytest.approx(PEAK)


@pytest.mark.parametrize("name", sorted(schedules.SCHEDULES))
def test_an_optimizer_can_be_saved_with_it(name: str) -> None:
    schedule = build(name)
    again = type(schedule).from_config(schedule.get_config())
    assert float(again(TOTAL // 2)) == float(schedule(TOTAL // 2))
    assert float(keras.optimizers.Adam(schedule).learning_rate) == pytest.approx(PEAK / WARMUP)


@pytest.mark.parametrize("name", sorted(schedules.SCHEDULES))
def test_a_training_shorter_than_its_warmup_learns(name: str) -> None:
    schedule = schedules.build(schedules.Config(name=name, learning_rate=PEAK, warmup_steps=101), 5)
    rates = [float(schedule(step)) for step in range(5)]
    assert all(rate > 0 for rate in rates)
    assert rates[-1] == pytest.approx(PEAK)


def test_every_name_of_the_config_is_built() -> None:
    names = typing.get_args(typing.get_type_hints(schedules.Config)["name"])
    assert sorted(names) == sorted(schedules.SCHEDULES)
