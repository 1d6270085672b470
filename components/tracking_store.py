"""Where MLflow's runs go."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import logging
import os
import pathlib
import re
import subprocess
import sys
import typing
from collections.abc import Iterator

if typing.TYPE_CHECKING:
    from mlflow import MlflowClient

SQLITE = "sqlite:///"  # and a file
# MLflow would ask a server that is away for two minutes, at every call. Who wants that sets them.
SETTINGS = {
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "30",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",  # standard output belongs to `--json`
    "MLFLOW_DISABLE_TELEMETRY": "true",  # whom a run is reported to is its owner's choice
}
NOISE = {
    "alembic": logging.WARNING,  # "Context impl SQLiteImpl", at INFO
    "mlflow.pyfunc": logging.WARNING,  # "Validating input example against model signature"
    "mlflow.store.db.utils": logging.CRITICAL,  # "Creating initial MLflow database tables"; a traceback of what we tell
    "urllib3.connectionpool": logging.ERROR,  # each retry
}


@dataclasses.dataclass(frozen=True)
class Store:
    """Where runs go.

    Attributes:
        uri: MLflow's tracking URI, such as "sqlite:///mlflow.db" or "http://mlflow:5000".
        artifacts: folder or URI of the artefacts of a new experiment; "" leaves the choice to an MLflow server.
        experiment: the experiment's name: the pipeline's.
        state: folder of what is known of runs that are not over, or not all in MLflow.
    """

    uri: str
    artifacts: str
    experiment: str
    state: str

    def client(self) -> MlflowClient:
        """A client of the store; creates the SQLite file at first use."""
        for name, level in NOISE.items():
            logging.getLogger(name).setLevel(level)
        self.settle()
        from mlflow import MlflowClient

        if self.uri.startswith(SQLITE):
            _make(pathlib.Path(self.uri.removeprefix(SQLITE)))
        elif not self.uri.startswith(("sqlite:", "http:", "https:")):
            _reach(self.uri)
        return MlflowClient(self.uri)

    @staticmethod
    def settle() -> None:
        """What nobody has set of MLflow is as we want it, in this process and those that it starts."""
        for name, value in SETTINGS.items():
            os.environ.setdefault(name, value)

    @classmethod
    def read(cls, path: str | os.PathLike[str]) -> Store:
        """The store that a file of a home folder names (`keep`)."""
        return cls(**json.loads(pathlib.Path(path).read_text()))

    def keep(self, path: pathlib.Path) -> None:
        """Write it to a file, for the owner alone: its URI may hold a password, which belongs nowhere else."""
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch(mode=0o600)
        path.write_text(json.dumps(dataclasses.asdict(self)))

    def name(self) -> str:
        """The URI without the password that it may hold."""
        return without_passwords(self.uri)

    @property
    def journals(self) -> pathlib.Path:
        return pathlib.Path(self.state) / self.experiment


def without_passwords(text: str) -> str:
    """Text with what stands before the host of its URIs left out: "https://u:secret@h" -> "https://…@h"."""
    return re.sub(r"//[^/@\s]*@", "//…@", text)


def _reach(uri: str) -> None:
    """Connect to a database once: MLflow itself tries for a hundred seconds."""
    import sqlalchemy

    engine = sqlalchemy.create_engine(uri)
    engine.connect().close()
    engine.dispose()


def _make(path: pathlib.Path) -> None:
    """A new SQLite file, whole or not at all: MLflow cannot go on with one whose migrations a full disk ended."""
    from mlflow import MlflowClient

    if path.exists():
        return
    new = path.with_name(f"{path.name}.{os.getpid()}")
    try:
        MlflowClient(f"{SQLITE}{new}").search_experiments()
        with contextlib.suppress(FileExistsError):  # somebody else was faster
            os.link(new, path)
    finally:
        new.unlink(missing_ok=True)


@contextlib.contextmanager
def made_beside(store: Store) -> Iterator[None]:
    """Make a new SQLite store in a process of its own while the body does something else, such as imports.

    MLflow's migrations take three seconds; most machines have a second core for them.
    """
    path = pathlib.Path(store.uri.removeprefix(SQLITE))
    if not store.uri.startswith(SQLITE) or path.exists():
        yield
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    code = "import sys; from components.tracking_store import Store; Store(*sys.argv[1:]).client()"
    arguments = [sys.executable, "-W", "ignore", "-c", code, *dataclasses.astuple(store)]
    project = pathlib.Path(__file__).parent.parent
    with subprocess.Popen(arguments, cwd=project, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL):
        yield
