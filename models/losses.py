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
    labels = tf.reshape(tf.cast(target_ids, tf.int32), [-1])
    losses = _smoothed(labels, tf.reshape(tf.cast(logits, tf.float32), [-1, logits.shape[-1]]), smoothing)
    real = tf.cast(labels != PAD, tf.float32)
    return tf.reduce_sum(losses * real), tf.reduce_sum(real)


def _smoothed(labels: tf.Tensor, logits: tf.Tensor, smoothing: float) -> tf.Tensor:
    """int32 [pieces], float32 [pieces, vocabulary] -> the loss of each piece, float32 [pieces].

    With its gradient written out, since a training step spends a third of its time here: as a sum of TensorFlow's
    operations it goes over the logits, the largest tensor of the step, three times as often.
    """

    @tf.custom_gradient
    def cross_entropy(logits: tf.Tensor) -> tuple[tf.Tensor, object]:
        highest = tf.reduce_max(logits, axis=-1, keepdims=True)
        powers = tf.exp(logits - highest)
        total = tf.reduce_sum(powers, axis=-1, keepdims=True)
        # Cross-entropy with the smoothed target is log Z - (1 - s) z_y - s mean(z): no one-hot target is needed.
        losses = tf.squeeze(tf.math.log(total) + highest, -1) - (1.0 - smoothing) * tf.gather(
            logits, labels, batch_dims=1
        )
        if smoothing:
            losses -= smoothing * tf.reduce_mean(logits, axis=-1)

        def gradient(upstream: tf.Tensor) -> tf.Tensor:
            # The softmax less the smoothed target.
            each = upstream[:, None]
            everywhere = powers * (each / total)
            if smoothing:
                everywhere -= each * (smoothing / logits.shape[-1])
            places = tf.stack([tf.range(tf.size(labels)), labels], axis=-1)
            return tf.tensor_scatter_nd_sub(everywhere, places, (1.0 - smoothing) * upstream)

        return losses, gradient

    losses: tf.Tensor = cross_entropy(logits)
    return losses


def log_likelihood(target_ids: tf.Tensor, logits: tf.Tensor) -> tf.Tensor:
    """Of the right pieces: int32 [batch, target], [batch, target, vocabulary] -> float32 [batch, target]."""
    labels = tf.reshape(tf.cast(target_ids, tf.int32), [-1])
    losses = _smoothed(labels, tf.reshape(tf.cast(logits, tf.float32), [-1, logits.shape[-1]]), 0.0)
    return -tf.reshape(losses, tf.shape(target_ids))
