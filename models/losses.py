"""What training makes small."""

from __future__ import annotations

import tensorflow as tf

from models.contract import PAD


def label_smoothed_cross_entropy(
    target_ids: tf.Tensor, logits: tf.Tensor, smoothing: float
) -> tuple[tf.Tensor, tf.Tensor]:
    """(The summed loss of the real pieces, how many there are), both float32 []; a target that is PAD does not count.

    [[7, 3, 0]] and logits [1, 3, vocabulary] -> (the loss of 7 and of 3, 2.0). A mean is the first over the second,
    each summed over all replicas before. Szegedy 2016, section 7: the target is 1 - smoothing on the right piece and
    smoothing spread evenly over the whole vocabulary; the loss of a perfect prediction is therefore not zero.
    """
    target_ids = tf.cast(target_ids, tf.int32)
    logits = tf.cast(logits, tf.float32)
    losses = tf.nn.sparse_softmax_cross_entropy_with_logits(target_ids, logits)
    if smoothing:
        # Cross-entropy with the smoothed target is log Z - (1 - s) z_y - s mean(z): no one-hot target is needed.
        right = tf.gather(logits, target_ids, batch_dims=2)
        losses += smoothing * (right - tf.reduce_mean(logits, axis=-1))
    real = tf.cast(target_ids != PAD, tf.float32)
    return tf.reduce_sum(losses * real), tf.reduce_sum(real)


def log_likelihood(target_ids: tf.Tensor, logits: tf.Tensor) -> tf.Tensor:
    """Of the right pieces: int32 [batch, target], [batch, target, vocabulary] -> float32 [batch, target]."""
    return -tf.nn.sparse_softmax_cross_entropy_with_logits(tf.cast(target_ids, tf.int32), tf.cast(logits, tf.float32))
