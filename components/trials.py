"""The trials of a search over parameters, on KerasTuner: each is a training, and an MLflow run within the search's."""

from __future__ import annotations

import contextlib
import dataclasses
import pathlib
import shutil
import sys
import typing

import keras_tuner
from keras_tuner.engine import base_tuner
from keras_tuner.engine.trial import TrialStatus
from keras_tuner.src import config as keras_tuner_config

from components import metrics, settings, tracking, trainer, tuning
from components.tracking_store import Store

keras_tuner_config.DEBUG = False  # it would print the traceback of each trial that failed


@dataclasses.dataclass(frozen=True)
class Request:
    """What the Tuner needs to know.

    Attributes:
        trainer: the configuration that trials change.
        tune: what they change.
        folder: where the search keeps its state: one that was killed goes on from there.
        tokenizer_uri: of the Tokenizer's artifact.
        mlflow_run: the key of the search's.
    """

    trainer: trainer.Config
    tune: tuning.Config
    folder: str
    tokenizer_uri: str = ""
    mlflow_run: str = ""


class Trials(base_tuner.BaseTuner):
    """KerasTuner's search, whose trial is a training of ours."""

    def __init__(self, request: Request, data: trainer.Data) -> None:
        self._request, self._data = request, data
        self._objective = objective(request.trainer)
        makers = {
            "bayesian": keras_tuner.oracles.BayesianOptimizationOracle,
            "random": keras_tuner.oracles.RandomSearchOracle,
            "grid": keras_tuner.oracles.GridSearchOracle,
        }
        oracle = makers[request.tune.search](
            objective=self._objective,
            max_trials=request.tune.trials,
            seed=request.tune.seed,
            max_consecutive_failed_trials=request.tune.trials + 1,  # that some values lead nowhere is a result
            hyperparameters=_space(request.tune),
            tune_new_entries=False,
            allow_new_entries=False,
        )
        folder = pathlib.Path(request.folder)
        with contextlib.redirect_stdout(sys.stderr):  # it says on standard output that it goes on
            super().__init__(oracle, directory=str(folder.parent), project_name=folder.name)

    def search(self, *arguments: typing.Any, **options: typing.Any) -> None:
        """Try what the oracle proposes.

        Raises:
            ValueError: no trial came to its end; the message says why each did not.
        """
        super().search(*arguments, **options)
        if all(trial.status != TrialStatus.COMPLETED for trial in self.oracle.trials.values()):
            reasons = (
                f"\n  trial {name}: {trial.message.strip().splitlines()[-1]}"
                for name, trial in sorted(self.oracle.trials.items())
            )
            shutil.rmtree(self._request.folder)  # the reason may pass: a search of the same values begins anew
            raise ValueError(f"no trial came to its end{''.join(reasons)}")

    def run_trial(self, trial: typing.Any, *_: typing.Any, **__: typing.Any) -> dict[str, float]:
        """Train with the values of a trial -> {objective: what was measured}."""
        values = trial.hyperparameters.values
        base = self._request.trainer
        sections = tuning.changed({"model": base.model, "training": dataclasses.asdict(base.training)}, values)
        checkpoints = pathlib.Path(self.get_trial_dir(trial.trial_id)) / "checkpoints"
        document = {**dataclasses.asdict(base), **sections, "checkpoints": str(checkpoints)}
        parameters = {path: str(value) for path, value in values.items()}
        store = Store.read(base.tracking)
        search = tracking.Run(store, self._request.mlflow_run)
        run = tracking.open_run(store, f"trial {trial.trial_id}", {}, parameters, parent=search)
        with tracking.closed_at_the_end(run):
            try:
                outcome = trainer.train(settings.from_json(trainer.Config, document), self._data, run).outcome
            except ValueError as error:  # it diverged, or its values do not go with each other
                print(f"    trial {trial.trial_id} failed: {error}", file=sys.stderr)
                raise keras_tuner.errors.FailedTrialError(str(error)) from error
            measured = outcome.validation_loss if outcome.score is None else outcome.score
            run.metrics({self._objective.name: measured})
        shutil.rmtree(checkpoints, ignore_errors=True)
        return {self._objective.name: measured}

    def search_space_summary(self, extended: bool = False) -> None:
        """Nothing: TFX would have it on standard output, which belongs to `--json`."""

    def results_summary(self, num_trials: int = 10) -> None:
        """Nothing: see `search_space_summary`; `pipeline/tune.py` says what came out."""


def objective(config: trainer.Config) -> keras_tuner.Objective:
    """What trials are measured by: `training.stop_on` of validation rows."""
    name = config.training.stop_on
    higher = name != "loss" and metrics.find(name).higher_is_better
    return keras_tuner.Objective(f"validation_{name}", "max" if higher else "min")


def _space(tune: tuning.Config) -> keras_tuner.HyperParameters:
    space = keras_tuner.HyperParameters()
    for path, values in tune.parameters.items():
        if not isinstance(values, tuning.Range):
            space.Choice(path, list(values))
            continue
        number = space.Int if values.whole else space.Float
        number(path, values.min, values.max, step=values.step, sampling="log" if values.log else "linear")
    return space
