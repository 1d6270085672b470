"""What a listener with CTC says of the next piece of an answer (Watanabe 2017, algorithm 2), for a beam search.

heard = hear(logits, mask); prefix = begin(heard), with a beam axis
prefix = extend(prefix, [[START]], heard); scores(prefix, heard) -> log P(next piece | no piece yet), [1, 1, vocabulary]

The paper goes through time in a loop for every piece. Here there is none: the probability of every next piece is one
product over time, and only the piece that was chosen has its forward variables computed, by doubling.
"""

from __future__ import annotations

from typing import NamedTuple

import tensorflow as tf

from models.contract import END, PAD, START
from models.ctc import NEVER, add
from models.recurrence import scan
from models.states import add_beam

# What is said of a piece that CTC holds for impossible: it costs, but attention may still be sure of it.
_LEAST = -46.0  # 1e-20
_TINY = 1e-37  # float32


class Heard(NamedTuple):
    """What a listener said of every position, prepared once. NEVER at padding, for PAD and for END."""

    pieces: tf.Tensor  # float32 [batch, vocabulary, source], log-probabilities
    chances: tf.Tensor  # the same, as probabilities
    blank: tf.Tensor  # float32 [batch, source], log-probability of no piece; 0 at padding: nothing is all it says
    mask: tf.Tensor  # bool [batch, source]


class Prefix(NamedTuple):
    """The forward variables of an answer's beginning; leaves [batch, ...], in decoding [batch, beam, ...].

    `source + 1` points in time: before the first position, after it, and so on. Logarithms, float32.
    """

    piece: tf.Tensor  # [batch, source + 1], that it was said by then, and the last piece just now: gamma^n
    blank: tf.Tensor  # [batch, source + 1], and a blank just now: gamma^b
    last: tf.Tensor  # int32 [batch], the last piece


def hear(logits: tf.Tensor, mask: tf.Tensor) -> Heard:
    """Logits as of `ctc.Head`, float32 [batch, source, vocabulary], and bool [batch, source] -> Heard."""
    said = tf.nn.log_softmax(logits)
    pieces = tf.range(logits.shape[-1])
    spoken = mask[..., None] & (pieces != PAD) & (pieces != END)
    logs = tf.transpose(tf.where(spoken, tf.maximum(said, NEVER), NEVER), [0, 2, 1])
    return Heard(logs, tf.exp(logs), tf.where(mask, said[..., PAD], 0.0), mask)


def begin(heard: Heard) -> Prefix:
    """No piece yet: blanks only (algorithm 2, line 4)."""
    blank = tf.pad(tf.cumsum(heard.blank, axis=1), [[0, 0], [1, 0]])
    return Prefix(tf.fill(tf.shape(blank), NEVER), blank, tf.fill([tf.shape(blank)[0]], START))


def extend(prefix: Prefix, tokens: tf.Tensor, heard: Heard) -> Prefix:
    """One piece more: int32 [batch, beam], leaves [batch, beam, ...] -> the same; START leaves it as it is."""
    said = tf.gather(heard.pieces, tokens, batch_dims=1)  # [batch, beam, source]
    # Line 12: the same piece again needs a blank between.
    same = (tokens == prefix.last)[..., None]
    ready = tf.where(same, prefix.blank, add(prefix.piece, prefix.blank))[..., :-1]
    piece = _accumulate(said, ready + said)  # line 13
    silent = tf.broadcast_to(heard.blank[:, None], tf.shape(said))
    blank = _accumulate(silent, piece[..., :-1] + silent)  # line 14
    started = (tokens == START)[..., None]
    return Prefix(tf.where(started, prefix.piece, piece), tf.where(started, prefix.blank, blank), tokens)


def scores(prefix: Prefix, heard: Heard) -> tf.Tensor:
    """log P(next piece | prefix), END standing for none, float32 [batch, beam, vocabulary]; leaves [batch, beam, ...].

    A proper distribution, for whatever begins with the prefix either ends there or goes on with some piece. What has
    less than 1e-20 gets that; of a prefix that cannot be, every piece is as likely.
    """
    total = add(prefix.piece, prefix.blank)
    ready = tf.where(heard.mask[:, None], total[..., :-1], NEVER)
    highest = tf.reduce_max(ready, axis=-1, keepdims=True)
    # Line 15: psi(h) = sum_t phi_t p_t(c), for every piece c at once.
    begun = highest + tf.math.log(
        tf.maximum(tf.matmul(tf.exp(ready - highest), heard.chances, transpose_b=True), _TINY)
    )
    again = tf.gather(heard.pieces, prefix.last, batch_dims=1) + prefix.blank[..., :-1]
    vocabulary = tf.range(begun.shape[-1])
    begun = tf.where(vocabulary == prefix.last[..., None], tf.reduce_logsumexp(again, axis=-1, keepdims=True), begun)
    begun = tf.where(vocabulary == PAD, NEVER, tf.where(vocabulary == END, total[..., -1:], begun))  # line 7
    return tf.maximum(tf.nn.log_softmax(tf.maximum(begun, NEVER)), _LEAST)


def along(heard: Heard, decoder_ids: tf.Tensor) -> tf.Tensor:
    """`scores` after each piece of a given answer: int32 [batch, target] -> float32 [batch, target, vocabulary]."""

    def step(now: tuple[tf.Tensor, ...], prefix: Prefix) -> tuple[tuple[tf.Tensor, ...], Prefix]:
        after = extend(prefix, now[0], heard)
        return (scores(after, heard)[:, 0],), after

    spec = tf.TensorSpec([None, heard.pieces.shape[1]], tf.float32)
    (said,), _ = scan(step, (tf.transpose(decoder_ids)[..., None],), add_beam(begin(heard)), (spec,))
    return tf.transpose(said, [1, 0, 2])


def _accumulate(kept: tf.Tensor, more: tf.Tensor) -> tf.Tensor:
    """x_t = kept_t x_{t-1} + more_t from x_0 = 0, all in logarithms: two [..., source] -> [..., source + 1].

    By doubling (Hillis 1986): after the n-th turn a place holds what the 2^n places up to it make of what came before
    them. The closed form with cumulative sums of `kept` would lose digits to them: over 1,000 positions they are in the
    ten thousands.
    """
    source = tf.shape(kept)[-1]

    def turn(width: tf.Tensor, kept: tf.Tensor, more: tf.Tensor) -> tuple[tf.Tensor, ...]:
        inside = tf.range(source) >= width
        kept_before, more_before = (tf.roll(part, width, -1) for part in (kept, more))
        more = add(more, tf.where(inside, kept + more_before, NEVER))
        return 2 * width, tf.maximum(tf.where(inside, kept + kept_before, kept), NEVER), more

    start = (tf.constant(1), tf.maximum(kept, NEVER), tf.maximum(more, NEVER))
    shapes = (tf.TensorShape([]), kept.shape, more.shape)
    more = tf.while_loop(lambda width, *_: width < source, turn, start, shape_invariants=shapes)[2]
    return tf.pad(more, [[0, 0]] * (more.shape.rank - 1) + [[1, 0]], constant_values=NEVER)
