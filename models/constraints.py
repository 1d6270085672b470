"""What an answer must be like, and what may therefore be said at a step of a search."""

from __future__ import annotations

from typing import NamedTuple, TypeAlias

import numpy as np
import tensorflow as tf

from models.contract import END, PAD, START, UNK, Length
from models.layers import multiply
from models.top_k import top_k

Limit: TypeAlias = int | tf.Tensor  # int32 [] or [batch] where it is a tensor

NEVER = float("-inf")
SPECIAL = 4  # so many pieces, the first, have rules of their own


class Best(NamedTuple):
    """The likeliest pieces of a step, best first; -inf where fewer may come."""

    logits: tf.Tensor  # [batch, beam, count]
    pieces: tf.Tensor  # int32 [batch, beam, count]
    log_total: tf.Tensor  # [batch, beam], of all pieces: a logit less this is a log-probability


class Constraints(NamedTuple):
    """What an answer must be like, beside its greatest length."""

    allow_unknown: bool = False  # UNK may be said
    min_length: Limit | None = None  # pieces before END, at least; the greatest length wins
    prefix: tf.Tensor | None = None  # how it begins: int32 [batch, any], PAD where it is free from there on

    def take(self, rows: tf.Tensor) -> Constraints:
        """Those of some rows: numbers, int32 [some]."""
        least, prefix = self.min_length, self.prefix
        if least is not None and tf.convert_to_tensor(least).shape.rank:
            least = tf.gather(least, rows)
        return self._replace(min_length=least, prefix=None if prefix is None else tf.gather(prefix, rows))


NONE = Constraints()


class Rules(NamedTuple):
    """The constraints of a search, step by step."""

    never: tf.Tensor  # float32 [vocabulary], -inf for each piece that is never said and for END, whose rule is `end`
    longest: tf.Tensor  # int32 [batch], pieces before END
    shortest: tf.Tensor | None  # int32 [batch], the same
    prefix: tf.Tensor | None  # int32 [batch, length]

    @classmethod
    def of(cls, constraints: Constraints, longest: tf.Tensor, length: Length, vocabulary: int) -> Rules:
        """Those of a search of at most `length` steps."""
        never = np.zeros(vocabulary, np.float32)
        never[[PAD, START, END] if constraints.allow_unknown else [PAD, START, END, UNK]] = NEVER
        shortest, prefix = constraints.min_length, constraints.prefix
        if shortest is not None:
            shortest = tf.minimum(tf.convert_to_tensor(shortest, tf.int32), longest)
        if prefix is not None:
            free = tf.fill([tf.shape(prefix)[0], length], PAD)
            prefix = tf.concat([prefix, free], axis=1)[:, :length]
        return cls(tf.constant(never), longest, shortest, prefix)

    def pieces(self, logits: tf.Tensor, time: tf.Tensor) -> tf.Tensor:
        """What may come next and is not END, -inf for the rest: [batch, beam, vocabulary] -> the same shape."""
        allowed = logits + self.never
        if self.prefix is None:
            return allowed
        forced = tf.gather(self.prefix, time, axis=1)[:, None, None]
        return tf.where(forced == PAD, allowed, tf.where(tf.range(logits.shape[-1]) == forced, logits, NEVER))

    def best(self, logits: tf.Tensor, time: tf.Tensor, count: int) -> Best:
        """What of [batch, beam, vocabulary] may come next and is not END, the likeliest `count`."""
        best, pieces = top_k(self.pieces(logits, time), count)
        if self.prefix is not None:
            return Best(best, pieces, tf.reduce_logsumexp(logits, axis=-1))
        # The highest of all is known: one pass over the vocabulary less. (`best[..., 0]` would do, but of what is cut
        # once more XLA sorts the whole, at twice the time of a step.)
        highest = tf.maximum(tf.reduce_max(best, axis=-1), tf.reduce_max(logits[..., :SPECIAL], axis=-1))
        # The sum as a product: XLA adds in several passes over the vocabulary, and multiplies in one.
        total = multiply(tf.exp(logits - highest[..., None]), tf.ones([logits.shape[-1], 1]))[..., 0]
        log_total = highest + tf.math.log(total)
        return Best(best, pieces, log_total)

    def end(self, logits: tf.Tensor, time: tf.Tensor) -> tf.Tensor:
        """The logit of END, -inf where it comes too soon: [batch, beam, vocabulary] -> [batch, beam]."""
        end = logits[..., END]
        if self.shortest is not None:
            end = tf.where((time < self.shortest)[:, None], NEVER, end)
        if self.prefix is not None:
            free = tf.gather(self.prefix, time, axis=1)[:, None] == PAD
            end = tf.where(free | self.at_limit(time), end, NEVER)
        return end

    def at_limit(self, time: tf.Tensor) -> tf.Tensor:
        """Where nothing but END may come: bool [batch, 1]."""
        return (time >= self.longest)[:, None]


def limits_of(max_length: Limit, batch_size: Limit, room: Length | None = None) -> tuple[tf.Tensor, Limit]:
    """One number or one a row -> (int32 [batch], the length of the tokens, static where it can be).

    `room` for pieces before END, no less than the greatest limit, is for XLA, to which a limit must not give a shape.
    """
    limits = tf.convert_to_tensor(max_length, tf.int32)
    length = tf.maximum(tf.reduce_max(limits), 0) + 1  # the largest of no rows is the least integer
    static = tf.get_static_value(limits)
    if room is not None:
        length = room + 1
    elif static is not None:
        length = int(static.max(initial=0)) + 1
    return tf.broadcast_to(limits, [batch_size]), length
