"""A model held to a given answer: what it says of each piece, and where it looks for it (forced decoding).

force(model, [[5, 9, 3]], [[7, 6, 3]]) -> Forced(log_probabilities [[-0.1, -0.7, -0.2]], attention [1, 3, 3], ...)
"""

from __future__ import annotations

from typing import NamedTuple

import tensorflow as tf

from models.contract import DECODER_IDS, END, PAD, START, Seq2Seq


class Forced(NamedTuple):
    """What a model says of a given answer; nothing (0) of what is PAD."""

    log_probabilities: tf.Tensor  # float32 [batch, target], of each piece after those before it
    attention: tf.Tensor  # float32 [batch, target, source], where the model looks for each piece
    looked: tf.Tensor  # float32 [batch, source], the sum of its weights while it says the answer


def force(model: Seq2Seq, source: tf.Tensor, target_ids: tf.Tensor) -> Forced:
    """Say a given answer.

    Where a model looks for a piece is read at the step that says it, or at the next one, which is given it: a
    Transformer knows there which piece it is and looks at where it comes from (Chen 2020, "Accurate Word Alignment
    Induction from Neural Machine Translation", section 3.1; `Seq2Seq.aligned_when_given`). END is given to no step.

    Args:
        model: any family.
        source: as `model.source` says.
        target_ids: pieces and END, int32 [batch, target].
    """
    starts = tf.fill([tf.shape(target_ids)[0], 1], START)
    decoder_ids = tf.concat([starts, target_ids[:, :-1]], axis=1)
    decoded = model({model.source.name: source, DECODER_IDS: decoder_ids}, training=False)
    said = tf.gather(decoded.logits, target_ids, batch_dims=2) - tf.reduce_logsumexp(decoded.logits, axis=-1)
    real = target_ids != PAD
    weights = tf.where(real[..., None], decoded.attention, 0.0)
    attention = weights
    if model.aligned_when_given:
        given = tf.concat([weights[:, 1:], weights[:, -1:]], axis=1)
        attention = tf.where((real & (target_ids != END))[..., None], given, weights)
    return Forced(tf.where(real, said, 0.0), attention, tf.reduce_sum(weights, axis=1))
