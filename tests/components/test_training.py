"""Training, without TFX: it learns, it stops, and a killed one ends where an unbroken one does."""

from __future__ import annotations

import functools
import pathlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import numpy as np
import pytest

from components import batches, training
from components.settings import from_json, to_json
from components.training_steps import Validation
from models import scheduled_sampling, schedules
from models.contract import DECODER_IDS, SOURCE_IDS, TARGET_IDS, Seq2Seq
from tests.components.toy import VOCABULARY, build


def copies(epoch: int, count: int = 7) -> list[batches.Batch]:
    """Batches of a task that is learnt in a minute: say the source again."""
    random = np.random.default_rng(epoch)
    made = []
    for _ in range(count):
        pieces = random.integers(4, VOCABULARY, (17, 3)).astype(np.int32)
        ids = np.concatenate([pieces, np.full((17, 1), 3, np.int32)], axis=1)
        made.append({SOURCE_IDS: ids, TARGET_IDS: ids, DECODER_IDS: batches.decoder_ids(ids)})
    return made


def worse_and_worse(epoch: int) -> Iterator[batches.Batch]:
    """After the first epoch, targets that have nothing to do with the validation rows."""
    for batch in copies(epoch):
        yield batch if epoch == 0 else batch | {TARGET_IDS: np.full_like(batch[TARGET_IDS], 5)}


def settings(**changes: object) -> training.Config:
    defaults = {
        "epochs": 3,
        "schedule": schedules.Config(learning_rate=0.1, warmup_steps=2),
        "checkpoint_steps": 2,
        "report_steps": 2,
        "label_smoothing": 0.0,
    }
    return training.Config(**{**defaults, **changes})  # type: ignore[arg-type]


class Recorder:
    """An observer that keeps what it is told."""

    def __init__(self, stop_at: int | None = None, of: Seq2Seq | None = None) -> None:
        self.began_at: tuple[int, int] | None = None
        self.steps: list[int] = []
        self.points: list[dict[str, float]] = []
        self.losses: list[float] = []
        self.scores: list[dict[str, float]] = []
        self.weights: list[list[np.ndarray]] = []  # after each point of the learning curves
        self.epoch_weights: list[list[np.ndarray]] = []
        self._stop_at, self._model = stop_at, of

    def began(self, total_steps: int, done_steps: int) -> None:
        self.began_at = (total_steps, done_steps)

    def step(self, step: int, metrics: dict[str, float]) -> None:
        self.steps.append(step)
        self.points.append(metrics)
        self.weights.append(self._model.get_weights() if self._model else [])
        if step == self._stop_at:
            raise KeyboardInterrupt

    def epoch(self, step: int, metrics: dict[str, float]) -> None:
        self.losses.append(metrics["validation_loss"])
        self.scores.append({name: value for name, value in metrics.items() if name.startswith("validation_")})
        self.epoch_weights.append(self._model.get_weights() if self._model else [])


class Scripted:
    """A score that says what it was told to say, whatever the model does."""

    def __init__(self, name: str, higher_is_better: bool, values: Sequence[float]) -> None:
        self.name, self.higher_is_better = name, higher_is_better
        self.values = list(values)

    def __call__(self, model: Seq2Seq) -> float:
        return self.values.pop(0)


class Magnitude:
    """A score that depends on the weights alone."""

    name, higher_is_better = "bleu", True

    def __call__(self, model: Seq2Seq) -> float:
        return float(sum(np.abs(weight).sum() for weight in model.get_weights()))


def assert_weights(left: Sequence[np.ndarray], right: Sequence[np.ndarray], atol: float = 1e-5) -> None:
    for one, other in zip(left, right, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=atol)


validation = functools.partial(copies, 999, 2)


def test_it_learns_and_reports(tmp_path: pathlib.Path) -> None:
    recorder = Recorder()
    outcome = training.train(build(), copies, validation, settings(epochs=6), tmp_path, [recorder])
    assert recorder.began_at == (42, 0)
    assert recorder.steps == list(range(2, 43, 2))
    assert recorder.losses[-1] < 0.8 * recorder.losses[0]
    assert outcome.steps == 42 and outcome.epochs == 6
    assert outcome.validation_loss == pytest.approx(min(recorder.losses))


