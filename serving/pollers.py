"""What looks at the file system again and again: for a model's versions, and for the configuration file."""

from __future__ import annotations

import threading
from collections.abc import Callable

from serving.errors import ServingError
from serving.life import ModelVersions, log
from serving.model_config import Config, parse, read_text
from serving.saved_model import Servable
from serving.versions import Policy, find_versions


class _Said:
    """A line for whoever runs the server, once as long as nothing changes."""

    def __init__(self) -> None:
        self._last = ""

    def say(self, message: str) -> None:
        if message and message != self._last:
            log(message)
        self._last = message


class BasePathPoller:
    """Looks for a model's versions under its base path."""

    def __init__(self, model: ModelVersions[Servable], base_path: str, policy: Policy, interval_s: float) -> None:
        self._model = model
        self._base_path = base_path
        self._policy = policy
        self._interval_s = interval_s
        self._stop = threading.Event()
        self._lock = threading.Lock()  # an old look must not undo a new one
        self._said = _Said()
        self._thread = threading.Thread(target=self._run, name=f"poller of {model.name}", daemon=True)

    def start(self) -> None:
        """Look now, and then (an interval of 0: never again) in a thread."""
        self.poll()
        if self._interval_s > 0:
            self._thread.start()

    def follow(self, base_path: str, policy: Policy) -> None:
        """From now on, look there for these."""
        with self._lock:
            self._base_path, self._policy = base_path, policy
        self.poll()

    def poll(self) -> None:
        """Look once. A base path that is gone, which may be for a moment, unloads nothing."""
        with self._lock:
            try:
                versions = find_versions(self._base_path)
            except ServingError as error:
                self._said.say(error.message)
                return
            wanted = self._policy(versions)
            there = f"; there are {sorted(versions)}" if versions else ""
            nothing = f"No versions of model {self._model.name} found under {self._base_path}{there}"
            self._said.say("" if wanted else nothing)
            self._model.want(wanted)

    def stop(self) -> None:
        """Look no more."""
        self._stop.set()

    def _run(self) -> None:
        while not self._stop.wait(self._interval_s):
            self.poll()


class ConfigFilePoller:
    """Reads the configuration file every `interval_s` (0: never) and hands it on, changed or not, while it is entered.

    What it says is put into force each time, so that it prevails over what was asked for by other ways.
    """

    def __init__(self, path: str, interval_s: float, reload: Callable[[Config, Callable[[], bool]], None]) -> None:
        self._path = path
        self._interval_s = interval_s
        self._reload = reload
        self._stop = threading.Event()
        self._said = _Said()
        self._thread = threading.Thread(target=self._run, name="poller of the configuration", daemon=True)

    def __enter__(self) -> None:
        if self._path and self._interval_s > 0:
            self._thread.start()

    def __exit__(self, *_: object) -> None:
        self._stop.set()

    def poll(self) -> None:
        """Look once; what is wrong is said, and nothing changes."""
        try:
            text = read_text(self._path)
            self._reload(parse(text, self._path), lambda: self._stop.is_set() or self._changed(text))
        except ServingError as error:
            self._said.say(f"the configuration {self._path} is not taken over: {error}")
        else:
            self._said.say("")

    def _changed(self, text: str) -> bool:
        """Whether the file is not what it was: a wait for models that never load ends when their paths are mended."""
        try:
            return read_text(self._path) != text
        except ServingError:
            return False

    def _run(self) -> None:
        while not self._stop.wait(self._interval_s):
            self.poll()
