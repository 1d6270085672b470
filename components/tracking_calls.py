"""What is written to an MLflow run, each call a value that JSON can hold: so it can be kept, and done later.

{"do": "batch", "metrics": [["training/loss", 1.25, 1767225600000, 40]], "parameters": {}, "tags": {"a": "b"}}
"""

from __future__ import annotations

import typing

if typing.TYPE_CHECKING:
    from mlflow import MlflowClient

Call = dict[str, typing.Any]

DATA_CONTEXT = "mlflow.data.context"  # MLflow's own tag of a data set: train, validation, test
MODEL_TRAINING = {"mlflow.experimentKind": "custom_model_development"}  # which of its two faces the UI shows


def create(client: MlflowClient, experiment: str, artifacts: str, call: Call) -> str:
    """Make the run of a call {"do": "create", "name": ..., "began_ms": ..., "tags": {...}}, and return its id."""
    found = client.get_experiment_by_name(experiment)
    if found is None:
        experiment_id = client.create_experiment(experiment, artifacts or None, tags=MODEL_TRAINING)
    else:
        experiment_id = found.experiment_id
    run = client.create_run(experiment_id, start_time=call["began_ms"], run_name=call["name"], tags=call["tags"])
    return str(run.info.run_id)


def perform(client: MlflowClient, run_id: str, call: Call) -> typing.Any:
    """Do a call on the run -> what it has to say: the version that it registered, or nothing."""
    return _PERFORM[call["do"]](client, run_id, call)


def unavailable(error: BaseException) -> bool:
    """Whether it says that the store cannot be used now: no server, one that fails, a locked or a full database."""
    import requests
    import sqlalchemy.exc
    from mlflow.exceptions import MlflowException, RestException

    if isinstance(error, requests.RequestException):  # of artefacts
        return error.response is None or error.response.status_code >= 500
    if isinstance(error, MlflowException):  # others of status 500 are errors of the caller's own
        away = isinstance(error, RestException) or error.error_code == "TEMPORARILY_UNAVAILABLE"
        return (away or error.message.startswith("API request to")) and error.get_http_status_code() >= 500
    return isinstance(error, (sqlalchemy.exc.OperationalError, ConnectionError, TimeoutError))


def refused(error: BaseException) -> bool:
    """Whether it is MLflow that says so."""
    from mlflow.exceptions import MlflowException

    return isinstance(error, MlflowException)


def gone(error: BaseException) -> bool:
    """Whether it says that the store has no such run any more, or that somebody deleted it."""
    from mlflow.exceptions import MlflowException

    if not isinstance(error, MlflowException):
        return False
    return error.error_code == "RESOURCE_DOES_NOT_EXIST" or "must be in the 'active' state" in error.message


def _batch(client: MlflowClient, run_id: str, call: Call) -> None:
    from mlflow.entities import Metric, Param, RunTag

    client.log_batch(
        run_id,
        metrics=[Metric(*values) for values in call.get("metrics", ())],
        params=[Param(name, value) for name, value in call.get("parameters", {}).items()],
        tags=[RunTag(name, value) for name, value in call.get("tags", {}).items()],
    )


def _datasets(client: MlflowClient, run_id: str, call: Call) -> None:
    from mlflow.entities import Dataset, DatasetInput, InputTag

    client.log_inputs(
        run_id,
        [
            DatasetInput(Dataset(**fields), [InputTag(DATA_CONTEXT, context)])
            for context, fields in call["datasets"].items()
        ],
    )


def _text(client: MlflowClient, run_id: str, call: Call) -> None:
    client.log_text(run_id, call["text"], call["path"])


def _file(client: MlflowClient, run_id: str, call: Call) -> None:
    client.log_artifact(run_id, call["file"], call["folder"] or None)


def _folder(client: MlflowClient, run_id: str, call: Call) -> None:
    client.log_artifacts(run_id, call["file"], call["folder"])


def _table(client: MlflowClient, run_id: str, call: Call) -> None:
    client.log_table(run_id, call["columns"], call["path"])


def _model(client: MlflowClient, run_id: str, call: Call) -> str | None:
    from components import registry

    return registry.log(client, run_id, call["export"])


def _end(client: MlflowClient, run_id: str, call: Call) -> None:
    client.set_terminated(run_id, call["status"], call["ended_ms"])


_PERFORM = {
    "batch": _batch,
    "datasets": _datasets,
    "text": _text,
    "file": _file,
    "folder": _folder,
    "table": _table,
    "model": _model,
    "end": _end,
}