@pytest.mark.parametrize(
    ("options", "stop_at", "resumed_from", "total"),
    [
        # The last checkpoint before the stop, in the middle of the second epoch.
        ({}, 12, 10, 21),
        # Seven batches are three updates, the last one of a single batch.
        ({"accumulate": 3, "ema": 0.9, "scheduled_sampling": scheduled_sampling.Config("linear", slope=0.1)}, 6, 4, 9),
        ({"average": 2, "stop_on": "bleu"}, 18, 16, 21),
    ],
)
def test_a_killed_training_ends_where_an_unbroken_one_does(
    tmp_path: pathlib.Path, options: dict[str, Any], stop_at: int, resumed_from: int, total: int
) -> None:
    config = settings(**options)
    score = Magnitude() if "stop_on" in options else None
    whole, unbroken = build(dropout=0.3), Recorder()
    expected = training.train(whole, copies, validation, config, tmp_path / "whole", [unbroken], score)
    killer = Recorder(stop_at)
    with pytest.raises(KeyboardInterrupt):
        training.train(build(dropout=0.3), copies, validation, config, tmp_path / "killed", [killer], score)
    resumed, recorder = build(dropout=0.3), Recorder()
    outcome = training.train(resumed, copies, validation, config, tmp_path / "killed", [recorder], score)
    assert recorder.began_at == (total, resumed_from)
    assert outcome.resumed_from_step == resumed_from
    assert outcome.weights == expected.weights
    assert outcome.validation_loss == pytest.approx(expected.validation_loss, rel=1e-4)
    assert_weights(whole.get_weights(), resumed.get_weights())


def test_a_diverged_training_says_so_and_leaves_nothing_to_resume(tmp_path: pathlib.Path) -> None:
    broken = build()
    broken.weights[0].assign(np.full(broken.weights[0].shape, np.nan))
    with pytest.raises(ValueError, match=r"training diverged: the validation loss is nan after step 7; lower training"):
        training.train(broken, copies, validation, settings(), tmp_path / "checkpoints")
    assert not (tmp_path / "checkpoints").exists()


def test_patience_stops_and_the_best_weights_stay(tmp_path: pathlib.Path) -> None:
    trained, recorder = build(), Recorder()
    config = settings(epochs=9, patience=2, schedule=schedules.Config("constant", 0.1, 0))
    outcome = training.train(trained, worse_and_worse, validation, config, tmp_path, [recorder])
    assert outcome.epochs == 3
    assert outcome.validation_loss == pytest.approx(recorder.losses[0])
    assert outcome.weights == "epoch 1"
    again = Validation(trained)(validation())
    assert again["validation_loss"] == pytest.approx(recorder.losses[0], rel=1e-5)


def test_updates_are_what_is_counted(tmp_path: pathlib.Path) -> None:
    """Seven batches in groups of three: 3 + 3 + 1."""
    recorder = Recorder()
    outcome = training.train(
        build(), copies, validation, settings(epochs=2, accumulate=3, report_steps=3), tmp_path, [recorder]
    )
    assert recorder.began_at == (6, 0) and outcome.steps == 6 and recorder.steps == [3, 6]
    # Of the next update: down from the peak at the second one to nothing after the sixth.
    rates = [point["learning_rate"] for point in recorder.points]
    assert rates == pytest.approx([0.1 * 3 / 5, 0.0], abs=1e-8)


@pytest.mark.parametrize(
    ("batches_of_epoch", "best", "epochs"),
    [(copies, 3, 5), (worse_and_worse, 2, 4)],  # the loss falls, or rises: of equal scores the lower loss is better
)
def test_a_score_chooses_the_weights_and_stops(
    tmp_path: pathlib.Path, batches_of_epoch: Callable[[int], Iterable[batches.Batch]], best: int, epochs: int
) -> None:
    trained = build()
    recorder = Recorder(of=trained)
    values = [0.5, 0.3, 0.3, 0.4, 0.5, 0.1]
    score = Scripted("sequence_error_rate", False, values)
    config = settings(epochs=9, patience=2, stop_on="sequence_error_rate")
    outcome = training.train(trained, batches_of_epoch, validation, config, tmp_path, [recorder], score)
    assert (outcome.weights, outcome.score, outcome.epochs) == (f"epoch {best}", 0.3, epochs)
    assert outcome.validation_loss == pytest.approx(recorder.losses[best - 1])
    assert [each["validation_sequence_error_rate"] for each in recorder.scores] == values[:epochs]
    assert_weights(trained.get_weights(), recorder.epoch_weights[best - 1], atol=0)


@pytest.mark.parametrize("name", ["loss", "ter"])
def test_a_score_must_be_the_one_that_is_asked_for(tmp_path: pathlib.Path, name: str) -> None:
    with pytest.raises(ValueError, match=f"stop_on is '{name}', but the score is 'bleu'"):
        training.train(build(), copies, validation, settings(stop_on=name), tmp_path, score=Magnitude())


