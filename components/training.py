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
import typing
from collections.abc import Callable, Iterable, Iterator, Sequence

import annotated_types
import keras

from components import batches, metrics, subword_sampling
from components.checkpoints import Checkpoints, Progress
from components.moving_average import MovingAverage
from components.training_steps import Updates, Validation
from models import schedules
from models.contract import DECODER_IDS, Seq2Seq
from models.scheduled_sampling import Config as ScheduledSampling

OUTCOME_FILE = "training.json"
ALIGNED = "aligned"  # in that file, beside an Outcome: see `components/alignment_layer.py`

Positive = annotated_types.Gt(0)


@dataclasses.dataclass(frozen=True)
class Config:
    """The `training` section. A step is an update of the weights.

    Attributes:
        epochs: passes over the training rows, at most.
        patience: epochs without a gain after which training stops.
        accumulate: so many batches make one update, as if they were one batch; an epoch's last update may have fewer.
        clip_norm: largest global norm of the gradients (Pascanu 2013).
        label_smoothing: share of the target's probability spread over the vocabulary (Szegedy 2016).
        scheduled_sampling: give the decoder its own pieces now and then; None: the gold ones, always.
        subword_sampling: cut bpe and unigram pieces anew in every epoch (`components/subword_sampling.py`). Epochs then
            differ a little in their batches: a schedule goes by the first one's number of them.
        precision: of the arithmetic in training; weights are float32, and so is all of the exported model.
        ema: decay of a moving average of the weights, which is then what is validated and exported; 0: none.
        average: try the mean of the weights at the ends of so many epochs, up to the best one and up to the last, and
            export the better one if it is better than the best epoch's; 0: do not.
        stop_on: what a gain is, which chooses the best weights: a lower validation loss, or a better metric of
            validation rows, decoded at the end of every epoch (see `components/decoded_score.py`), where of equals the
            lower loss is better.
        score_rows: how many rows are decoded for it, at most.
        seed: of weights, order and dropout.
        checkpoint_steps: steps between two checkpoints; each epoch ends with one, too.
        report_steps: steps between two points of the learning curves.
        jit_compile: compile the training step with XLA. It pays where shapes are few and the stack is the current one.
    """

    __pydantic_config__: typing.ClassVar[dict[str, str]] = {"extra": "forbid"}

    epochs: typing.Annotated[int, Positive] = 20
    patience: typing.Annotated[int, Positive] = 3
    batches: batches.Config = dataclasses.field(default_factory=batches.Config)
    accumulate: typing.Annotated[int, Positive] = 1
    schedule: schedules.Config = dataclasses.field(default_factory=schedules.Config)
    clip_norm: typing.Annotated[float, Positive] = 1.0
    label_smoothing: typing.Annotated[float, annotated_types.Ge(0), annotated_types.Lt(1)] = 0.1
    scheduled_sampling: ScheduledSampling | None = None
    subword_sampling: subword_sampling.Config = dataclasses.field(default_factory=subword_sampling.Config)
    precision: typing.Literal["float32", "mixed_bfloat16"] = "float32"
    ema: typing.Annotated[float, annotated_types.Ge(0), annotated_types.Lt(1)] = 0.0
    average: typing.Annotated[int, annotated_types.Ge(0)] = 0
    stop_on: typing.Literal["loss", metrics.Name] = "loss"
    score_rows: typing.Annotated[int, Positive] = 500
    seed: typing.Annotated[int, annotated_types.Ge(0), annotated_types.Lt(2**32)] = 1
    checkpoint_steps: typing.Annotated[int, Positive] = 500
    report_steps: typing.Annotated[int, Positive] = 25
    jit_compile: bool = False

    def __post_init__(self) -> None:
        """What no field can say alone."""
        wrong = []
        if self.average == 1:
            wrong.append("average is 1, expected 0 (none) or at least 2: one epoch's weights are their own mean")
        if self.average and self.ema:
            wrong.append(f"average ({self.average}) and ema ({self.ema}) exclude each other: both average the weights")
        if wrong:
            raise ValueError("; ".join(wrong))


class DivergenceError(ValueError):
    """A loss that is not a number: no training can go on from there."""


