"""MLflow: one run a pipeline run, found by a tag, so that any process of any orchestrator can add to it.

What MLflow cannot take now (its server is down, its database locked) does not stop a pipeline: it is kept in the run's
journal (`tracking_journal`), and done later by `Run.catch_up`, which `fovea sync` calls.
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import pathlib
import re
import threading
import time
import typing
import uuid
from collections.abc import Iterator, Mapping, Sequence

import rich.console
from rich.markup import escape

from components import tracking_calls
from components.registry import Export
from components.tracking_calls import Call
from components.tracking_journal import PENDING, Journal
from components.tracking_store import Store

if typing.TYPE_CHECKING:
    from mlflow import MlflowClient

RUN_TAG = "fovea.pipeline_run_id"
PENDING_TAG = "fovea.pending_id"  # of a run that began while MLflow was away: how ML Metadata knew it until then
ERROR_TAG = "fovea.error"
PARENT_TAG = "mlflow.parentRunId"  # MLflow's own: its pages show such a run under its parent
MOST_METRICS, MOST_PARAMETERS, MOST_TAGS = 1000, 100, 100  # in one call
MAX_TAG_CHARACTERS = 5000
MAX_PARAMETER_CHARACTERS = 500  # MLflow refuses longer values on some stores
_ODD = re.compile(r"[^\w\-. :/]")  # what MLflow refuses in the name of a metric
MAX_NAME_CHARACTERS = 250  # of a metric

FINISHED, FAILED, KILLED = "FINISHED", "FAILED", "KILLED"


class Run:
    """A run of MLflow, to write to. Any process that knows its key may; threads, too."""

    def __init__(self, store: Store, key: str) -> None:
        """The run of that key: the id that it had at first."""
        self.store = store
        self.key = key
        self.journal = Journal(store.journals / key)
        self._client: MlflowClient | None = None
        self._lock = threading.RLock()

    @property
    def id(self) -> str:
        """Of MLflow, or one that begins with `PENDING` where MLflow does not know the run yet."""
        return str(self.journal.facts.get("run_id", self.key))

    def metrics(self, values: Mapping[str, float], step: int = 0) -> None:
        """Log metrics of now. The slice "group:en+f1" becomes "group:en_f1": not every name is one to MLflow."""
        at_ms = now_ms()
        self.points([(_named(name), value, at_ms, step) for name, value in values.items()])

    def points(self, points: Sequence[tuple[str, float, int, int]]) -> None:
        """Log metrics, each with its time in ms and its step, as many in one call as MLflow takes."""
        for part in _parts(points, MOST_METRICS):
            self._do({"do": "batch", "metrics": part})

    def parameters(self, values: Mapping[str, str]) -> None:
        """Log parameters."""
        cut = [(name, value[:MAX_PARAMETER_CHARACTERS]) for name, value in values.items()]
        for part in _parts(cut, MOST_PARAMETERS):
            self._do({"do": "batch", "parameters": dict(part)})

    def tags(self, values: Mapping[str, str]) -> None:
        """Set tags."""
        cut = [(name, value[:MAX_TAG_CHARACTERS]) for name, value in values.items()]
        for part in _parts(cut, MOST_TAGS):
            self._do({"do": "batch", "tags": dict(part)})

    def text(self, text: str, path: str) -> None:
        """Upload a text as an artefact."""
        self._do({"do": "text", "text": text, "path": path})

    def file(self, file: pathlib.Path, folder: str = "") -> None:
        """Upload a file into a folder of the artefacts."""
        self._do({"do": "file", "file": str(file), "folder": folder})

    def folder(self, files: pathlib.Path, folder: str) -> None:
        """Upload what a folder holds."""
        self._do({"do": "folder", "file": str(files), "folder": folder})

    def table(self, columns: Mapping[str, Sequence[typing.Any]], path: str) -> None:
        """Upload a table, which MLflow's page shows as one: {"source": ["tea"], "prediction": ["thé"]}, "rows.json"."""
        self._do({"do": "table", "columns": dict(columns), "path": path})

    def datasets(self, fields_by_context: Mapping[str, Mapping[str, str]]) -> None:
        """Log the run's inputs: {"train": {"name", "digest", "source_type", "source", "schema", "profile"}, ...}."""
        self._do({"do": "datasets", "datasets": dict(fields_by_context)})

    def model(self, export: Export) -> str | None:
        """Log an exported model and register it, if it was pushed -> its version, if it is registered now."""
        version: str | None = self._do({"do": "model", "export": dataclasses.asdict(export)})
        return version

    def history(self, run_id: str, metric: str) -> list[tuple[int, float]]:
        """The points of a metric of any run of the store, (step, value); none where MLflow cannot say now."""
        if self.journal.holds_calls or run_id.startswith(PENDING):
            return []
        try:
            return [(point.step, point.value) for point in self.client().get_metric_history(run_id, metric)]
        except Exception as error:
            if not tracking_calls.unavailable(error):
                raise
            return []

    def end(self, status: str, error: str = "") -> None:
        """The run is over; what its journal holds is for `catch_up`."""
        if error:
            self.tags({ERROR_TAG: error})
        self._do({"do": "end", "status": status, "ended_ms": now_ms()})
        with self._lock:
            if self.journal.holds_calls:
                self.journal.note(over=True)
            else:
                self.journal.remove()

    def _do(self, call: Call) -> typing.Any:
        """Do a call -> what it says; or keep it, as all that follows, and say so once."""
        with self._lock:
            if not self.journal.holds_calls:
                try:
                    return tracking_calls.perform(self.client(), self.id, call)
                except Exception as error:
                    if not tracking_calls.unavailable(error):
                        raise
                    _tell(self.store, error)
            self.journal.append(call)
            return None

    def client(self) -> MlflowClient:
        """Of the store; made once."""
        self._client = self._client or self.store.client()
        return self._client

    def catch_up(self) -> str:
        """Do what the journal holds -> the id that the run has now.

        Raises:
            Unavailable: MLflow cannot be used still; nothing is lost.
        """
        with self._lock:
            try:
                for call in self.journal.calls():
                    if call["do"] == "create":
                        self._create(call)
                    else:
                        tracking_calls.perform(self.client(), self.id, call)
            except Exception as error:
                if not tracking_calls.unavailable(error):
                    raise
                raise Unavailable(f"MLflow at {self.store.name()}: {_brief(error)}") from error
            now = self.id
            self.journal.settle()
            if self.journal.facts.get("over"):
                self.journal.remove()
            return now

    def _create(self, call: Call) -> None:
        parent = self.journal.facts["parent"]
        if parent:
            call["tags"][PARENT_TAG] = parent
        if parent.startswith(PENDING):
            raise Unavailable(f"{self.key} is within {parent}, which MLflow does not know yet")
        run_id = tracking_calls.create(self.client(), self.store.experiment, self.store.artifacts, call)
        self.journal.note(run_id=run_id)
        for run in left_over(self.store):
            if run.journal.facts["parent"] == self.key:
                run.journal.note(parent=run_id)


