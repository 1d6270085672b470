"""The models that a server's configuration lists: versions, labels, and how a new list replaces the old one."""

from __future__ import annotations

import contextlib
import dataclasses
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

from serving.errors import ServingError, Status
from serving.life import ModelVersions, log
from serving.model_config import Config, check, check_platforms, models_of, policy_of
from serving.pollers import BasePathPoller
from serving.saved_model import Servable
from serving.versions import State, VersionState

Versions = ModelVersions[Servable]
Labels = Mapping[str, Mapping[str, int]]  # {"m": {"stable": 7}}


@dataclasses.dataclass(frozen=True)
class LabelRule:
    """Whether a label may be given to a version that is not available: if it is a new label, or any label."""

    new: bool = False
    any: bool = False


class ConfiguredModels:
    """Models by name, from `start` on.

    Attributes:
        by_name: the versions of each model that is configured; a new mapping after each change.
        labels: the labels of each model that has some; likewise.
    """

    def __init__(
        self,
        new_versions: Callable[[str], Versions],
        poll_interval_s: float,
        label_rule: LabelRule,
        stopping: Callable[[], bool],
    ) -> None:
        self.by_name: Mapping[str, Versions] = {}
        self.labels: Labels = {}
        self._removed: dict[str, list[Versions]] = {}  # their versions have ended, and are still listed
        self._pollers: dict[str, BasePathPoller] = {}
        self._config = Config()
        self._new_versions = new_versions
        self._poll_interval_s = poll_interval_s
        self._label_rule = label_rule
        self._stopping = stopping
        self._lock = threading.Lock()

    def states(self, name: str) -> list[VersionState]:
        """Every version of a model, newest first; also those of the time before it was removed."""
        now = [self.by_name[name]] if name in self.by_name else []
        states: dict[int, VersionState] = {}
        for versions in (*self._removed.get(name, ()), *now):
            states |= {state.number: state for state in versions.states()}
        return [states[number] for number in sorted(states, reverse=True)]

    def version_of(self, name: str, label: str) -> int:
        """The version that a label stands for."""
        number = self.labels.get(name, {}).get(label)
        if number is None:
            raise ServingError(Status.INVALID_ARGUMENT, f"Unrecognized servable version label: {label}")
        return number

    def start(self, config: Config) -> bool:
        """Load the models of the first configuration: False if the server is told to stop before all are ready.

        Labels are looked at last, when their versions had the time to load.
        """
        with self._lock:
            check(config, self._config)
            check_platforms(config)
            for error in self._add(models_of(config), self._stopping).values():
                raise error
            if self._stopping():
                return False
            self.labels = self._checked_labels(config)
            self._config = config
            return True

    def reload(self, config: Config, give_up: Callable[[], bool]) -> None:
        """Replace the list of models, and block until the new ones are ready; if that fails, all is as it was."""
        with self._reloading(lambda: give_up() or self._stopping()) as ended:
            check(config, self._config)
            if not config.WhichOneof("config"):
                log("the new configuration is empty: nothing changes")
                return
            labels = self._checked_labels(config)
            check_platforms(config)
            models = {model.name: model for model in models_of(config)}
            new = [name for name in models if name not in self.by_name]
            failures = self._add([models[name] for name in new], ended)
            if failures or ended():
                self._remove(new)
                raise self._given_up() if ended() else _did_not_become_available(failures, self.states)
            self.labels = labels
            self._remove([name for name in self.by_name if name not in models])
            for name, model in models.items():
                if name not in new:
                    self._pollers[name].follow(model.base_path, policy_of(model))
            self._config = config

    def close(self) -> None:
        """Unload every model."""
        with self._lock:
            for poller in self._pollers.values():
                poller.stop()
            for versions in self.by_name.values():
                versions.close()

    @contextlib.contextmanager
    def _reloading(self, ended: Callable[[], bool]) -> Iterator[Callable[[], bool]]:
        """One configuration at a time."""
        while not self._lock.acquire(timeout=0.2):
            if ended():
                raise self._given_up()
        try:
            yield ended
        finally:
            self._lock.release()

    def _given_up(self) -> ServingError:
        status = Status.UNAVAILABLE if self._stopping() else Status.DEADLINE_EXCEEDED
        return ServingError(
            status, "The new configuration was given up before its models were ready; the old one stays"
        )

    def _add(self, models: Sequence[Any], ended: Callable[[], bool]) -> dict[str, ServingError]:
        """Load these models beside what is there; the errors of those of which no version loads."""
        added = {model.name: self._new_versions(model.name) for model in models}
        for model in models:
            versions, policy = added[model.name], policy_of(model)
            self._pollers[model.name] = BasePathPoller(versions, model.base_path, policy, self._poll_interval_s)
        self.by_name = {**self.by_name, **added}
        for name in added:
            self._pollers[name].start()
        failures = {}
        for name, versions in added.items():
            try:
                versions.wait_available(ended)
            except ServingError as error:
                failures[name] = error
        return failures

    def _remove(self, names: Iterable[str]) -> None:
        removed = {name: self.by_name[name] for name in names}
        for name, versions in removed.items():
            numbers = _numbers(versions)
            earlier = [each for each in self._removed.get(name, ()) if not _numbers(each) <= numbers]
            self._removed[name] = [*earlier, versions]
        self.by_name = {name: versions for name, versions in self.by_name.items() if name not in removed}
        for name, versions in removed.items():
            self._pollers.pop(name).stop()
            # Beside us: requests that are under way may take their time.
            threading.Thread(target=versions.close, name=f"removal of {name}", daemon=True).start()

    def _checked_labels(self, config: Config) -> Labels:
        labels: dict[str, dict[str, int]] = {}
        for model in models_of(config):
            available = {state.number for state in self.states(model.name) if state.state is State.AVAILABLE}
            for label, number in sorted(model.version_labels.items()):
                is_new = self.labels.get(model.name, {}).get(label, number) == number
                allowed = self._label_rule.any or (self._label_rule.new and is_new)
                if number not in available and not allowed:
                    message = (
                        f"Request to assign label to version {number} of model {model.name},"
                        " which is not currently available for inference"
                    )
                    raise ServingError(Status.FAILED_PRECONDITION, message)
                labels.setdefault(model.name, {})[label] = number
        return labels


def _numbers(versions: Versions) -> set[int]:
    return {state.number for state in versions.states()}


def _did_not_become_available(
    failures: Mapping[str, ServingError], states: Callable[[str], list[VersionState]]
) -> ServingError:
    listed = "".join(
        f"{{{{name: {name} version: {version.number}}} due to error: {version.error}}}, "
        for name in failures
        for version in states(name)
        if version.error is not None
    )
    message = f"{len(failures)} model(s) did not become available: {{{listed}}}"
    return ServingError(Status.UNKNOWN, message)