@pytest.mark.parametrize(
    ("of_means", "kept", "epochs", "best"),
    [((2.5, 4.0), "mean of epochs 2 to 3", (1, 2), 4.0), ((2.5, 2.9), "epoch 2", (1,), 3.0)],
)
def test_the_mean_of_epochs_is_kept_if_it_is_better(
    tmp_path: pathlib.Path, of_means: tuple[float, float], kept: str, epochs: tuple[int, ...], best: float
) -> None:
    trained = build()
    recorder = Recorder(of=trained)
    score = Scripted("chrf", True, [1.0, 3.0, 2.0, *of_means])  # the means: up to the best epoch, up to the last one
    config = settings(average=2, stop_on="chrf")
    outcome = training.train(trained, copies, validation, config, tmp_path, [recorder], score)
    assert (outcome.weights, outcome.score, score.values) == (kept, best, [])
    expected = [np.mean(each, axis=0) for each in zip(*(recorder.epoch_weights[n] for n in epochs), strict=True)]
    assert_weights(trained.get_weights(), expected, atol=1e-7)
    assert outcome.validation_loss == pytest.approx(Validation(trained)(validation())["validation_loss"], rel=1e-5)


def test_only_the_epochs_that_a_mean_may_need_are_kept(tmp_path: pathlib.Path) -> None:
    score = Scripted("chrf", True, [1.0, 3.0, 2.0, 2.0, 2.0, 2.0, 2.0, 2.0])
    config = settings(epochs=6, patience=9, average=2, stop_on="chrf")
    training.train(build(), copies, validation, config, tmp_path, score=score)
    assert sorted(path.name for path in tmp_path.glob("epoch-*")) == [f"epoch-{n}.npz" for n in (1, 2, 5, 6)]


def test_the_moving_average_is_what_is_validated_and_kept(tmp_path: pathlib.Path) -> None:
    trained = build()
    expected, recorder = trained.get_weights(), Recorder(of=trained)
    config = settings(epochs=2, ema=0.25, report_steps=1)
    outcome = training.train(trained, copies, validation, config, tmp_path, [recorder])
    for update, weights in enumerate(recorder.weights):
        decay = min(0.25, (1 + update) / (10 + update))
        expected = [decay * mean + (1 - decay) * now for mean, now in zip(expected, weights, strict=True)]
    assert outcome.weights == "moving average at epoch 2"
    assert_weights(trained.get_weights(), expected)
    assert_weights(recorder.epoch_weights[-1], recorder.weights[-1], atol=0)
    assert outcome.validation_loss == pytest.approx(recorder.losses[-1])
    assert outcome.validation_loss == pytest.approx(Validation(trained)(validation())["validation_loss"], rel=1e-5)


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"average": 1}, "average is 1, expected 0 .none. or at least 2"),
        ({"average": 3, "ema": 0.9}, r"average \(3\) and ema \(0.9\) exclude each other"),
        ({"average": 1, "ema": 0.9}, r"average is 1, .*; average \(1\) and ema"),
    ],
)
def test_options_that_exclude_each_other(options: dict[str, Any], text: str) -> None:
    with pytest.raises(ValueError, match=text):
        training.Config(**options)


def test_a_section_of_a_document_becomes_a_config() -> None:
    document = {
        "accumulate": 4, "precision": "mixed_bfloat16", "ema": 0.999, "stop_on": "token_bleu",
        "scheduled_sampling": {"name": "inverse_sigmoid", "k": 1000},
    }  # fmt: skip
    config = from_json(training.Config, document)
    assert config.scheduled_sampling == scheduled_sampling.Config("inverse_sigmoid", k=1000.0)
    assert from_json(training.Config, to_json(config)) == config
    with pytest.raises(ValueError, match="linear needs slope"):
        from_json(training.Config, {"scheduled_sampling": {"name": "linear"}})


def test_watchers_see_the_weights_that_were_validated(tmp_path: pathlib.Path) -> None:
    seen: list[tuple[int, int, float]] = []
    validate = Validation(trained := build())

    def watch(model: Seq2Seq, epoch: int, step: int) -> None:
        assert model is trained
        seen.append((epoch, step, validate(validation())["validation_loss"]))

    recorder = Recorder()
    training.train(trained, copies, validation, settings(epochs=3, ema=0.9), tmp_path, [recorder], watchers=[watch])
    assert [epoch for epoch, _, _ in seen] == [1, 2, 3]
    assert [loss for _, _, loss in seen] == recorder.losses