class Unavailable(RuntimeError):  # noqa: N818  it is no error of ours
    """MLflow cannot be used now."""


@contextlib.contextmanager
def needed(store: Store) -> Iterator[None]:
    """Say in plain words that MLflow cannot be used, where nothing can be done without it."""
    try:
        yield
    except Exception as error:
        if not tracking_calls.unavailable(error):
            raise
        raise Unavailable(f"MLflow at {store.name()} cannot be used: {_brief(error)}; nothing has changed") from error


def open_run(
    store: Store,
    name: str,
    tags: Mapping[str, str],
    parameters: Mapping[str, str],
    parent: Run | None = None,
    began_ms: int | None = None,
) -> Run:
    """Begin the run of a pipeline run, or one within it.

    Args:
        store: where.
        name: of the pipeline run, which finds it again; of a run within another, any.
        tags: of the run.
        parameters: of the run.
        parent: the run that it belongs to.
        began_ms: when it began; None: now.
    """
    ours = {PARENT_TAG: parent.id} if parent else {RUN_TAG: name}
    began_ms = began_ms or now_ms()
    call: Call = {"do": "create", "name": name, "began_ms": began_ms, "tags": {**ours, **tags}}
    key, kept = PENDING + uuid.uuid4().hex, parent is not None and parent.journal.holds_calls
    if not kept:
        try:
            key = tracking_calls.create(store.client(), store.experiment, store.artifacts, call)
        except Exception as error:
            if not tracking_calls.unavailable(error):
                raise
            _tell(store, error)
            kept = True
    run = Run(store, key)
    run.journal.begin(
        run_id=key,
        pipeline_run_id="" if parent else name,
        parent=parent.key if parent else "",
        began_ms=began_ms,
        store=dataclasses.asdict(store),
    )
    if kept:
        call["tags"][PENDING_TAG] = key
        run.journal.append(call)
    run.parameters(parameters)
    return run


