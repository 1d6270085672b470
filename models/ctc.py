"""Connectionist temporal classification (Graves 2006): a piece or a blank a position, and what they spell.

Positions that say 7, 7, blank, 7, 9 spell [7, 7, 9]: repeats are merged, then blanks are left out. The blank has the
id of PAD, which no position says; nor does one say END, for a recording ends by itself. The probability of a spelling
is the sum over all the ways to say it. How it is searched for is in `models/ctc_prefix.py`.
"""

from __future__ import annotations

import tensorflow as tf

from models.contract import END, PAD
from models.output import Logits
from models.recurrence import scan

NEVER = -1e30  # the logarithm of 0; finite, so that two of them have a difference


class Head(Logits):
    """What each position says: [batch, source, depth] -> logits, float32 [batch, source, vocabulary], never END."""

    def call(self, vector: tf.Tensor, training: bool | None = None) -> tf.Tensor:
        logits = super().call(vector, training)
        return tf.where(tf.range(logits.shape[-1]) == END, NEVER, logits)


def add(*logs: tf.Tensor) -> tf.Tensor:
    """log(sum(exp(logs))), element by element; at least NEVER."""
    highest = logs[0]
    for other in logs[1:]:
        highest = tf.maximum(highest, other)
    total = tf.add_n([tf.exp(each - highest) for each in logs])
    return tf.maximum(highest + tf.math.log(total), NEVER)


def frames_needed(target_ids: tf.Tensor) -> tf.Tensor:
    """The least positions that can spell a target: int32 [batch, target], PAD after its pieces -> int32 [batch].

    One a piece, and a blank between two that are the same.
    """
    pieces = tf.math.count_nonzero(target_ids != PAD, axis=1, dtype=tf.int32)
    same = (target_ids[:, 1:] == target_ids[:, :-1]) & (target_ids[:, 1:] != PAD)
    return pieces + tf.math.count_nonzero(same, axis=1, dtype=tf.int32)


def loss(logits: tf.Tensor, mask: tf.Tensor, target_ids: tf.Tensor) -> tf.Tensor:
    """-log P(target | source) of every row, float32 [batch] (Graves 2006, eq. 8 and 12).

    A row whose target does not fit into its positions has no probability and nothing to learn from: its loss is 0.

    (tf.nn.ctc_loss has two implementations: one that XLA does not compile and that refuses an empty target, and one
    that goes over the vocabulary at every step. [16, 200, 1000] and 40 pieces, with gradients, on one core: 49 and
    368 ms, this one 95, and 47 with XLA.)

    Args:
        logits: float32 [batch, source, vocabulary].
        mask: bool [batch, source], True first and False after the last position.
        target_ids: int32 [batch, target], pieces and then PAD, without END.
    """
    pieces, frames = (tf.math.count_nonzero(part, axis=1, dtype=tf.int32) for part in (target_ids != PAD, mask))
    # Section 4.1: a blank before, between and after the pieces, 2 target + 1 states in all.
    blanks = tf.fill(tf.shape(target_ids), PAD)
    states = tf.reshape(tf.stack([blanks, target_ids], axis=-1), [tf.shape(target_ids)[0], -1])
    states = tf.concat([states, tf.fill([tf.shape(states)[0], 1], PAD)], axis=1)
    said = tf.gather(tf.nn.log_softmax(logits), states, axis=2, batch_dims=1)  # [batch, source, states]
    fits = (frames >= frames_needed(target_ids)) & (frames > 0)
    return tf.where(fits, -_log_likelihood(said, states, frames, 2 * pieces + 1, fits), 0.0)


def _log_likelihood(
    said: tf.Tensor, states: tf.Tensor, frames: tf.Tensor, counts: tf.Tensor, fits: tf.Tensor
) -> tf.Tensor:
    """log P(target | source), float32 [batch], with its gradient from the forward and backward variables.

    Both are found in one loop: backward is forward of what is reversed. And none is left for the gradient.

    Args:
        said: log-probability of each state's piece, float32 [batch, source, states].
        states: int32 [batch, states].
        frames: how many positions are real, int32 [batch].
        counts: how many states are, int32 [batch].
        fits: bool [batch], False where there is nothing to learn.
    """

    def turn(inputs: tf.Tensor) -> tf.Tensor:
        return tf.reverse_sequence(tf.reverse_sequence(inputs, frames, 1, 0), counts, 2, 0)

    @tf.custom_gradient
    def likelihood(said: tf.Tensor) -> tuple[tf.Tensor, object]:
        both = tf.concat([states, tf.reverse_sequence(states, counts, 1, 0)], axis=0)
        forward, backward = tf.split(_forward(tf.concat([said, turn(said)], axis=0), both), 2)
        places = tf.range(tf.shape(states)[1])
        # Eq. 8: a spelling ends with its last piece or with the blank after it.
        last = (places < counts[:, None]) & (places >= counts[:, None] - 2)
        ends = tf.gather(forward, tf.maximum(frames - 1, 0), batch_dims=1)
        total = tf.reduce_logsumexp(tf.where(last, ends, NEVER), axis=-1)

        def gradient(upstream: tf.Tensor) -> tf.Tensor:
            # Eq. 14: the share of the ways that are in this state at this position.
            shares = tf.exp(tf.minimum(forward + turn(backward) - said - total[:, None, None], 0.0))
            real = tf.sequence_mask(frames, tf.shape(said)[1])[:, :, None] & (places < counts[:, None])[:, None]
            return tf.where(real & fits[:, None, None], shares * upstream[:, None, None], 0.0)

        return total, gradient

    found: tf.Tensor = likelihood(said)
    return found


def _forward(said: tf.Tensor, states: tf.Tensor) -> tf.Tensor:
    """Log of alpha_t(s), Graves 2006, eq. 6: [batch, source, states] and int32 [batch, states] -> as `said`."""
    # From the piece before the last blank one may go on without the blank, but not to the same piece.
    skip = (states != PAD) & (states != tf.pad(states, [[0, 0], [2, 0]])[:, :-2])
    nothing = tf.fill(tf.shape(states), NEVER)

    def step(now: tuple[tf.Tensor, ...], before: tf.Tensor) -> tuple[tuple[tf.Tensor, ...], tf.Tensor]:
        one = tf.pad(before, [[0, 0], [1, 0]], constant_values=NEVER)[:, :-1]
        two = tf.pad(before, [[0, 0], [2, 0]], constant_values=NEVER)[:, :-2]
        after = tf.maximum(add(before, one, tf.where(skip, two, NEVER)) + now[0], NEVER)
        return (after,), after

    start = tf.concat([tf.zeros_like(nothing[:, :1]), nothing[:, 1:]], axis=1)
    spec = tf.TensorSpec([None, None], tf.float32)
    (alphas,), _ = scan(step, (tf.transpose(said, [1, 0, 2]),), start, (spec,))
    return tf.transpose(alphas, [1, 0, 2])
