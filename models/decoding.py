"""Greedy search and sampling, pure functions of `start(length) -> state` and `step(tokens, state) -> contract.Step`.

They run in eager mode, in a graph, in a SavedModel and, with a static batch and limit, under XLA. A row gives the same
answer alone as in a batch. A model that always prefers 7 and then END::

    greedy(step, start, batch_size=1, max_length=4) -> Hypotheses(tokens [[[7, 3, 0, 0, 0]]], scores [[-0.2]])

Scores are log P(Y) / ((5 + |Y|) / 6) ** length_penalty (Wu 2016, eq. 14), |Y| with END. Every answer ends with END: one
that reaches its limit is closed with it, at the price of END's probability there.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import tensorflow as tf

from models.constraints import NONE, Constraints, Limit, Rules, limits_of
from models.contract import END, PAD, START, Length, Nest, Step
from models.states import add_beam, keep_shapes

StartFunction = Callable[[Length], Nest]
StepFunction = Callable[[tf.Tensor, Nest], Step]


class Hypotheses(NamedTuple):
    """Answers of every row, best first. Where a row has fewer than asked for: no pieces, score -inf."""

    tokens: tf.Tensor  # int32 [batch, beam, length], END kept as the last piece, PAD after it; length is max_length + 1
    scores: tf.Tensor  # float32 [batch, beam]


def normalise(log_probability: tf.Tensor, length: tf.Tensor, length_penalty: float) -> tf.Tensor:
    """Wu 2016, eq. 14: a log-probability float32 [...] and the number of pieces with END, int32 [...] -> the score."""
    return log_probability / ((5.0 + tf.cast(length, tf.float32)) / 6.0) ** length_penalty


class _Path(NamedTuple):
    """One answer a row between two steps."""

    last: tf.Tensor  # int32 [batch, 1], the last piece
    tokens: tf.Tensor  # int32 [batch, length]
    log_probability: tf.Tensor  # float32 [batch]
    done: tf.Tensor  # bool [batch]
    state: Nest  # leaves [batch, 1, ...]


# (Allowed logits of what is not END [batch, 1, vocabulary], that of END [batch, 1], time) -> a piece, int32 [batch, 1].
Choice = Callable[[tf.Tensor, tf.Tensor, tf.Tensor], tf.Tensor]


def greedy(
    step: StepFunction,
    start: StartFunction,
    *,
    batch_size: Limit,
    max_length: Limit,
    room: Length | None = None,
    length_penalty: float = 0.0,
    constraints: Constraints = NONE,
) -> Hypotheses:
    """The likeliest piece, step by step, until END or `max_length` pieces (END not counted; one number or int [batch]).

    `start` is asked once, for leaves [batch, ...] with room for as many steps as there will be; a step must keep their
    shapes. `room` is for XLA, where `max_length` is not static: see `limits_of`. PAD and START are never said, UNK only
    if it is allowed. Hypotheses have a beam of one.
    """

    def choose(allowed: tf.Tensor, end: tf.Tensor, time: tf.Tensor) -> tf.Tensor:
        likeliest = tf.argmax(allowed, axis=-1, output_type=tf.int32)
        return tf.where(end >= tf.reduce_max(allowed, axis=-1), END, likeliest)

    return _walk(step, start, choose, batch_size, limits_of(max_length, batch_size, room), length_penalty, constraints)


def sample(
    step: StepFunction,
    start: StartFunction,
    *,
    seeds: tf.Tensor,
    max_length: Limit,
    room: Length | None = None,
    temperature: float = 1.0,
    top_k: int = 0,
    top_p: float = 1.0,
    length_penalty: float = 0.0,
    constraints: Constraints = NONE,
) -> Hypotheses:
    """A piece drawn with the probability that it has, step by step; the same answer for the same seed, in any batch.

    (Not the same with XLA and without: their generators count differently.)
    Arguments as for `greedy`, and scores, too: they are those of the model, whatever it was drawn with.

    Args:
        seeds: one a row, int32 [batch].
        temperature: the logits are divided by it: below 1 likely pieces become likelier.
        top_k: only so many of the likeliest pieces (Fan 2018); 0: all.
        top_p: only the likeliest pieces that have this probability together (Holtzman 2020), one at least.
    """
    if temperature <= 0 or top_k < 0 or not 0 < top_p <= 1:
        raise ValueError(
            "expected a temperature above 0, top_k of 0 or more and top_p above 0, at most 1: "
            f"got {temperature}, {top_k} and {top_p}"
        )
    limits, length = limits_of(max_length, tf.shape(seeds)[0], room)
    draws = tf.map_fn(  # [batch, length, 1]; Philox by name: models/layers.py, Dropout
        lambda seed: tf.random.stateless_uniform([length, 1], tf.stack([seed, 0]), alg="philox"),
        seeds,
        fn_output_signature=tf.float32,
    )

    def choose(allowed: tf.Tensor, end: tf.Tensor, time: tf.Tensor) -> tf.Tensor:
        pieces = tf.range(allowed.shape[-1])
        logits = tf.where(pieces == END, end[..., None], allowed) / temperature
        width = min(top_k or logits.shape[-1], logits.shape[-1])
        best, kept = tf.math.top_k(logits, width)
        chances = tf.nn.softmax(best)
        # A piece is in where those before it do not make up top_p yet: the first is in any case.
        chances = tf.where(tf.cumsum(chances, axis=-1, exclusive=True) < top_p, chances, 0.0)
        return tf.gather(kept, draw(chances, tf.gather(draws, time, axis=1)), batch_dims=2)

    return _walk(step, start, choose, tf.shape(seeds)[0], (limits, length), length_penalty, constraints)


def draw(chances: tf.Tensor, uniform: tf.Tensor) -> tf.Tensor:
    """Places drawn by their chances, which need not sum to 1: [..., places] and [...] in [0, 1) -> int32 [...].

    The first place whose cumulative chance is above the draw: one number a row, where Gumbel noise takes one a place.
    What has no chance adds nothing to the sum, so it is never the first above.
    """
    sums = tf.cumsum(chances, axis=-1)
    below_one = tf.minimum(uniform, 1.0 - 2.0**-23)  # else the product could be rounded up to the sum of all
    return tf.math.count_nonzero(sums <= below_one[..., None] * sums[..., -1:], axis=-1, dtype=tf.int32)


def _walk(
    step: StepFunction,
    start: StartFunction,
    choose: Choice,
    batch_size: Limit,
    limits_and_length: tuple[tf.Tensor, Limit],
    length_penalty: float,
    constraints: Constraints,
) -> Hypotheses:
    """One piece after the other, as `choose` says."""
    limits, length = limits_and_length

    def unfinished(time: tf.Tensor, loop: _Path) -> tf.Tensor:
        return tf.logical_and(time < length, tf.logical_not(tf.reduce_all(loop.done)))

    def body(time: tf.Tensor, loop: _Path) -> tuple[tf.Tensor, _Path]:
        said = step(loop.last, loop.state)
        rules = Rules.of(constraints, limits, length, said.logits.shape[-1])
        piece = choose(rules.pieces(said.logits, time), rules.end(said.logits, time), time)
        piece = tf.where(rules.at_limit(time), END, piece)
        chosen = tf.gather(said.logits, piece, batch_dims=2) - tf.reduce_logsumexp(said.logits, axis=-1)
        piece, chosen = tf.where(loop.done, PAD, piece[:, 0]), chosen[:, 0]
        after = _Path(
            last=piece[:, None],
            tokens=tf.where(tf.range(length) == time, piece[:, None], loop.tokens),
            log_probability=tf.where(loop.done, loop.log_probability, loop.log_probability + chosen),
            done=loop.done | (piece == END),
            state=said.state,
        )
        return time + 1, keep_shapes(after, loop)

    first = _Path(
        last=tf.fill([batch_size, 1], START),
        tokens=tf.fill([batch_size, length], PAD),
        log_probability=tf.zeros([batch_size]),
        done=tf.zeros([batch_size], tf.bool),
        state=add_beam(start(length)),
    )
    _, end = tf.while_loop(unfinished, body, (0, first), maximum_iterations=length)
    pieces = tf.math.count_nonzero(end.tokens != PAD, axis=-1, dtype=tf.int32)
    return Hypotheses(end.tokens[:, None], normalise(end.log_probability, pieces, length_penalty)[:, None])
