"""The life of a model's versions: loaded before the old one goes, unloaded after its last request.

START -> LOADING -> AVAILABLE -> UNLOADING -> END       (a version that does not load: LOADING -> END, with its error)
"""

from __future__ import annotations

import contextlib
import dataclasses
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Annotated, Any, ClassVar, Generic, Protocol, TypeVar

import annotated_types

from serving.errors import ServingError, Status
from serving.versions import Action, Candidate, State, VersionState, next_action


class Servable(Protocol):
    """What a version is once it is loaded."""

    def close(self) -> None:
        """Free what it holds; no request uses it any more."""


ServableT = TypeVar("ServableT", bound=Servable)


@dataclasses.dataclass(frozen=True)
class Retries:
    """How often a version that does not load is tried again, and after how long."""

    __pydantic_config__: ClassVar[dict[str, Any]] = {"extra": "forbid"}

    count: Annotated[int, annotated_types.Ge(0)] = 5
    interval_s: Annotated[float, annotated_types.Ge(0)] = 60.0


@dataclasses.dataclass
class _Version(Generic[ServableT]):
    number: int
    path: str
    wanted: bool = True
    state: State = State.START
    error: ServingError | None = None
    servable: ServableT | None = None
    handles: int = 0
    failures: list[ServingError] = dataclasses.field(default_factory=list)  # of its loads, the last one at the end
    retry_at_s: float | None = None  # when it is tried again: it is LOADING, but nobody is at it

    @property
    def tried(self) -> bool:
        """Its first load has ended, well or not."""
        return bool(self.failures) or self.state in (State.AVAILABLE, State.UNLOADING, State.END)


@dataclasses.dataclass(frozen=True)
class Handle(Generic[ServableT]):
    """A version that stays loaded while it is held."""

    version: int
    servable: ServableT


