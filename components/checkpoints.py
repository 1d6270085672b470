"""What a training keeps on disk: its latest state, its best weights, and the weights at the ends of epochs."""

from __future__ import annotations

import contextlib
import dataclasses
import pathlib
from collections.abc import Collection, Sequence

import keras
import numpy as np
import tensorflow as tf

from models.contract import Seq2Seq


@dataclasses.dataclass
class Progress:
    """Where training is, as variables so that a checkpoint holds it.

    Attributes:
        epoch: epochs that are done.
        step: updates of the weights that are done,
        step_in_epoch: and those of the epoch that is under way.
        epochs_without_gain: since the best one.
        best_epoch: the one, counted from 1, with the best weights so far.
        best_cost: of them, what training makes small: their loss, or minus a score that is better when it is higher.
        best_loss: their validation loss.
    """

    epoch: tf.Variable
    step: tf.Variable
    step_in_epoch: tf.Variable
    epochs_without_gain: tf.Variable
    best_epoch: tf.Variable
    best_cost: tf.Variable
    best_loss: tf.Variable

    @classmethod
    def new(cls) -> Progress:
        """At the start."""
        counters = {field.name: tf.Variable(0, dtype=tf.int64) for field in dataclasses.fields(cls)}
        # As wide as Python's numbers: a cost that is rounded could be beaten by itself.
        return cls(**counters | {name: tf.Variable(np.inf, dtype=tf.float64) for name in ("best_cost", "best_loss")})


class Checkpoints:
    """The files of one training, in one folder."""

    def __init__(
        self,
        model: Seq2Seq,
        optimizer: keras.optimizers.Optimizer,
        progress: Progress,
        averages: Sequence[tf.Variable],
        folder: pathlib.Path,
    ) -> None:
        # Variables by their order: tf.train.Checkpoint leaves out layers that a Keras layer holds in a list.
        weights = [variable.value for variable in model.variables]
        slots = [variable.value for variable in optimizer.variables]
        self._state = tf.train.Checkpoint(weights=weights, slots=slots, averages=list(averages), **vars(progress))
        self._latest = tf.train.CheckpointManager(self._state, str(folder), max_to_keep=1)
        self._best = tf.train.Checkpoint(weights=weights)
        self._trained = [variable.value for variable in model.trainable_variables]
        self._folder = folder

    def save(self) -> None:
        """Write the state as it is."""
        self._latest.save()

    def restore(self) -> None:
        """Go back to the latest state, where there is one."""
        if self._latest.latest_checkpoint:
            self._state.restore(self._latest.latest_checkpoint).assert_consumed()

    def save_best(self) -> None:
        """Write the weights as the best so far."""
        self._best.write(str(self._folder / "best"))

    def restore_best(self) -> None:
        """Go back to the best weights."""
        self._best.read(str(self._folder / "best")).assert_consumed()

    def save_epoch(self, epoch: int) -> None:
        """Write the trained weights at the end of an epoch."""
        np.savez(self._epoch(epoch), *(variable.numpy() for variable in self._trained))

    def keep_epochs(self, epochs: Collection[int]) -> None:
        """Delete what `save_epoch` wrote of any other."""
        for path in set(self._folder.glob("epoch-*.npz")) - {self._epoch(epoch) for epoch in epochs}:
            path.unlink()

    def restore_mean(self, epochs: Sequence[int]) -> None:
        """Give the model the mean of its weights at the ends of these epochs (Vaswani 2017, section 6.1)."""
        with contextlib.ExitStack() as opened:
            files = [opened.enter_context(np.load(self._epoch(epoch))) for epoch in epochs]
            for number, variable in enumerate(self._trained):
                variable.assign(np.mean([file[f"arr_{number}"] for file in files], axis=0))

    def _epoch(self, epoch: int) -> pathlib.Path:
        return self._folder / f"epoch-{epoch}.npz"
