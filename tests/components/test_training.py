"""Training, without TFX: it learns, it stops, and a killed one ends where an unbroken one does."""

from __future__ import annotations

import functools
import pathlib
from collections.abc import Iterator

import keras
import numpy as np
import pytest

from components import batches, training
from models import schedules
from models.contract import DECODER_IDS, SOURCE_IDS, TARGET_IDS
from models.zoo import rnn

VOCABULARY = 13


def copies(epoch: int, count: int = 7) -> list[batches.Batch]:
    """Batches of a task that is learnt in a minute: say the source again."""
    random = np.random.default_rng(epoch)
    made = []
    for _ in range(count):
        pieces = random.integers(4, VOCABULARY, (17, 3)).astype(np.int32)
        ids = np.concatenate([pieces, np.full((17, 1), 3, np.int32)], axis=1)
        made.append({SOURCE_IDS: ids, TARGET_IDS: ids, DECODER_IDS: batches.decoder_ids(ids)})
    return made


def model() -> rnn.RecurrentSeq2Seq:
    keras.utils.set_random_seed(5)
    return rnn.build(rnn.Config(units=22, embedding=11, dropout=0.0), VOCABULARY, VOCABULARY)


def settings(**changes: object) -> training.Config:
    defaults = {
        "epochs": 3,
        "schedule": schedules.Config(learning_rate=0.01, warmup_steps=2),
        "checkpoint_steps": 2,
        "report_steps": 2,
        "label_smoothing": 0.0,
    }
    return training.Config(**{**defaults, **changes})  # type: ignore[arg-type]


class Recorder:
    """An observer that keeps what it is told."""

    def __init__(self, stop_at: int | None = None) -> None:
        self.began_at: tuple[int, int] | None = None
        self.steps: list[int] = []
        self.losses: list[float] = []
        self._stop_at = stop_at

    def began(self, total_steps: int, done_steps: int) -> None:
        self.began_at = (total_steps, done_steps)

    def step(self, step: int, metrics: dict[str, float]) -> None:
        self.steps.append(step)
        if step == self._stop_at:
            raise KeyboardInterrupt

    def epoch(self, step: int, metrics: dict[str, float]) -> None:
        self.losses.append(metrics["validation_loss"])


validation = functools.partial(copies, 999, 2)


def test_it_learns_and_reports(tmp_path: pathlib.Path) -> None:
    recorder = Recorder()
    outcome = training.train(model(), copies, validation, settings(epochs=6), tmp_path, [recorder])
    assert recorder.began_at == (42, 0)
    assert recorder.steps == list(range(2, 43, 2))
    assert recorder.losses[-1] < 0.8 * recorder.losses[0]
    assert outcome.steps == 42 and outcome.epochs == 6
    assert outcome.validation_loss == pytest.approx(min(recorder.losses))


def test_a_killed_training_ends_where_an_unbroken_one_does(tmp_path: pathlib.Path) -> None:
    whole = model()
    training.train(whole, copies, validation, settings(), tmp_path / "whole")
    with pytest.raises(KeyboardInterrupt):
        training.train(model(), copies, validation, settings(), tmp_path / "killed", [Recorder(stop_at=12)])
    resumed, recorder = model(), Recorder()
    outcome = training.train(resumed, copies, validation, settings(), tmp_path / "killed", [recorder])
    assert recorder.began_at == (21, 10)  # the last checkpoint before step 12, in the middle of the second epoch
    assert outcome.resumed_from_step == 10
    for left, right in zip(whole.weights, resumed.weights, strict=True):
        np.testing.assert_allclose(left, right, rtol=1e-4, atol=1e-5)


def test_a_diverged_training_says_so_and_leaves_nothing_to_resume(tmp_path: pathlib.Path) -> None:
    broken = model()
    broken.weights[0].assign(np.full(broken.weights[0].shape, np.nan))
    with pytest.raises(ValueError, match=r"training diverged: the validation loss is nan after step 7; lower training"):
        training.train(broken, copies, validation, settings(), tmp_path / "checkpoints")
    assert not (tmp_path / "checkpoints").exists()


def test_patience_stops_and_the_best_weights_stay(tmp_path: pathlib.Path) -> None:
    def worse_and_worse(epoch: int) -> Iterator[batches.Batch]:
        """After the first epoch, targets that have nothing to do with the validation rows."""
        for batch in copies(epoch):
            yield batch if epoch == 0 else batch | {TARGET_IDS: np.full_like(batch[TARGET_IDS], 5)}

    trained, recorder = model(), Recorder()
    config = settings(epochs=9, patience=2, schedule=schedules.Config("constant", 0.01, 0))
    outcome = training.train(trained, worse_and_worse, validation, config, tmp_path, [recorder])
    assert outcome.epochs == 3
    assert outcome.validation_loss == pytest.approx(recorder.losses[0])
    again = training._Steps(trained, keras.optimizers.Adam(), config).validate(validation())
    assert again["validation_loss"] == pytest.approx(recorder.losses[0], rel=1e-5)