@contextlib.contextmanager
def closed_at_the_end(run: Run) -> Iterator[None]:
    """Give the run the status that its body ends with, and the reason where it fails."""
    try:
        yield
    except Exception as error:
        run.end(FAILED, f"{type(error).__name__}: {error}")
        raise
    except BaseException:
        run.end(KILLED)
        raise
    run.end(FINISHED)


@contextlib.contextmanager
def forgotten_if_gone(run: Run) -> Iterator[None]:
    """Write to a run that somebody may have deleted in MLflow since: then there is nothing left to complete."""
    try:
        yield
    except Exception as error:
        if not tracking_calls.gone(error):
            raise
        run.journal.remove()


def left_over(store: Store) -> list[Run]:
    """The runs of the store that are not over, or not all in MLflow, as they began; first those within no other."""
    runs = [Run(store, path.parent.name) for path in store.journals.glob("*/run.json")]
    runs = [Run(Store(**facts["store"]), run.key) for run in runs if "store" in (facts := run.journal.facts)]
    return sorted(runs, key=lambda run: (run.journal.facts["parent"] != "", run.journal.facts["began_ms"]))


def unfinished(store: Store) -> list[Run]:
    """The runs that are under way, or whose process was killed."""
    return [run for run in left_over(store) if not run.journal.facts.get("over")]


def find_run(store: Store, pipeline_run_id: str) -> Run:
    """The run that `open_run` began, in this process or another; LookupError where there is none."""
    for run in left_over(store):
        if run.journal.facts["pipeline_run_id"] == pipeline_run_id:
            return run
    client = store.client()
    experiment = client.get_experiment_by_name(store.experiment)
    tagged = f"tags.`{RUN_TAG}` = '{pipeline_run_id}'"
    runs = client.search_runs([experiment.experiment_id], tagged, max_results=1) if experiment else []
    if not runs:
        raise LookupError(f"no MLflow run of {store.experiment!r} has the tag {RUN_TAG}={pipeline_run_id!r}")
    return Run(store, str(runs[0].info.run_id))


def _tell(store: Store, error: BaseException) -> None:
    told = f"MLflow at {store.name()} cannot be used: {_brief(error)}"
    kept = "the run goes on; what is to be logged is kept, and `fovea sync` brings it there"
    rich.console.Console(stderr=True).print(f"  [yellow]![/] {escape(told)}; {kept}", soft_wrap=True, highlight=False)


def _brief(error: BaseException) -> str:
    """The core of MLflow's long sentences: "(sqlite3.OperationalError) database is locked"."""
    said = str(error)
    for pattern in (r"\[Errno \d+\] [^'\")]+", r"\(\w+\.\w+\) [^\n]+", r"[^\n]+"):
        found = re.search(pattern, said)
        if found:
            return found.group()[:200]
    return type(error).__name__


def _named(name: str) -> str:
    """A name as MLflow takes it: "group:en+f1" -> "group:en_f1", "a//b" -> "a/_/b"; of long ones the beginning."""
    parts = [part if part.strip(".") else "_" for part in _ODD.sub("_", name).split("/")]
    plain = "/".join(parts)
    if len(plain) <= MAX_NAME_CHARACTERS:
        return plain
    digest = hashlib.sha256(name.encode()).hexdigest()[:8]
    return f"{plain[: MAX_NAME_CHARACTERS - len(digest) - 1].rstrip('/')}_{digest}"


def _parts(values: Sequence[typing.Any], size: int) -> Iterator[Sequence[typing.Any]]:
    return (values[first : first + size] for first in range(0, len(values), size))


def now_ms() -> int:
    """The time, as MLflow has it."""
    return int(time.time() * 1000)
