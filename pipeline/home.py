"""Where state lives: one folder, `--home`, `FOVEA_HOME` or `./.fovea`."""

from __future__ import annotations

import contextlib
import dataclasses
import fcntl
import os
import pathlib
from collections.abc import Iterator

from components.tracking_store import Store
from serving.card import exported_versions

ODD = "*?[%"  # in a path they are patterns to TFX, and mean something to a URI


@dataclasses.dataclass(frozen=True)
class Home:
    """The folders and files under the home folder.

    metadata.db                 ML Metadata: every artifact and execution
    mlflow.db, mlflow/          MLflow's runs and their artefacts
    tracking/NAME/              what MLflow does not have yet of runs: see `components/tracking_journal.py`
    artifacts/NAME/COMPONENT/   what the components made
    checkpoints/NAME/           trainings under way
    tuning/NAME/                searches over parameters: KerasTuner's state
    rejected/NAME/              dead letters of the last ingest, and the rows that its checks list
    reports/NAME/               the page and the pictures of the last run
    models/NAME/VERSION/        pushed models: what a model server watches
    """

    root: pathlib.Path

    @classmethod
    def at(cls, path: str | None) -> Home:
        """The home folder at this path, or where FOVEA_HOME says, or `./.fovea`."""
        root = pathlib.Path(path or os.environ.get("FOVEA_HOME") or ".fovea").resolve()
        odd = sorted(set(str(root)) & set(ODD))
        if odd:
            what = f"holds {' '.join(odd)}, which TFX and SQLite read as a pattern"
            raise ValueError(f"the home folder {str(root)!r} {what}: expected another name")
        return cls(root)

    @property
    def metadata_db(self) -> pathlib.Path:
        return self.root / "metadata.db"

    def artifacts(self, name: str) -> pathlib.Path:
        return self.root / "artifacts" / name

    def checkpoints(self, name: str) -> pathlib.Path:
        return self.root / "checkpoints" / name

    def tuning(self, name: str) -> pathlib.Path:
        return self.root / "tuning" / name

    def rejected(self, name: str) -> pathlib.Path:
        return self.root / "rejected" / name

    def reports(self, name: str) -> pathlib.Path:
        return self.root / "reports" / name

    def models(self, name: str) -> pathlib.Path:
        return self.root / "models" / name

    @contextlib.contextmanager
    def alone(self, name: str) -> Iterator[None]:
        """One run of a pipeline at a time: two would share checkpoints. The lock goes with the process that holds it.

        Raises:
            RuntimeError: another run of that name is under way.
        """
        self.root.mkdir(parents=True, exist_ok=True)
        with (self.root / f"{name}.lock").open("w") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise RuntimeError(f"another run of {name!r} is under way in {self.root}") from None
            yield

    def tracking(self, name: str, uri: str = "") -> Store:
        """MLflow's store: `uri`, or SQLite here."""
        state = str(self.root / "tracking")
        artifacts = str(self.root / "mlflow" / name)
        if uri.startswith(("http:", "https:")):  # the server knows where
            return Store(uri, "", name, state)
        return Store(uri or f"sqlite:///{self.root / 'mlflow.db'}", artifacts, name, state)

    def keep_tracking(self, store: Store) -> None:
        """Remember where the runs of a pipeline go, for commands that have no configuration."""
        store.keep(self.store_file(store.experiment))

    def kept_tracking(self, name: str) -> Store:
        """Where the last run of a pipeline went."""
        path = self.store_file(name)
        return Store.read(path) if path.exists() else self.tracking(name)

    def stores(self) -> list[Store]:
        """Every place where runs of this home folder went, that of the latest first, and SQLite here."""
        files = sorted(self.root.glob("tracking/*/store.json"), key=lambda path: -path.stat().st_mtime)
        return list({store.uri: store for store in (*map(Store.read, files), self.tracking(""))}.values())

    def store_file(self, name: str) -> pathlib.Path:
        """Where that is written."""
        return self.root / "tracking" / name / "store.json"

    def find_model(self, name_or_path: str) -> pathlib.Path:
        """The SavedModel of that name (its newest pushed version) or at that path.

        Raises:
            FileNotFoundError: names what was looked for, and what there is.
        """
        path = pathlib.Path(name_or_path)
        if (path / "saved_model.pb").exists():
            return path
        for folder in (self.models(name_or_path), path):
            found = exported_versions(folder)
            if found:
                return found[-1]
        known = sorted(folder.name for folder in (self.root / "models").glob("*") if exported_versions(folder))
        have = f"pushed models are: {', '.join(known)}" if known else "no model has been pushed"
        raise FileNotFoundError(
            f"no model {name_or_path!r}: neither a SavedModel nor a pushed model of {self.root}; {have}"
        )