class Observer(typing.Protocol):
    """Is told how training goes."""

    def began(self, total_steps: int, done_steps: int) -> None:
        """Training starts, or goes on after `done_steps` steps."""

    def step(self, step: int, metrics: dict[str, float]) -> None:
        """A point of the learning curves."""

    def epoch(self, step: int, metrics: dict[str, float]) -> None:
        """An epoch ended and was validated."""


class Watcher(typing.Protocol):
    """Looks at the model at the end of every epoch."""

    def __call__(self, model: Seq2Seq, epoch: int, step: int) -> None:
        """Look at the weights that were validated; epochs are counted from 1."""


class Score(typing.Protocol):
    """Says how good a model is, by what it does and not by its loss."""

    name: str
    higher_is_better: bool

    def __call__(self, model: Seq2Seq) -> float:
        """The score of the weights that the model has now."""


class Outcome(typing.NamedTuple):
    """What came of a training; the model then holds its best weights."""

    steps: int
    epochs: int
    validation_loss: float  # of the best weights, nats a piece, without label smoothing
    resumed_from_step: int  # 0: from the start
    weights: str  # which ones are the best, such as "epoch 7" or "mean of epochs 3 to 7"
    score: float | None = None  # of the best weights, where a score chose them


def train(
    model: Seq2Seq,
    batches_of_epoch: Callable[[int], Iterable[batches.Batch]],
    validation: Callable[[], Iterable[batches.Batch]],
    config: Config,
    checkpoint_dir: pathlib.Path,
    observers: Sequence[Observer] = (),
    score: Score | None = None,
    watchers: Sequence[Watcher] = (),
) -> Outcome:
    """Train until the epochs are done or patience is out, and leave the best weights in the model.

    Args:
        model: a model of the zoo.
        batches_of_epoch: epoch -> its batches, the same at every call.
        validation: the batches that choose the best weights.
        config: the `training` section.
        checkpoint_dir: where checkpoints go; a training that finds its own there goes on from it.
        observers: are told of progress.
        score: chooses the best weights in place of the validation loss, where `config.stop_on` asks for it.
        watchers: look at the model at the end of every epoch.
    """
    if (score.name if score else "loss") != config.stop_on:
        raise ValueError(f"stop_on is {config.stop_on!r}, but the score is {score.name if score else None!r}")
    updates_an_epoch = sum(1 for _ in _groups(batches_of_epoch(0), config.accumulate))
    total_steps = config.epochs * updates_an_epoch
    optimizer = keras.optimizers.Adam(
        schedules.build(config.schedule, total_steps), beta_2=0.98, epsilon=1e-9, global_clipnorm=config.clip_norm
    )
    _build(model, optimizer, next(iter(batches_of_epoch(0))))
    training = _Training(model, optimizer, validation, config, checkpoint_dir, observers, score, watchers)
    resumed_from = training.resume(total_steps)
    while training.goes_on():
        epoch, done = int(training.progress.epoch), int(training.progress.step_in_epoch)
        training.epoch(itertools.islice(batches_of_epoch(epoch), done * config.accumulate, None))
    return training.end(resumed_from)


def _groups(of: Iterable[batches.Batch], size: int) -> Iterator[list[batches.Batch]]:
    """Lists of `size` batches; the last may be shorter."""
    rest = iter(of)
    return iter(lambda: list(itertools.islice(rest, size)), [])


def _build(model: Seq2Seq, optimizer: keras.optimizers.Optimizer, batch: batches.Batch) -> None:
    """Make all weights, so that a checkpoint finds them."""
    model({name: batch[name][:1] for name in (model.source.name, DECODER_IDS)})
    optimizer.build(model.trainable_variables)


