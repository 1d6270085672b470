"""Scheduled sampling (Bengio 2015): in training the decoder is now and then given its own last piece, not the gold one.

The decoder's input under teacher forcing, and what a model that says 8 wherever it is asked makes of it::

    mix(model, [[5, 9, 3]], [[2, 7, 6, 0]], teach=0.5, seed=[1, 0]) -> [[2, 7, 8, 0]]

`mix` is a function of `model.step` alone, as decoding is, so every family can be trained with it. The mixed ids are
then an ordinary input of the whole model: its gradient does not pass through what was sampled, as in the paper.
"""

from __future__ import annotations

import dataclasses
import math
from typing import Annotated, ClassVar, Literal

import numpy as np
import tensorflow as tf
from annotated_types import Ge, Gt, Lt

from models.contract import PAD, START, Seq2Seq
from models.decoding import draw
from models.states import add_beam, keep_shapes

Choice = Literal["sample", "argmax"]

# The constant that each schedule cannot do without.
CONSTANTS = {"linear": "slope", "exponential": "base", "inverse_sigmoid": "k"}


@dataclasses.dataclass(frozen=True)
class Config:
    """How the probability of the gold piece falls with i, the number of updates that were made (Bengio 2015, 2.4).

    linear:          start - slope i         {name: linear, slope: 0.0001}: all gold at first, none after 10,000 updates
    exponential:     base ** i               {name: exponential, base: 0.9998}: half after 3,466 = ln 0.5 / ln base
    inverse_sigmoid: k / (k + exp(i / k))    {name: inverse_sigmoid, k: 1000}: half after 6,908 = k ln k

    Every constant is a matter of updates: twice as large batches want twice the slope.

    Attributes:
        name: of the schedule.
        slope: of `linear`.
        start: of `linear`; above 1 it keeps to the gold pieces for a while.
        base: of `exponential`.
        k: of `inverse_sigmoid`.
        floor: the least probability of the gold piece, with any schedule.
        choose: the model's own piece is sampled from what it says, or is its likeliest.
    """

    __pydantic_config__: ClassVar[dict[str, str]] = {"extra": "forbid"}

    name: Literal["linear", "exponential", "inverse_sigmoid"]
    slope: Annotated[float, Gt(0)] | None = None
    start: Annotated[float, Gt(0)] = 1.0
    base: Annotated[float, Gt(0), Lt(1)] | None = None
    k: Annotated[float, Ge(1)] | None = None
    floor: Annotated[float, Ge(0), Lt(1)] = 0.0
    choose: Choice = "sample"

    def __post_init__(self) -> None:
        """Each schedule has its own constants."""
        owners = {constant: name for name, constant in CONSTANTS.items()} | {"start": "linear"}
        defaults = {field.name: field.default for field in dataclasses.fields(self)}
        wrong = [
            f"{constant} is a constant of {owner}, not of {self.name}"
            for constant, owner in owners.items()
            if owner != self.name and getattr(self, constant) != defaults[constant]
        ]
        if getattr(self, CONSTANTS[self.name]) is None:
            wrong.append(f"{self.name} needs {CONSTANTS[self.name]}")
        if wrong:
            raise ValueError("; ".join(wrong))


def probability(config: Config, update: tf.Tensor) -> tf.Tensor:
    """That a piece is the gold one at an update, int64 [] counted from 0 -> float32 []."""
    number, constant = tf.cast(update, tf.float32), getattr(config, CONSTANTS[config.name])
    if config.name == "linear":
        value = config.start - constant * number
    elif config.name == "exponential":
        value = constant**number
    else:  # k / (k + exp(i / k)), in a form in which nothing grows beyond a float
        value = tf.sigmoid(math.log(constant) - number / constant)
    return tf.clip_by_value(value, config.floor, 1.0)


def mix(
    model: Seq2Seq,
    source: tf.Tensor,
    decoder_ids: tf.Tensor,
    teach: tf.Tensor | float,
    seed: tf.Tensor,
    choose: Choice = "sample",
) -> tf.Tensor:
    """The decoder's input with some of its pieces the model's own: int32 [batch, target], as `decoder_ids`.

    Each piece after START is the gold one with probability `teach`, else what the model says after the pieces that it
    was given so far, without dropout. PAD stays where it is; PAD and START are never said. The result carries no
    gradient: call it outside of the tape, which would keep every step. Where `teach` is 1 no step is made.

    Args:
        model: any family.
        source: as `model.source` says.
        decoder_ids: START and the gold pieces, int32 [batch, target].
        teach: probability of the gold piece, float32 [].
        seed: two integers; the same seed draws the same (but not the same with XLA and without).
        choose: see `Config`.
    """
    decoder_ids = tf.convert_to_tensor(decoder_ids)
    return tf.cond(
        tf.convert_to_tensor(teach) < 1.0,
        lambda: _roll_out(model, source, decoder_ids, teach, seed, choose),
        lambda: decoder_ids,
    )


def _roll_out(
    model: Seq2Seq,
    source: tf.Tensor,
    decoder_ids: tf.Tensor,
    teach: tf.Tensor | float,
    seed: tf.Tensor,
    choose: Choice,
) -> tf.Tensor:
    """See `mix`."""
    batch, length = tf.unstack(tf.shape(decoder_ids))
    # Philox by name: under XLA on a CPU TensorFlow's own choice is a far slower generator.
    coins, draws = tf.unstack(tf.random.stateless_uniform([2, batch, length], seed, alg="philox"))
    own = (coins >= teach) & (decoder_ids != PAD)
    memory = model.encode(source)

    def body(time: tf.Tensor, last: tf.Tensor, mixed: tf.Tensor, state: object) -> tuple[object, ...]:
        said = model.step(last, state, memory)
        piece = _choose(said.logits[:, 0], tf.gather(draws, time, axis=1), choose)
        last = tf.where(tf.gather(own, time, axis=1), piece, tf.gather(decoder_ids, time, axis=1))[:, None]
        mixed = tf.where(tf.range(length) == time, last, mixed)
        return time + 1, last, mixed, keep_shapes(said.state, state)

    state = add_beam(model.start(memory, length))
    first = (tf.constant(1), decoder_ids[:, :1], decoder_ids, state)
    return tf.while_loop(lambda time, *_: time < length, body, first)[2]


def _choose(logits: tf.Tensor, draws: tf.Tensor, choose: Choice) -> tf.Tensor:
    """[batch, vocabulary] and, uniform in [0, 1), [batch] -> a piece a row, int32 [batch]."""
    banned = np.zeros(logits.shape[-1], bool)
    banned[[PAD, START]] = True
    logits = tf.where(banned, float("-inf"), logits)
    if choose == "argmax":
        return tf.argmax(logits, axis=-1, output_type=tf.int32)
    return draw(tf.nn.softmax(logits), draws)
