"""Training, apart from TFX: batches in, the best weights out.

`train` is an ordinary function over ordinary objects. A run that was killed continues from its last checkpoint: the
batches of an epoch depend on the seed and the epoch alone, so the resumed run skips the ones that it has seen.
"""

from __future__ import annotations

import dataclasses
import itertools
import math
import pathlib
import shutil
import time
import typing
from collections.abc import Callable, Iterable, Sequence

import annotated_types
import keras
import tensorflow as tf

from components import batches
from models import losses, schedules
from models.contract import DECODER_IDS, SOURCE_IDS, TARGET_IDS, Seq2Seq

OUTCOME_FILE = "training.json"

Positive = annotated_types.Gt(0)


@dataclasses.dataclass(frozen=True)
class Config:
    """The `training` section.

    Attributes:
        epochs: passes over the training rows, at most.
        patience: epochs without a better validation loss after which training stops.
        clip_norm: largest global norm of the gradients (Pascanu 2013).
        label_smoothing: share of the target's probability spread over the vocabulary (Szegedy 2016).
        checkpoint_steps: steps between two checkpoints; each epoch ends with one, too.
        report_steps: steps between two points of the learning curves.
        jit_compile: compile the training step with XLA. It pays where shapes are few and the stack is the current one.
    """

    __pydantic_config__: typing.ClassVar[dict[str, str]] = {"extra": "forbid"}

    epochs: typing.Annotated[int, Positive] = 20
    patience: typing.Annotated[int, Positive] = 3
    batches: batches.Config = dataclasses.field(default_factory=batches.Config)
    schedule: schedules.Config = dataclasses.field(default_factory=schedules.Config)
    clip_norm: typing.Annotated[float, Positive] = 1.0
    label_smoothing: typing.Annotated[float, annotated_types.Ge(0), annotated_types.Lt(1)] = 0.1
    seed: typing.Annotated[int, annotated_types.Ge(0), annotated_types.Lt(2**32)] = 1
    checkpoint_steps: typing.Annotated[int, Positive] = 500
    report_steps: typing.Annotated[int, Positive] = 25
    jit_compile: bool = False


class Observer(typing.Protocol):
    """Is told how training goes."""

    def began(self, total_steps: int, done_steps: int) -> None:
        """Training starts, or goes on after `done_steps` steps."""

    def step(self, step: int, metrics: dict[str, float]) -> None:
        """A point of the learning curves."""

    def epoch(self, step: int, metrics: dict[str, float]) -> None:
        """An epoch ended and was validated."""


class Outcome(typing.NamedTuple):
    """What came of a training; the model then holds its best weights."""

    steps: int
    epochs: int
    validation_loss: float  # nats a piece, without label smoothing
    resumed_from_step: int  # 0: from the start


@dataclasses.dataclass
class _Progress:
    """Where training is, as variables so that a checkpoint holds it."""

    epoch: tf.Variable
    step: tf.Variable
    step_in_epoch: tf.Variable
    best_loss: tf.Variable
    epochs_without_gain: tf.Variable

    @classmethod
    def new(cls) -> _Progress:
        counters = {field.name: tf.Variable(0, dtype=tf.int64) for field in dataclasses.fields(cls)}
        return cls(**counters | {"best_loss": tf.Variable(float("inf"))})


def train(
    model: Seq2Seq,
    batches_of_epoch: Callable[[int], Iterable[batches.Batch]],
    validation: Callable[[], Iterable[batches.Batch]],
    config: Config,
    checkpoint_dir: pathlib.Path,
    observers: Sequence[Observer] = (),
) -> Outcome:
    """Train until the epochs are done or patience is out, and leave the best weights in the model.

    Args:
        model: a model of the zoo.
        batches_of_epoch: epoch -> its batches, the same at every call.
        validation: the batches that choose the best weights.
        config: the `training` section.
        checkpoint_dir: where checkpoints go; a training that finds its own there goes on from it.
        observers: are told of progress.
    """
    total_steps = config.epochs * sum(1 for _ in batches_of_epoch(0))
    optimizer = keras.optimizers.Adam(
        schedules.build(config.schedule, total_steps), beta_2=0.98, epsilon=1e-9, global_clipnorm=config.clip_norm
    )
    _build(model, optimizer, next(iter(batches_of_epoch(0))))
    progress = _Progress.new()
    checkpoints = _Checkpoints(model, optimizer, progress, checkpoint_dir)
    checkpoints.restore()
    resumed_from = int(progress.step)
    for observer in observers:
        observer.began(total_steps, resumed_from)

    steps = _Steps(model, optimizer, config)
    while int(progress.epoch) < config.epochs and int(progress.epochs_without_gain) < config.patience:
        rest = itertools.islice(batches_of_epoch(int(progress.epoch)), int(progress.step_in_epoch), None)
        _train_epoch(steps, rest, progress, config, checkpoints, observers)
        metrics = steps.validate(validation())
        _require_finite(metrics["validation_loss"], int(progress.step), checkpoint_dir)
        _end_epoch(progress, metrics["validation_loss"], checkpoints)
        for observer in observers:
            observer.epoch(int(progress.step), metrics)
    checkpoints.restore_best()
    return Outcome(int(progress.step), int(progress.epoch), float(progress.best_loss), resumed_from)


def _train_epoch(
    steps: _Steps,
    rest: Iterable[batches.Batch],
    progress: _Progress,
    config: Config,
    checkpoints: _Checkpoints,
    observers: Sequence[Observer],
) -> None:
    """The batches of an epoch that are left, with reports and checkpoints on the way."""
    for batch in rest:
        steps.train(batch)
        progress.step.assign_add(1)
        progress.step_in_epoch.assign_add(1)
        if int(progress.step) % config.report_steps == 0:
            point = steps.report()
            for observer in observers:
                observer.step(int(progress.step), point)
        if int(progress.step) % config.checkpoint_steps == 0:
            checkpoints.save()


