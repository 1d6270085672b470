"""Which of a decoder's layers looks where the answer comes from, by what the answer misses when it is taken away.

A source piece that the model needs for a piece of the answer makes that piece less likely when it is erased (Li 2016,
"Understanding Neural Networks through Representation Erasure"). That needs no gold alignments, so it can be asked of
any validation rows; the layer whose weights point at the same pieces the most often is the one to report::

    source "the cat", answer "le chat"; without "the" "le" is less likely: le-the, without "cat" "chat": chat-cat
    layer 1 points at: the, the; layer 2 at: the, cat -> layer 2
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

import numpy as np
import tensorflow as tf

from components import batches
from models.contract import END, PAD, SOURCE_IDS, TARGET_IDS, UNK, Seq2Seq
from models.forced import force

Likelihood = Callable[[tf.Tensor, tf.Tensor], tf.Tensor]

ROWS = 128  # of validation, which are a few thousand pieces


def choose(model: Seq2Seq, rows: Iterable[batches.Batch]) -> dict[int, float]:
    """Set `model.alignment_layer` to the best of its `alignment_choices`, where it has any.

    Returns:
        What was measured, {layer: share of the answers' pieces for which it points at what they miss the most}.
    """
    if not model.alignment_choices:
        return {}
    said = likelihood(model)
    agreed, pieces = dict.fromkeys(model.alignment_choices, 0), 0
    for batch in rows:
        source_ids, target_ids = (tf.constant(batch[name]) for name in (SOURCE_IDS, TARGET_IDS))
        missed = most_missed(said, source_ids, target_ids)
        pieces += int((missed >= 0).sum())
        for layer in model.alignment_choices:
            model.alignment_layer = layer
            looked = tf.argmax(force(model, source_ids, target_ids).attention, axis=-1, output_type=tf.int32)
            agreed[layer] += int((looked.numpy() == missed).sum())
    shares = {layer: count / max(pieces, 1) for layer, count in agreed.items()}
    model.alignment_layer = max(shares, key=lambda layer: shares[layer])
    return shares


def likelihood(model: Seq2Seq) -> Likelihood:
    """Source and answer, int32 [batch, source] and [batch, target] -> log-probabilities of the answer's pieces."""
    return tf.function(
        lambda source_ids, target_ids: force(model, source_ids, target_ids).log_probabilities,
        input_signature=[tf.TensorSpec([None, None], tf.int32)] * 2,
        autograph=False,
    )


def most_missed(said: Likelihood, source_ids: tf.Tensor, target_ids: tf.Tensor) -> np.ndarray:
    """For each piece of the answer the place in the source whose erasure costs it the most: int [batch, target].

    -1 where no erasure costs anything, and for END and PAD. END of the source is not erased.
    """
    whole = said(source_ids, target_ids)
    costs = []
    for place in range(source_ids.shape[1]):
        here = (tf.range(source_ids.shape[1]) == place) & (source_ids != PAD) & (source_ids != END)
        costs.append(whole - said(tf.where(here, UNK, source_ids), target_ids))
    cost = np.stack(costs, axis=-1)  # [batch, target, source]
    known = (target_ids != PAD) & (target_ids != END) & (cost.max(axis=-1) > 0)
    return np.where(known, cost.argmax(axis=-1), -1)
