"""MLflow's registry: a pushed model is a registered version, and the alias `champion` names the one that is served."""

from __future__ import annotations

import dataclasses
import importlib.metadata
import pathlib
import tempfile
import typing
from collections.abc import Mapping, Sequence

import numpy as np

from components import model_digest, recordings
from components.tracking_store import Store
from serving.card import Card, exported_versions

if typing.TYPE_CHECKING:
    from mlflow import MlflowClient

CHAMPION = "champion"
CHAMPIONS_TAG = "fovea.champions"  # of a registered model: "1 2 3", the versions that were champion, newest last
DIGEST_TAG = "fovea.digest"
PUSHED_TAG = "fovea.pushed_as"
PYFUNC = pathlib.Path(__file__).with_name("pyfunc_model.py")
SAVED_MODEL = "saved_model"
# A tenth of a second: of the test recordings only their names are known here.
_SILENCE = recordings.wav(np.zeros(1600, np.float32), 16_000)
REQUIREMENTS = ("mlflow", "tensorflow", "tensorflow-text", "pandas", "numpy")


@dataclasses.dataclass(frozen=True)
class Export:
    """A model to log.

    Attributes:
        name: of the pipeline, and of the registered model.
        saved_model: its folder.
        digest: of that folder, when it was made.
        model_id: of ML Metadata.
        pushed: the folder of the pushed version; "" where it was not pushed, and is not to be registered.
        examples: a few texts that it was asked.
    """

    name: str
    saved_model: str
    digest: str
    model_id: int
    pushed: str
    examples: Sequence[str]


@dataclasses.dataclass(frozen=True)
class Version:
    """A registered version."""

    version: str
    digest: str
    pushed_as: str
    aliases: tuple[str, ...]
    run_id: str


def log(client: MlflowClient, run_id: str, fields: Mapping[str, typing.Any]) -> str | None:
    """Log an `Export` with the run, and register it if it was pushed -> its registered version.

    Doing it again changes nothing. The alias moves if what was pushed then is what is served still.
    """
    export = Export(**fields)
    logged = _logged(client, run_id, export)
    if not export.pushed:
        return None
    known = next((one for one in versions(client, export.name) if one.digest == export.digest), None)
    version = known.version if known else _register(client, run_id, logged, export)
    pushed = pathlib.Path(export.pushed)
    if exported_versions(pushed.parent)[-1:] == [pushed]:
        crown(client, export.name, version)
    return version


def _logged(client: MlflowClient, run_id: str, export: Export) -> typing.Any:
    """MLflow's logged model of the export, which is made if there is none."""
    from mlflow.entities import LoggedModelOutput

    experiment_id = client.get_run(run_id).info.experiment_id
    by_digest = f"tags.`{DIGEST_TAG}` = '{export.digest}'"
    for found in client.search_logged_models([experiment_id], by_digest):
        if str(found.status) == "READY":
            return found
    tags = {DIGEST_TAG: export.digest, "mlmd.model": str(export.model_id)}
    made = client.create_logged_model(experiment_id, export.name, source_run_id=run_id, tags=tags, model_type="pyfunc")
    client.log_outputs(run_id, [LoggedModelOutput(made.model_id, step=0)])
    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder, "model")
        _save(export, path, made, run_id)
        client.log_model_artifacts(made.model_id, str(path))
    return client.finalize_logged_model(made.model_id, "READY")


def _save(export: Export, path: pathlib.Path, logged: typing.Any, run_id: str) -> None:
    """The model in MLflow's format: the SavedModel, `pyfunc_model.py`, signature, example and requirements."""
    import mlflow.pyfunc
    import pandas as pd
    from mlflow.models import Model, ModelSignature
    from mlflow.types import ColSpec, DataType, Schema

    model_digest.require(pathlib.Path(export.saved_model), export.digest, export.saved_model)
    card = Card.of(pathlib.Path(export.saved_model))
    listens = card is not None and bool(card.audio)
    text = ColSpec(DataType.string, "text")
    asked = ColSpec(DataType.binary, "audio") if listens else text
    mlflow.pyfunc.save_model(
        path,
        python_model=str(PYFUNC),
        artifacts={SAVED_MODEL: export.saved_model},
        signature=ModelSignature(Schema([asked]), Schema([text, ColSpec(DataType.double, "score")])),
        input_example=pd.DataFrame({asked.name: [_SILENCE] if listens else list(export.examples)}),
        pip_requirements=[f"{name}=={importlib.metadata.version(name)}" for name in REQUIREMENTS],
        mlflow_model=Model(
            artifact_path=logged.artifact_location, model_uuid=logged.model_id, run_id=run_id, model_id=logged.model_id
        ),
    )


