"""Pushed models: a folder of versions, the largest of which a model server serves."""

from __future__ import annotations

import pathlib
import shutil
import time

import ml_metadata
from ml_metadata.proto import metadata_store_pb2

from components import model_digest
from serving.card import exported_versions

PUSHED_VERSION = "pushed_version"  # TFX's custom property of a PushedModel
UNFINISHED = ".new"


def push(saved_model: pathlib.Path, base: pathlib.Path, digest: str) -> pathlib.Path:
    """Copy a SavedModel to a new largest version -> its folder. It appears whole, or not at all.

    Raises:
        TamperedModelError: it has not this digest ("": there is none to compare with).
        OSError: it is missing, or cannot be copied; nothing has changed.
    """
    base.mkdir(parents=True, exist_ok=True)
    for given_up in base.glob(f".*{UNFINISHED}"):
        shutil.rmtree(given_up)
    newest = max((int(path.name) for path in exported_versions(base)), default=0)
    version = base / str(max(int(time.time()), newest + 1))
    unfinished = base / f".{version.name}{UNFINISHED}"  # no number, so no server takes it for a version
    try:
        _copy(saved_model, unfinished)
        model_digest.require(unfinished, digest, saved_model)
        unfinished.rename(version)
    except BaseException:
        shutil.rmtree(unfinished, ignore_errors=True)
        raise
    return version


def _copy(source: pathlib.Path, destination: pathlib.Path) -> None:
    if not source.is_dir():
        raise FileNotFoundError(f"{source} is not there, where an exported model was expected")
    try:
        shutil.copytree(source, destination)
    except shutil.Error as error:  # a list of all files that failed
        _, path, reason = error.args[0][0]
        raise OSError(f"{path}: {reason}") from error


def pushes(store: ml_metadata.MetadataStore) -> list[tuple[int, str]]:
    """Every push that ML Metadata knows, oldest first: (model's id, version)."""
    found = []
    for pushed in sorted(store.get_artifacts_by_type("PushedModel"), key=lambda artifact: artifact.id):
        version = pushed.custom_properties[PUSHED_VERSION].string_value
        if not version or pushed.state != metadata_store_pb2.Artifact.LIVE:
            continue
        makers = [e.execution_id for e in store.get_events_by_artifact_ids([pushed.id]) if e.type == e.OUTPUT]
        found += [
            (event.artifact_id, version)
            for event in store.get_events_by_execution_ids(makers)
            if event.type == event.INPUT and event.path.steps[0].key == "model"
        ]
    return found
