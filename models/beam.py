"""Beam search, a pure function of a model's `step`, `start` and memory as the searches of `models/decoding.py` are.

    beam_search(step, start, memory, batch_size=1, beam_size=2, max_length=4) -> Hypotheses of the two best answers

Its scores may have a coverage penalty beside the length penalty: log P(Y) / lp(Y) + cp(X; Y) (Wu 2016, eq. 14).
"""

from __future__ import annotations

from typing import NamedTuple

import tensorflow as tf

from models.constraints import NEVER, NONE, Constraints, Limit, Rules, limits_of
from models.contract import END, PAD, START, Length, Nest, Step
from models.decoding import Hypotheses, Rows, StartFunction, StepFunction, greedy, normalise
from models.states import add_beam
from models.walk import Leaving, Walk

# The least attention that counts: what hard attention did not look at costs 14 times the penalty, and not everything.
_UNSEEN = 1e-6


def coverage(looked: tf.Tensor, source: tf.Tensor, penalty: float) -> tf.Tensor:
    """Wu 2016, eq. 14: beta * sum_i log(min(sum_j p_ij, 1)), the less the more was left out: float32 [batch, beam].

    Args:
        looked: the attention's weights, summed over the steps: float32 [batch, beam, source].
        source: where there is something to look at: bool [batch, source].
        penalty: beta.
    """
    share = tf.clip_by_value(looked, _UNSEEN, 1.0)
    return penalty * tf.reduce_sum(tf.where(source[:, None], tf.math.log(share), 0.0), axis=-1)


class _Beam(NamedTuple):
    """The search between two steps. Live: goes on; finished: has END. Both best first."""

    last: tf.Tensor  # int32 [batch, beam], the last piece of a live hypothesis
    live: tf.Tensor  # float32 [batch, beam], log-probability
    live_tokens: tf.Tensor  # int32 [batch, beam, length]
    finished: tf.Tensor  # float32 [batch, beam], score
    finished_tokens: tf.Tensor  # int32 [batch, beam, length]
    state: Nest  # leaves [batch, beam, ...]


def beam_search(
    step: StepFunction,
    start: StartFunction,
    memory: Nest,
    *,
    batch_size: Limit,
    beam_size: int,
    max_length: Limit,
    room: Length | None = None,
    length_penalty: float = 0.0,
    coverage_penalty: float = 0.0,
    source: tf.Tensor | None = None,
    n_best: int | None = None,
    constraints: Constraints = NONE,
    leaving: Leaving = "none",
) -> Hypotheses:
    """The `n_best` (default: all of the beam) best-scored of the answers that a beam of `beam_size` comes across.

    Live and finished hypotheses are kept apart (Wu 2016, section 7), so a live one never drives a better finished one
    out. A hypothesis may finish where END is among the `beam_size` best continuations of its row. A row is done when
    nothing live can still be among its `n_best`: the search stops early and misses nothing, and a row does not depend
    on the others of its batch. A beam of one is greedy search. Arguments as for `greedy`, and with a `coverage_penalty`
    the `source`, bool [batch, source], True where there is something to look at: see `coverage`.
    """
    n_best = beam_size if n_best is None else n_best
    if not 1 <= n_best <= beam_size:
        raise ValueError(f"n_best must be 1 to beam_size, got n_best {n_best} and beam_size {beam_size}")
    for name, penalty in (("length_penalty", length_penalty), ("coverage_penalty", coverage_penalty)):
        if penalty < 0:
            raise ValueError(f"{name} must be 0 or more, got {penalty}")
    if coverage_penalty and (beam_size == 1 or source is None):
        raise ValueError("a coverage_penalty ranks answers by what they looked at: it needs a beam of 2 and the source")
    if beam_size == 1:
        return greedy(
            step,
            start,
            memory,
            batch_size=batch_size,
            max_length=max_length,
            room=room,
            length_penalty=length_penalty,
            constraints=constraints,
            leaving=leaving,
        )
    limits, length = limits_of(max_length, batch_size, room)
    if coverage_penalty:
        step = _watched(step)

    def going(rows: Rows, beam: _Beam) -> tf.Tensor:
        # Log-probabilities only fall, the divisor is largest at the limit, and coverage only takes away: no live
        # hypothesis can score above this.
        reachable = normalise(beam.live[:, 0], rows.limits + 1, length_penalty)
        return reachable > beam.finished[:, n_best - 1]

    def one_more(time: tf.Tensor, rows: Rows, beam: _Beam) -> _Beam:
        said = step(beam.last, beam.state, rows.memory)
        rules = Rules.of(rows.constraints, rows.limits, length, said.logits.shape[-1])
        live, parents, pieces, ends = _continue(said.logits, beam.live, rules, time)
        at_limit = rules.at_limit(time)
        ends = tf.where(at_limit | _among_best(ends, live), ends, NEVER)
        live = tf.where(at_limit, NEVER, live)
        scores = normalise(ends, time + 1, length_penalty)
        if coverage_penalty:
            scores += coverage(said.state.looked, rows.source, coverage_penalty)
        here = tf.range(length) == time
        finished, finished_tokens = _best(
            tf.concat([beam.finished, scores], axis=1),
            tf.concat([beam.finished_tokens, tf.where(here, END, beam.live_tokens)], axis=1),
            beam_size,
        )
        tokens = tf.where(here, pieces[..., None], tf.gather(beam.live_tokens, parents, batch_dims=1))
        follow = tf.nest.map_structure(lambda leaf: tf.gather(leaf, parents, batch_dims=1), said.state)
        return _Beam(pieces, live, tokens, finished, finished_tokens, follow)

    def first(rows: Rows, room: Length) -> _Beam:
        count = tf.size(rows.limits)
        state = start(rows.memory, room)
        if coverage_penalty:
            state = _Watched(state, tf.zeros_like(rows.source, tf.float32))
        nothing = tf.fill([count, beam_size], NEVER)
        no_tokens = tf.fill([count, beam_size, length], PAD)
        return _Beam(
            tf.fill([count, beam_size], START),
            tf.concat([tf.zeros([count, 1]), nothing[:, 1:]], axis=1),  # the copies of START are not alternatives
            no_tokens,
            nothing,
            no_tokens,
            add_beam(state, beam_size),
        )

    steps = Walk(
        going,
        one_more,
        result=lambda beam: (beam.finished_tokens[:, :n_best], beam.finished[:, :n_best]),
        first=first,
        length=length,
    )
    tokens, scores = steps.to_the_end(Rows(memory, limits, constraints, source), leaving)
    return Hypotheses(tf.where(tf.math.is_finite(scores)[..., None], tokens, PAD), scores)


