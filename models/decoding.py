"""Greedy search and sampling, pure functions of a model's `step`, its `start` and its memory (`models/contract.py`).

They run in eager mode, in a graph, in a SavedModel and, with a static batch and limit, under XLA. A row gives the same
answer alone as in a batch. A model that always prefers 7 and then END::

    greedy(step, start, memory, batch_size=1, max_length=4) -> Hypotheses(tokens [[[7, 3, 0, 0, 0]]], scores [[-0.2]])

Scores are log P(Y) / ((5 + |Y|) / 6) ** length_penalty (Wu 2016, eq. 14), |Y| with END. Every answer ends with END: one
that reaches its limit is closed with it, at the price of END's probability there.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import NamedTuple

import tensorflow as tf

from models.constraints import NONE, Constraints, Limit, Rules, limits_of
from models.contract import END, PAD, START, Length, Nest, Step
from models.states import add_beam, take
from models.walk import Leaving, Walk

StartFunction = Callable[[Nest, Length], Nest]
StepFunction = Callable[[tf.Tensor, Nest, Nest], Step]


class Hypotheses(NamedTuple):
    """Answers of every row, best first. Where a row has fewer than asked for: no pieces, score -inf."""

    tokens: tf.Tensor  # int32 [batch, beam, length], END kept as the last piece, PAD after it; length is max_length + 1
    scores: tf.Tensor  # float32 [batch, beam]


@dataclasses.dataclass(frozen=True)
class Rows:
    """What a search knows of its rows.

    Attributes:
        memory: what was encoded, leaves [batch, ...].
        limits: pieces before END, at most: int32 [batch].
        constraints: what else their answers must be like.
        source: where there is something to look at, bool [batch, source]; None where nobody asks.
    """

    memory: Nest
    limits: tf.Tensor
    constraints: Constraints
    source: tf.Tensor | None = None

    def take(self, rows: tf.Tensor) -> Rows:
        """Some of them: numbers, int32 [some]."""
        source = None if self.source is None else tf.gather(self.source, rows)
        return Rows(take(self.memory, rows), tf.gather(self.limits, rows), self.constraints.take(rows), source)


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


# (Logits [batch, 1, vocabulary], rules, time) -> a piece that may come, int32 [batch, 1], and the `Best.log_total`.
Choice = Callable[[tf.Tensor, Rules, tf.Tensor], tuple[tf.Tensor, tf.Tensor]]


def greedy(
    step: StepFunction,
    start: StartFunction,
    memory: Nest,
    *,
    batch_size: Limit,
    max_length: Limit,
    room: Length | None = None,
    length_penalty: float = 0.0,
    constraints: Constraints = NONE,
    leaving: Leaving = "none",
) -> Hypotheses:
    """The likeliest piece, step by step, until END or `max_length` pieces (END not counted; one number or int [batch]).

    `start` is asked for leaves [batch, ...] with room for some steps, and again for those of more; a step must keep
    their shapes. `room` is for XLA, where `max_length` is not static: see `limits_of`. PAD and START are never said,
    UNK only if it is allowed. `leaving`: how rows that are done leave, "halves" under XLA: see `models/walk.py`.
    Hypotheses have a beam of one.
    """

    def choose(logits: tf.Tensor, rules: Rules, time: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        best = rules.best(logits, time, 1)
        ends = rules.end(logits, time) >= best.logits[..., 0]
        return tf.where(ends, END, best.pieces[..., 0]), best.log_total

    limits, length = limits_of(max_length, batch_size, room)
    return _walk(step, start, choose, Rows(memory, limits, constraints), length, length_penalty, leaving)


def sample(
    step: StepFunction,
    start: StartFunction,
    memory: Nest,
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
    draws = tf.map_fn(  # Philox by name: models/layers.py, Dropout
        lambda seed: tf.random.stateless_uniform([length, 1], tf.stack([seed, 0]), alg="philox"),
        tf.concat([seeds, [0]], axis=0),  # one more, for of none there is no shape
        fn_output_signature=tf.float32,
    )[:-1]  # [batch, length, 1]

    def choose(logits: tf.Tensor, rules: Rules, time: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        log_total = tf.reduce_logsumexp(logits, axis=-1)
        pieces, end = tf.range(logits.shape[-1]), rules.end(logits, time)
        logits = tf.where(pieces == END, end[..., None], rules.pieces(logits, time)) / temperature
        chances, kept = _likeliest(logits, top_k, top_p)
        return tf.gather(kept, draw(chances, tf.gather(draws, time, axis=1)), batch_dims=2), log_total

    return _walk(step, start, choose, Rows(memory, limits, constraints), length, length_penalty, "none")


def _likeliest(logits: tf.Tensor, top_k: int, top_p: float) -> tuple[tf.Tensor, tf.Tensor]:
    """Chances, which need not sum to 1, and the pieces that have them: [..., pieces] each."""
    every = logits.shape[-1]
    if not top_k and top_p == 1.0:  # all may be drawn, so none is looked for
        return tf.nn.softmax(logits), tf.broadcast_to(tf.range(every), tf.shape(logits))
    best, kept = tf.math.top_k(logits, min(top_k or every, every))
    chances = tf.nn.softmax(best)
    # A piece is in where those before it do not make up top_p yet: the first is in any case.
    return tf.where(tf.cumsum(chances, axis=-1, exclusive=True) < top_p, chances, 0.0), kept


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
    rows: Rows,
    length: Limit,
    length_penalty: float,
    leaving: Leaving,
) -> Hypotheses:
    """One piece after the other, as `choose` says."""

    def one_more(time: tf.Tensor, rows: Rows, path: _Path) -> _Path:
        said = step(path.last, path.state, rows.memory)
        rules = Rules.of(rows.constraints, rows.limits, length, said.logits.shape[-1])
        piece, log_total = choose(said.logits, rules, time)
        piece = tf.where(rules.at_limit(time), END, piece)
        chosen = tf.gather(said.logits, piece, batch_dims=2) - log_total
        piece, chosen = tf.where(path.done, PAD, piece[:, 0]), chosen[:, 0]
        return _Path(
            last=piece[:, None],
            tokens=tf.where(tf.range(length) == time, piece[:, None], path.tokens),
            log_probability=tf.where(path.done, path.log_probability, path.log_probability + chosen),
            done=path.done | (piece == END),
            state=said.state,
        )

    def first(rows: Rows, room: Length) -> _Path:
        count = tf.size(rows.limits)
        return _Path(
            last=tf.fill([count, 1], START),
            tokens=tf.fill([count, length], PAD),
            log_probability=tf.zeros([count]),
            done=tf.zeros([count], tf.bool),
            state=add_beam(start(rows.memory, room)),
        )

    steps = Walk(
        going=lambda rows, path: tf.logical_not(path.done),
        step=one_more,
        result=lambda path: (path.tokens, path.log_probability),
        first=first,
        length=length,
    )
    tokens, log_probability = steps.to_the_end(rows, leaving)
    pieces = tf.math.count_nonzero(tokens != PAD, axis=-1, dtype=tf.int32)
    return Hypotheses(tokens[:, None], normalise(log_probability, pieces, length_penalty)[:, None])