def _register(client: MlflowClient, run_id: str, logged: typing.Any, export: Export) -> str:
    from mlflow.exceptions import MlflowException

    try:
        client.create_registered_model(export.name)
    except MlflowException as error:
        if error.error_code != "RESOURCE_ALREADY_EXISTS":
            raise
    tags = {DIGEST_TAG: export.digest, PUSHED_TAG: pathlib.Path(export.pushed).name}
    # Not "models:/ID": that would be looked up in the process's default store.
    source, model_id = logged.artifact_location, logged.model_id
    made = client.create_model_version(export.name, source, run_id, tags, await_creation_for=None, model_id=model_id)
    return str(made.version)


def versions(client: MlflowClient, name: str) -> list[Version]:
    """The registered versions of a model, oldest first; none where MLflow does not know it."""
    aliases: dict[str, list[str]] = {}
    for alias, version in _registered(client, name)[0].items():
        aliases.setdefault(str(version), []).append(alias)
    found = [
        Version(
            version=str(one.version),
            digest=one.tags.get(DIGEST_TAG, ""),
            pushed_as=one.tags.get(PUSHED_TAG, ""),
            aliases=tuple(sorted(aliases.get(str(one.version), ()))),
            run_id=one.run_id or "",
        )
        for one in client.search_model_versions(f"name = '{name}'")
    ]
    return sorted(found, key=lambda one: int(one.version))


def champions(client: MlflowClient, name: str) -> list[str]:
    """The versions that were champion, up to the one that is: the alias decides, also where it was moved by hand."""
    aliases, tags = _registered(client, name)
    if CHAMPION not in aliases:
        return []
    champion, past = str(aliases[CHAMPION]), tags.get(CHAMPIONS_TAG, "").split()
    while past and past[-1] != champion:
        past.pop()
    return past or [champion]


def crown(client: MlflowClient, name: str, version: str, before: Sequence[str] | None = None) -> None:
    """Give the alias to a version, after those that were champion `before`; None: after all that were."""
    past = champions(client, name) if before is None else list(before)
    if past[-1:] != [version]:
        past.append(version)
    client.set_registered_model_tag(name, CHAMPIONS_TAG, " ".join(past))
    client.set_registered_model_alias(name, CHAMPION, version)  # last: it is what counts


def _registered(client: MlflowClient, name: str) -> tuple[dict[str, str], dict[str, str]]:
    """(Aliases, tags) of a registered model; nothing where MLflow does not know it."""
    from mlflow.exceptions import MlflowException

    try:
        found = client.get_registered_model(name)
    except MlflowException as error:
        if error.error_code != "RESOURCE_DOES_NOT_EXIST":
            raise
        return {}, {}
    return dict(found.aliases), dict(found.tags)


def download(store: Store, name: str, version: str, folder: pathlib.Path) -> pathlib.Path:
    """Bring a registered version's SavedModel into a folder -> where it is there."""
    import mlflow.artifacts

    source = store.client().get_model_version_download_uri(name, version)
    got = mlflow.artifacts.download_artifacts(artifact_uri=source, dst_path=str(folder), tracking_uri=store.uri)
    found = list(pathlib.Path(got).glob("artifacts/*/saved_model.pb"))
    if len(found) != 1:
        raise FileNotFoundError(f"version {version} of {name!r} in MLflow at {store.name()} holds no SavedModel")
    return found[0].parent