class ModelVersions(Generic[ServableT]):
    """The versions of one model; `load` makes a servable of a version's path, or raises ServingError."""

    def __init__(self, name: str, load: Callable[[str], ServableT], retries: Retries) -> None:
        self.name = name
        self._load_path = load
        self._retries = retries
        self._versions: dict[int, _Version[ServableT]] = {}
        self._postponed: Mapping[int, str] | None = None
        self._changed = threading.Condition()
        self._closed = False
        self._worker = threading.Thread(target=self._work, name=f"versions of {name}", daemon=True)
        self._worker.start()

    def want(self, paths: Mapping[int, str]) -> None:
        """From now on these versions, and no others: {2: "/models/m/2"}.

        Of which one is just being unloaded: once it is gone. Until then all stays as it is, so that the others serve.
        """
        with self._changed:
            if self._closed:
                return
            leaving = {number for number, version in self._versions.items() if version.state is State.UNLOADING}
            self._postponed = dict(paths) if leaving & set(paths) else None
            if self._postponed is not None:
                return
            for version in self._versions.values():
                version.wanted = version.wanted and version.number in paths
                if not version.wanted and (version.state is State.START or version.retry_at_s is not None):
                    self._give_up(version)
            for number, path in paths.items():
                known = self._versions.get(number)
                if known is None or (known.state is State.END and not known.wanted):
                    self._versions[number] = _Version(number, path)
                elif known.state in (State.START, State.LOADING, State.AVAILABLE):
                    known.wanted = True
            self._changed.notify_all()

    def states(self) -> list[VersionState]:
        """Every version that ever was wanted, newest first."""
        with self._changed:
            versions = sorted(self._versions.values(), key=lambda version: -version.number)
            return [VersionState(version.number, version.state, version.error) for version in versions]

    @contextlib.contextmanager
    def handle(self, number: int | None = None) -> Iterator[Handle[ServableT]]:
        """Hold a version (None: the highest that is available); NOT_FOUND if it is not available."""
        with self._changed:
            available = {n: v for n, v in self._versions.items() if v.state is State.AVAILABLE}
            if not available or (number is not None and number not in available):
                request = f"Latest({self.name})" if number is None else f"Specific({self.name}, {number})"
                raise ServingError(Status.NOT_FOUND, f"Servable not found for request: {request}")
            version = available[max(available) if number is None else number]
            version.handles += 1
        try:
            assert version.servable is not None
            yield Handle(version.number, version.servable)
        finally:
            with self._changed:
                version.handles -= 1
                self._changed.notify_all()

    def wait_available(self, stop: Callable[[], bool]) -> bool:
        """Block until a version serves and each that is wanted was tried once (True) or `stop()` (False).

        A version that does not load at once is not waited for if there is another; if none loads, its error is raised.
        """
        with self._changed:
            while not stop():
                wanted = sorted((v for v in self._versions.values() if v.wanted), key=lambda v: -v.number)
                if any(v.state is State.AVAILABLE for v in wanted) and all(v.tried for v in wanted):
                    return True
                errors = [v.error for v in wanted if v.state is State.END and v.error is not None]
                if wanted and len(errors) == len(wanted):
                    raise errors[0]
                self._changed.wait(timeout=0.2)  # a signal handler cannot take this lock to wake us
        return False

    def close(self) -> None:
        """Unload everything, each version after its last request."""
        with self._changed:  # in one piece: a poll in between would want a version again
            self.want({})
            self._closed = True
            self._changed.notify_all()
        self._worker.join()
        with self._changed:
            self._changed.wait_for(lambda: all(v.state is not State.UNLOADING for v in self._versions.values()))

    def _work(self) -> None:
        while True:
            with self._changed:
                while (action := self._next()) is None:
                    if self._closed:
                        return
                    self._changed.wait(self._until_retry_s())
                version = self._versions[action[1]]
                version.state = State.LOADING if action[0] is Action.LOAD else State.UNLOADING
                version.retry_at_s = None
            if action[0] is Action.LOAD:
                self._load(version)
            elif self._closed:
                self._unload(version)
            else:  # beside the worker, so that a long request does not hold up the next version
                threading.Thread(target=self._unload, args=[version], daemon=True).start()

    def _next(self) -> tuple[Action, int] | None:
        """What the rules say; else a version that is to be tried again by now: a broken one keeps none waiting."""
        action = next_action(Candidate(v.number, v.state, v.wanted) for v in self._versions.values())
        now_s = time.monotonic()
        due = [number for number, at_s in self._retries_at_s().items() if at_s <= now_s]
        return action or ((Action.LOAD, max(due)) if due else None)

    def _until_retry_s(self) -> float | None:
        times = self._retries_at_s().values()
        return max(0.0, min(times) - time.monotonic()) if times else None

    def _retries_at_s(self) -> dict[int, float]:
        """When versions are tried again, those that wait for it."""
        return {n: v.retry_at_s for n, v in self._versions.items() if v.retry_at_s is not None}

    def _load(self, version: _Version[ServableT]) -> None:
        started = time.monotonic()
        try:
            servable = self._load_path(version.path)
        except Exception as error:  # whatever it is, the worker lives on
            failure = error if isinstance(error, ServingError) else _unknown(error)
            log(f"model {self.name} version {version.number} failed to load: {failure}")
            with self._changed:
                version.failures.append(failure)
                if version.wanted and len(version.failures) <= self._retries.count:
                    version.retry_at_s = time.monotonic() + self._retries.interval_s
                else:
                    self._give_up(version)
                self._changed.notify_all()
        else:
            log(f"model {self.name} version {version.number} loaded in {time.monotonic() - started:.1f} s")
            with self._changed:
                version.state, version.servable = State.AVAILABLE, servable
                self._changed.notify_all()

    @staticmethod
    def _give_up(version: _Version[ServableT]) -> None:
        """It will not load; with the lock held."""
        version.state, version.retry_at_s = State.END, None
        version.error = version.failures[-1] if version.failures else None

    def _unload(self, version: _Version[ServableT]) -> None:
        with self._changed:
            self._changed.wait_for(lambda: version.handles == 0)
        if version.servable is not None:
            version.servable.close()
        with self._changed:
            version.state, version.servable = State.END, None
            if self._postponed is not None:
                self.want(self._postponed)
            self._changed.notify_all()
        log(f"model {self.name} version {version.number} unloaded")


def _unknown(error: Exception) -> ServingError:
    return ServingError(Status.UNKNOWN, f"{type(error).__name__}: {error}")


def log(message: str) -> None:
    """A line for whoever runs the server."""
    print(f"serving: {message}", file=sys.stderr, flush=True)
