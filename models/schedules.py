"""Learning-rate schedules, found by name: a linear warm-up to the peak, then what the name says.

`linear`, peak 0.001, 100 warm-up steps of 1,100: step 0 -> 0.00001, 99 -> 0.001, 600 -> 0.0005, 1,100 -> 0.
"""

from __future__ import annotations

import abc
import dataclasses
import math
from typing import Annotated, Any, ClassVar, Literal

import keras
import tensorflow as tf
from annotated_types import Ge, Gt


@dataclasses.dataclass(frozen=True)
class Config:
    """How fast to learn, and when."""

    __pydantic_config__: ClassVar[dict[str, str]] = {"extra": "forbid"}

    name: Literal["constant", "inverse_sqrt", "cosine", "linear"] = "linear"
    learning_rate: Annotated[float, Gt(0)] = 0.001  # the peak
    warmup_steps: Annotated[int, Ge(0)] = 100


class Schedule(keras.optimizers.schedules.LearningRateSchedule, abc.ABC):
    """Steps count from 0; the first of a warm-up of n learns at peak / n, the last at the peak."""

    def __init__(self, learning_rate: float, warmup_steps: int, total_steps: int) -> None:
        super().__init__()
        self.learning_rate = learning_rate
        self.warmup_steps = warmup_steps
        self.total_steps = total_steps

    def __call__(self, step: tf.Tensor) -> tf.Tensor:
        number = tf.cast(step, tf.float32) + 1.0
        warmup = float(max(self.warmup_steps, 1))
        return self.learning_rate * tf.minimum(number / warmup, self.decay(tf.maximum(number, warmup)))

    @abc.abstractmethod
    def decay(self, number: tf.Tensor) -> tf.Tensor:
        """The share of the peak at a step (counted from 1, at least the last of the warm-up): 1 there, then less."""

    def remaining(self, number: tf.Tensor) -> tf.Tensor:
        """How much of the time after the warm-up is left: 1 at its end, 0 after the last step."""
        end = self.total_steps + 1
        return tf.clip_by_value((end - number) / float(max(end - max(self.warmup_steps, 1), 1)), 0.0, 1.0)

    def get_config(self) -> dict[str, Any]:
        return {
            "learning_rate": self.learning_rate,
            "warmup_steps": self.warmup_steps,
            "total_steps": self.total_steps,
        }


class Constant(Schedule):
    """The peak, for good."""

    def decay(self, number: tf.Tensor) -> tf.Tensor:
        return tf.ones_like(number)


class InverseSqrt(Schedule):
    """Vaswani 2017, eq. 3, with the peak named instead of the model's depth: sqrt(warm-up / step)."""

    def decay(self, number: tf.Tensor) -> tf.Tensor:
        return tf.sqrt(max(self.warmup_steps, 1) / number)


class Cosine(Schedule):
    """Loshchilov 2017, eq. 5, one period: half a cosine from the peak to zero."""

    def decay(self, number: tf.Tensor) -> tf.Tensor:
        return 0.5 * (1.0 - tf.cos(math.pi * self.remaining(number)))


class Linear(Schedule):
    """A straight line from the peak to zero."""

    def decay(self, number: tf.Tensor) -> tf.Tensor:
        return self.remaining(number)


SCHEDULES: dict[str, type[Schedule]] = {
    "constant": Constant,
    "inverse_sqrt": InverseSqrt,
    "cosine": Cosine,
    "linear": Linear,
}


def build(config: Config, total_steps: int) -> Schedule:
    """The schedule of a config for a training of `total_steps`; a short one warms up to its end."""
    warmup_steps = min(config.warmup_steps, total_steps)
    return SCHEDULES[config.name](config.learning_rate, warmup_steps, total_steps)