class _Watched(NamedTuple):
    """A state, and where the hypothesis looked so far."""

    state: Nest
    looked: tf.Tensor  # float32 [batch, source], the sum of its attention


def _watched(step: StepFunction) -> StepFunction:
    """The same step, whose state is a _Watched."""

    def watched_step(tokens: tf.Tensor, before: _Watched, memory: Nest) -> Step:
        said = step(tokens, before.state, memory)
        return said._replace(state=_Watched(said.state, before.looked + said.attention))

    return watched_step


def _continue(
    logits: tf.Tensor, live: tf.Tensor, rules: Rules, time: tf.Tensor
) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor, tf.Tensor]:
    """The best ways to go on: [batch, beam, vocabulary], [batch, beam] -> log-probability, parent, piece; that of END.

    All [batch, beam]; the first three best first, the last in the order of `live`. Only the chosen logits are turned
    into log-probabilities, and the best of a row are chosen among the best of each hypothesis: both save passes over
    the vocabulary.
    """
    beam_size = live.shape[1]
    width = min(beam_size, logits.shape[-1])
    best = rules.best(logits, time, width)
    totals = live - best.log_total
    candidates = tf.reshape(best.logits + totals[..., None], [-1, beam_size * width])
    live, chosen = tf.math.top_k(candidates, beam_size)
    pieces = tf.gather(tf.reshape(best.pieces, [-1, beam_size * width]), chosen, batch_dims=1)
    return live, chosen // width, pieces, totals + rules.end(logits, time)


def _among_best(ends: tf.Tensor, live: tf.Tensor) -> tf.Tensor:
    """Whether fewer than beam others beat a candidate: [batch, beam] and [batch, beam] -> bool [batch, beam]."""
    others = tf.concat([ends, live], axis=1)
    return tf.math.count_nonzero(others[:, None, :] > ends[:, :, None], axis=-1, dtype=tf.int32) < live.shape[1]


def _best(scores: tf.Tensor, tokens: tf.Tensor, beam_size: int) -> tuple[tf.Tensor, tf.Tensor]:
    """The best `beam_size` of [batch, n] scores and their tokens [batch, n, length]; of equals, the first."""
    scores, chosen = tf.math.top_k(scores, beam_size)
    return scores, tf.gather(tokens, chosen, batch_dims=1)