class _Checkpoints:
    """The latest state of a training and its best weights, in one folder."""

    def __init__(
        self, model: Seq2Seq, optimizer: keras.optimizers.Optimizer, progress: _Progress, folder: pathlib.Path
    ) -> None:
        # Variables by their order: tf.train.Checkpoint leaves out layers that a Keras layer holds in a list.
        weights = [variable.value for variable in model.variables]
        slots = [variable.value for variable in optimizer.variables]
        self._state = tf.train.Checkpoint(weights=weights, slots=slots, **vars(progress))
        self._latest = tf.train.CheckpointManager(self._state, str(folder), max_to_keep=1)
        self._best = tf.train.Checkpoint(weights=weights)
        self._best_path = str(folder / "best")

    def save(self) -> None:
        """Write the state as it is."""
        self._latest.save()

    def save_best(self) -> None:
        """Write the weights as the best so far."""
        self._best.write(self._best_path)

    def restore(self) -> None:
        """Go back to the latest state, where there is one."""
        if self._latest.latest_checkpoint:
            self._state.restore(self._latest.latest_checkpoint).assert_consumed()

    def restore_best(self) -> None:
        """Go back to the best weights."""
        self._best.read(self._best_path).assert_consumed()


def _build(model: Seq2Seq, optimizer: keras.optimizers.Optimizer, batch: batches.Batch) -> None:
    """Make all weights, so that a checkpoint finds them."""
    model({name: batch[name][:1] for name in (SOURCE_IDS, DECODER_IDS)})
    optimizer.build(model.trainable_variables)


def _require_finite(loss: float, step: int, checkpoint_dir: pathlib.Path) -> None:
    if not math.isfinite(loss):
        shutil.rmtree(checkpoint_dir)  # a resumed training would go on from weights that are not numbers
        raise ValueError(
            f"training diverged: the validation loss is {loss} after step {step}; "
            "lower training.schedule.learning_rate or training.clip_norm"
        )


def _end_epoch(progress: _Progress, loss: float, checkpoints: _Checkpoints) -> None:
    if loss < float(progress.best_loss):
        checkpoints.save_best()
        progress.best_loss.assign(loss)
        progress.epochs_without_gain.assign(0)
    else:
        progress.epochs_without_gain.assign_add(1)
    progress.epoch.assign_add(1)
    progress.step_in_epoch.assign(0)
    checkpoints.save()


class _Steps:
    """The compiled training and validation steps, and the sums between two reports."""

    def __init__(self, model: Seq2Seq, optimizer: keras.optimizers.Optimizer, config: Config) -> None:
        self._optimizer = optimizer
        self._began_s = time.monotonic()
        self._loss, self._pieces = tf.Variable(0.0), tf.Variable(0.0)
        ids = {name: tf.TensorSpec([None, None], tf.int32) for name in (SOURCE_IDS, DECODER_IDS, TARGET_IDS)}

        @tf.function(input_signature=[ids], jit_compile=config.jit_compile)
        def train_step(batch: dict[str, tf.Tensor]) -> tuple[tf.Tensor, tf.Tensor]:
            with tf.GradientTape() as tape:
                decoded = model({name: batch[name] for name in (SOURCE_IDS, DECODER_IDS)}, training=True)
                total, pieces = losses.label_smoothed_cross_entropy(
                    batch[TARGET_IDS], decoded.logits, config.label_smoothing
                )
                loss = (total + model.auxiliary_loss(decoded, batch[TARGET_IDS])) / pieces
            optimizer.apply(tape.gradient(loss, model.trainable_variables), model.trainable_variables)
            return total, pieces

        @tf.function(input_signature=[ids])
        def validation_step(batch: dict[str, tf.Tensor]) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
            decoded = model({name: batch[name] for name in (SOURCE_IDS, DECODER_IDS)}, training=False)
            total, pieces = losses.label_smoothed_cross_entropy(batch[TARGET_IDS], decoded.logits, 0.0)
            right = tf.equal(tf.argmax(decoded.logits, -1, tf.int32), batch[TARGET_IDS]) & (batch[TARGET_IDS] != 0)
            return total, pieces, tf.math.count_nonzero(right, dtype=tf.float32)

        self._train_step, self._validation_step = train_step, validation_step

    def train(self, batch: batches.Batch) -> None:
        """One update of the weights."""
        total, pieces = self._train_step(batch)
        self._loss.assign_add(total)
        self._pieces.assign_add(pieces)

    def report(self) -> dict[str, float]:
        """The training loss (nats a piece, smoothed) and speed since the last report."""
        now_s, pieces = time.monotonic(), float(self._pieces)
        point = {
            "loss": float(self._loss) / pieces,
            "learning_rate": float(self._optimizer.learning_rate),
            "target_pieces_per_s": pieces / (now_s - self._began_s),
        }
        self._began_s = now_s
        self._loss.assign(0.0)
        self._pieces.assign(0.0)
        return point

    def validate(self, validation: Iterable[batches.Batch]) -> dict[str, float]:
        """Loss in nats a piece without smoothing, and the share of pieces that are right under teacher forcing."""
        began_s = time.monotonic()
        loss = pieces = right = 0.0
        for batch in validation:
            sums = self._validation_step(batch)
            loss, pieces, right = loss + float(sums[0]), pieces + float(sums[1]), right + float(sums[2])
        self._began_s += time.monotonic() - began_s  # validation does not count against the training's speed
        return {"validation_loss": loss / pieces, "validation_piece_accuracy": right / pieces}
