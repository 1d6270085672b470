"""MLflow: one run a pipeline run, found by a tag, so that any process of any orchestrator can add to it."""

from __future__ import annotations

import contextlib
import dataclasses
import logging
import pathlib
import subprocess
import sys
import time
import typing
from collections.abc import Iterator, Mapping

if typing.TYPE_CHECKING:
    from mlflow import MlflowClient

RUN_TAG = "fovea.pipeline_run_id"
PARENT_TAG = "mlflow.parentRunId"  # MLflow's own: its pages show such a run under its parent
MODEL_TRAINING = {"mlflow.experimentKind": "custom_model_development"}  # which of its two faces the UI shows
LARGEST_BATCH = 100  # of parameters, in one call
MAX_TAG_CHARACTERS = 5000
MAX_PARAMETER_CHARACTERS = 500  # MLflow refuses longer values on some stores


@dataclasses.dataclass(frozen=True)
class Store:
    """Where runs go.

    Attributes:
        uri: MLflow's tracking URI, such as "sqlite:///mlflow.db" or "http://mlflow:5000".
        artifacts: folder or URI of the artefacts of a new experiment; "" leaves the choice to an MLflow server.
        experiment: the experiment's name: the pipeline's.
    """

    uri: str
    artifacts: str
    experiment: str

    def client(self) -> MlflowClient:
        """A client of the store; creates the SQLite file at first use."""
        for name in ("mlflow.store.db.utils", "alembic"):  # "Creating initial MLflow database tables", at INFO
            logging.getLogger(name).setLevel(logging.WARNING)
        from mlflow import MlflowClient

        return MlflowClient(self.uri)


@contextlib.contextmanager
def made_beside(store: Store) -> Iterator[None]:
    """Make a new SQLite store in a process of its own while the body does something else, such as imports.

    MLflow's migrations take three seconds; most machines have a second core for them.
    """
    path = pathlib.Path(store.uri.removeprefix("sqlite:///"))
    if not store.uri.startswith("sqlite:///") or path.exists():
        yield
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    code = "import sys; from components.tracking import Store; Store(*sys.argv[1:]).client().search_experiments()"
    arguments = [sys.executable, "-W", "ignore", "-c", code, store.uri, store.artifacts, store.experiment]
    project = pathlib.Path(__file__).parent.parent
    with subprocess.Popen(arguments, cwd=project, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL):
        yield


def open_run(store: Store, pipeline_run_id: str, tags: Mapping[str, str], parameters: Mapping[str, str]) -> str:
    """Begin the run of a pipeline run, and return its id. No other run of the experiment is under way."""
    client = store.client()
    experiment = client.get_experiment_by_name(store.experiment)
    if experiment is None:
        experiment_id = client.create_experiment(store.experiment, store.artifacts or None, tags=MODEL_TRAINING)
    else:
        experiment_id = experiment.experiment_id
    for abandoned in client.search_runs([experiment_id], "attributes.status = 'RUNNING'"):
        client.set_terminated(abandoned.info.run_id, "KILLED")  # its process had no time to say so
    run = client.create_run(experiment_id, run_name=pipeline_run_id, tags={RUN_TAG: pipeline_run_id, **tags})
    log_parameters(client, run.info.run_id, parameters)
    return str(run.info.run_id)


def open_trial(store: Store, parent_run_id: str, name: str, parameters: Mapping[str, str]) -> str:
    """Begin the run of a trial within the run of its search, and return its id."""
    client = store.client()
    experiment_id = client.get_run(parent_run_id).info.experiment_id
    run = client.create_run(experiment_id, run_name=name, tags={PARENT_TAG: parent_run_id})
    log_parameters(client, run.info.run_id, parameters)
    return str(run.info.run_id)


@contextlib.contextmanager
def closed_at_the_end(store: Store, run_id: str) -> Iterator[None]:
    """Give the run the status that its body ends with, and the reason where it fails."""
    client = store.client()
    try:
        yield
    except Exception as error:
        client.set_tag(run_id, "fovea.error", f"{type(error).__name__}: {error}"[:MAX_TAG_CHARACTERS])
        client.set_terminated(run_id, "FAILED")
        raise
    except BaseException:
        client.set_terminated(run_id, "KILLED")
        raise
    client.set_terminated(run_id, "FINISHED")


def log_parameters(client: MlflowClient, run_id: str, parameters: Mapping[str, str]) -> None:
    """Log parameters, as many in one call as MLflow takes."""
    from mlflow.entities import Param

    values = [Param(name, value[:MAX_PARAMETER_CHARACTERS]) for name, value in parameters.items()]
    for first in range(0, len(values), LARGEST_BATCH):
        client.log_batch(run_id, params=values[first : first + LARGEST_BATCH])


def set_tags(client: MlflowClient, run_id: str, tags: Mapping[str, str]) -> None:
    """Set several tags in one call."""
    from mlflow.entities import RunTag

    client.log_batch(run_id, tags=[RunTag(name, value[:MAX_TAG_CHARACTERS]) for name, value in tags.items()])


def find_run(store: Store, pipeline_run_id: str) -> str:
    """The id of the run that `open_run` began; LookupError where there is none."""
    client = store.client()
    experiment = client.get_experiment_by_name(store.experiment)
    tagged = f"tags.`{RUN_TAG}` = '{pipeline_run_id}'"
    runs = client.search_runs([experiment.experiment_id], tagged, max_results=1) if experiment else []
    if not runs:
        raise LookupError(f"no MLflow run of {store.experiment!r} has the tag {RUN_TAG}={pipeline_run_id!r}")
    return str(runs[0].info.run_id)


class Curves:
    """An Observer of `components.training`: the learning curves, by step."""

    def __init__(self, store: Store, run_id: str) -> None:
        self._client = store.client()
        self._run_id = run_id

    def began(self, total_steps: int, done_steps: int) -> None:
        """See `components.training.Observer`."""
        self._client.set_tag(self._run_id, "fovea.total_steps", str(total_steps))
        if done_steps:
            self._client.set_tag(self._run_id, "fovea.resumed_from_step", str(done_steps))

    def step(self, step: int, metrics: dict[str, float]) -> None:
        """See `components.training.Observer`."""
        self._log("training", step, metrics)

    def epoch(self, step: int, metrics: dict[str, float]) -> None:
        """See `components.training.Observer`."""
        self._log("validation", step, {name.removeprefix("validation_"): value for name, value in metrics.items()})

    def _log(self, group: str, step: int, metrics: dict[str, float]) -> None:
        log_metrics(self._client, self._run_id, {f"{group}/{name}": value for name, value in metrics.items()}, step)


def log_metrics(client: MlflowClient, run_id: str, metrics: Mapping[str, float], step: int = 0) -> None:
    """Log several metrics in one call."""
    from mlflow.entities import Metric

    now_ms = int(time.time() * 1000)
    client.log_batch(run_id, metrics=[Metric(name, value, now_ms, step) for name, value in metrics.items()])