class _Training:
    """A training that is under way."""

    def __init__(
        self,
        model: Seq2Seq,
        optimizer: keras.optimizers.Optimizer,
        validation: Callable[[], Iterable[batches.Batch]],
        config: Config,
        checkpoint_dir: pathlib.Path,
        observers: Sequence[Observer],
        score: Score | None,
        watchers: Sequence[Watcher],
    ) -> None:
        self.progress = Progress.new()
        self._model, self._config, self._observers, self._score = model, config, observers, score
        self._watchers = watchers
        self._average = MovingAverage([weight.value for weight in model.trainable_variables], config.ema)
        self._checkpoints = Checkpoints(model, optimizer, self.progress, self._average.averages, checkpoint_dir)
        self._checkpoint_dir = checkpoint_dir
        self._updates = Updates(model, optimizer, config, self._average)
        self._validate, self._validation = Validation(model), validation

    def resume(self, total_steps: int) -> int:
        """Go to the latest checkpoint, where there is one, and return its step."""
        self._checkpoints.restore()
        done = int(self.progress.step)
        for observer in self._observers:
            observer.began(total_steps, done)
        return done

    def goes_on(self) -> bool:
        """Whether there is another epoch to come."""
        progress, config = self.progress, self._config
        return int(progress.epoch) < config.epochs and int(progress.epochs_without_gain) < config.patience

    def epoch(self, rest: Iterable[batches.Batch]) -> None:
        """The batches of an epoch that are left, with reports and checkpoints on the way, and its validation."""
        progress, config = self.progress, self._config
        for group in _groups(rest, config.accumulate):
            self._updates.run(group, int(progress.step))
            progress.step.assign_add(1)
            progress.step_in_epoch.assign_add(1)
            if int(progress.step) % config.report_steps == 0:
                point = self._updates.report()
                for observer in self._observers:
                    observer.step(int(progress.step), point)
            if int(progress.step) % config.checkpoint_steps == 0:
                self._checkpoints.save()
        with self._updates.interrupted():
            self._end_epoch()

    def _end_epoch(self) -> None:
        progress = self.progress
        progress.epoch.assign_add(1)
        progress.step_in_epoch.assign(0)
        with self._average.in_place():
            measured = self._measure()
            if self._keep_if_best(measured):
                progress.best_epoch.assign(progress.epoch)
                progress.epochs_without_gain.assign(0)
            else:
                progress.epochs_without_gain.assign_add(1)
            for watch in self._watchers:
                watch(self._model, int(progress.epoch), int(progress.step))
        if self._config.average:
            self._checkpoints.save_epoch(int(progress.epoch))
        self._checkpoints.save()
        self._checkpoints.keep_epochs({epoch for window in self._windows() for epoch in window})
        for observer in self._observers:
            observer.epoch(int(progress.step), measured)

    def _measure(self) -> dict[str, float]:
        """The validation's figures of the weights that the model has now."""
        measured = self._validate(self._validation())
        loss = measured["validation_loss"]
        if not math.isfinite(loss):
            shutil.rmtree(self._checkpoint_dir)  # a resumed training would go on from weights that are not numbers
            raise DivergenceError(
                f"training diverged: the validation loss is {loss} after step {int(self.progress.step)}; "
                "lower training.schedule.learning_rate or training.clip_norm"
            )
        if self._score:
            score = self._score(self._model)
            if math.isnan(score):
                raise ValueError(f"{self._score.name} of the validation rows is not a number, so it can choose nothing")
            measured[f"validation_{self._score.name}"] = score
        return measured

    def _keep_if_best(self, measured: dict[str, float]) -> bool:
        """Save the weights that the model has now, if none were as good. Of equal scores the lower loss is better."""
        cost, loss = measured[f"validation_{self._config.stop_on}"] * self._sign(), measured["validation_loss"]
        if not (cost, loss) < (float(self.progress.best_cost), float(self.progress.best_loss)):
            return False
        self._checkpoints.save_best()
        self.progress.best_cost.assign(cost)
        self.progress.best_loss.assign(loss)
        return True

    def _sign(self) -> int:
        """Of a cost, which is better when it is lower, in what was measured."""
        return -1 if self._score and self._score.higher_is_better else 1

    def _windows(self) -> list[range]:
        """The epochs whose mean is tried: up to the best one, and up to the last."""
        ends = sorted({int(self.progress.best_epoch), int(self.progress.epoch)})
        return [range(max(1, end - self._config.average + 1), end + 1) for end in ends]

    def end(self, resumed_from: int) -> Outcome:
        """Choose the weights, and give them to the model."""
        progress = self.progress
        kept = f"epoch {int(progress.best_epoch)}"
        if self._config.ema:
            kept = f"moving average at {kept}"
        for window in (window for window in self._windows() if len(window) > 1):
            self._checkpoints.restore_mean(window)
            if self._keep_if_best(self._measure()):
                kept = f"mean of epochs {window[0]} to {window[-1]}"
        self._checkpoints.restore_best()
        score = float(progress.best_cost) * self._sign() if self._score else None
        return Outcome(int(progress.step), int(progress.epoch), float(progress.best_loss), resumed_from, kept, score)
