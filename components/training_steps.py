"""The compiled steps of a training: batches in, an update of the weights or sums for a validation out."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING

import keras
import tensorflow as tf

from components import batches
from components.moving_average import MovingAverage
from models import losses, scheduled_sampling
from models.contract import DECODER_IDS, PAD, TARGET_IDS, Seq2Seq

if TYPE_CHECKING:
    from components.training import Config

_NUMBER = tf.TensorSpec([], tf.int64)


def _batch(model: Seq2Seq) -> dict[str, tf.TensorSpec]:
    """What a batch for a model looks like."""
    ids = {name: tf.TensorSpec([None, None], tf.int32) for name in (DECODER_IDS, TARGET_IDS)}
    return {model.source.name: model.source, **ids}


class Updates:
    """Updates of the weights, and the sums between two reports of them.

    A group of batches makes one update by the sum of their losses over the sum of their pieces, which is what one batch
    of all their rows would give.
    """

    def __init__(
        self, model: Seq2Seq, optimizer: keras.optimizers.Optimizer, config: Config, average: MovingAverage
    ) -> None:
        self._model, self._optimizer, self._config, self._average = model, optimizer, config, average
        self._weights = model.trainable_variables
        self._loss, self._pieces, self._teach = tf.Variable(0.0), tf.Variable(0.0), tf.Variable(1.0)
        self._began_s = time.monotonic()
        alone = config.accumulate == 1
        self._gradients = [] if alone else [tf.Variable(tf.zeros(weight.shape)) for weight in self._weights]
        self._group_pieces = tf.Variable(0.0)

        def compiled(step: object, signature: list[object]) -> tf.types.experimental.PolymorphicFunction:
            return tf.function(step, input_signature=signature, jit_compile=config.jit_compile, autograph=False)

        self._update = compiled(self._update_by_one, [_batch(model), _NUMBER])
        self._add = compiled(self._add_to_group, [_batch(model), _NUMBER, _NUMBER])
        self._apply = compiled(self._update_by_group, [_NUMBER])

    def run(self, group: Sequence[batches.Batch], number: int) -> None:
        """Update `number`, counted from 0, by the batches of a group."""
        update = tf.constant(number, tf.int64)
        if not self._gradients:
            (batch,) = group
            self._update(batch, update)
            return
        for place, batch in enumerate(group):
            self._add(batch, update, tf.constant(place, tf.int64))
        self._apply(update)

    def _update_by_one(self, batch: batches.Batch, number: tf.Tensor) -> None:
        """A group of one batch, without the sums that several need."""
        inputs = self._inputs(batch, number, tf.zeros([], tf.int64))
        with tf.GradientTape() as tape:
            objective, pieces = self._objective(inputs, batch[TARGET_IDS])
            mean = objective / pieces
        self._finish(tape.gradient(mean, self._weights), number)

    def _add_to_group(self, batch: batches.Batch, number: tf.Tensor, place: tf.Tensor) -> None:
        inputs = self._inputs(batch, number, place)
        with tf.GradientTape() as tape:
            objective, pieces = self._objective(inputs, batch[TARGET_IDS])
        for sums, gradient in zip(self._gradients, tape.gradient(objective, self._weights), strict=True):
            if gradient is not None:
                sums.assign_add(tf.convert_to_tensor(gradient))
        self._group_pieces.assign_add(pieces)

    def _update_by_group(self, number: tf.Tensor) -> None:
        self._finish([sums / self._group_pieces for sums in self._gradients], number)
        for sums in (*self._gradients, self._group_pieces):
            sums.assign(tf.zeros_like(sums))

    def _finish(self, gradients: list[tf.Tensor], number: tf.Tensor) -> None:
        self._optimizer.apply(gradients, self._weights)
        self._average.update(number)

    def _inputs(self, batch: batches.Batch, number: tf.Tensor, place: tf.Tensor) -> dict[str, tf.Tensor]:
        """What the model is given: with scheduled sampling some of the decoder's pieces are its own."""
        source = batch[self._model.source.name]
        inputs = {self._model.source.name: source, DECODER_IDS: batch[DECODER_IDS]}
        scheduled = self._config.scheduled_sampling
        if scheduled is not None:
            teach = scheduled_sampling.probability(scheduled, number)
            # The draws depend on where training is, so that one that was killed and resumed draws the same.
            seed = tf.stack([tf.constant(self._config.seed, tf.int64), number * self._config.accumulate + place])
            mixed = scheduled_sampling.mix(self._model, source, batch[DECODER_IDS], teach, seed, scheduled.choose)
            inputs[DECODER_IDS] = mixed
            self._teach.assign(teach)
        return inputs

    def _objective(self, inputs: dict[str, tf.Tensor], target_ids: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """What is made small, summed over the pieces, and how many there are; the report adds the loss up."""
        decoded = self._model(inputs, training=True)
        total, pieces = losses.label_smoothed_cross_entropy(target_ids, decoded.logits, self._config.label_smoothing)
        self._loss.assign_add(total)
        self._pieces.assign_add(pieces)
        return total + self._model.auxiliary_loss(decoded, target_ids), pieces

    def report(self) -> dict[str, float]:
        """The training loss (nats a piece, smoothed) and speed since the last report."""
        now_s, pieces = time.monotonic(), float(self._pieces)
        point = {
            "loss": float(self._loss) / pieces,
            "learning_rate": float(self._optimizer.learning_rate),
            "target_pieces_per_s": pieces / (now_s - self._began_s),
        }
        if self._config.scheduled_sampling is not None:
            point["gold_probability"] = float(self._teach)
        self._began_s = now_s
        self._loss.assign(0.0)
        self._pieces.assign(0.0)
        return point

    @contextlib.contextmanager
    def interrupted(self) -> Iterator[None]:
        """The time that the body takes does not count against the speed of the training."""
        began_s = time.monotonic()
        yield
        self._began_s += time.monotonic() - began_s


class Validation:
    """The loss of rows that are not trained on."""

    def __init__(self, model: Seq2Seq) -> None:
        @tf.function(input_signature=[_batch(model)], autograph=False)
        def step(batch: batches.Batch) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
            decoded = model({name: batch[name] for name in (model.source.name, DECODER_IDS)}, training=False)
            total, pieces = losses.label_smoothed_cross_entropy(batch[TARGET_IDS], decoded.logits, 0.0)
            right = tf.equal(tf.argmax(decoded.logits, -1, tf.int32), batch[TARGET_IDS]) & (batch[TARGET_IDS] != PAD)
            return total, pieces, tf.math.count_nonzero(right, dtype=tf.float32)

        self._step = step

    def __call__(self, validation: Iterable[batches.Batch]) -> dict[str, float]:
        """Loss in nats a piece without smoothing, and the share of pieces that are right under teacher forcing."""
        loss = pieces = right = 0.0
        for batch in validation:
            sums = self._step(batch)
            loss, pieces, right = loss + float(sums[0]), pieces + float(sums[1]), right + float(sums[2])
        return {"validation_loss": loss / pieces, "validation_piece_accuracy": right / pieces}
