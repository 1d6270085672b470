"""What is known of a run that is not over, or not all in MLflow: a folder on this machine, outside of MLflow.

run.json      {"run_id": "7c9e", "pipeline_run_id": "2026-01-01T00:00:00.000", "parent": "", "began_ms": 1767225600000}
calls.jsonl   a call a line (`tracking_calls`) that could not be done; of them "done" in run.json were done since
files/        what these calls are to upload
"""

from __future__ import annotations

import json
import os
import pathlib
import shutil
import typing
from collections.abc import Iterator

from components.tracking_calls import Call

RUN_FILE, CALLS_FILE, FILES = "run.json", "calls.jsonl", "files"
PENDING = "pending-"  # begins the id of a run that MLflow does not know yet


class Journal:
    """The folder of one run. It is gone when all of the run is in MLflow, and the run is over."""

    def __init__(self, folder: pathlib.Path) -> None:
        self.folder = folder

    def begin(self, **facts: typing.Any) -> None:
        """Write run.json, for the owner alone: a store's URI may hold a password."""
        self.folder.mkdir(parents=True, exist_ok=True)
        new = self.folder / f"{RUN_FILE}.new"
        with open(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
            json.dump(facts, file)
        new.replace(self.folder / RUN_FILE)

    @property
    def facts(self) -> dict[str, typing.Any]:
        """What run.json holds; {} where there is none."""
        path = self.folder / RUN_FILE
        return dict(json.loads(path.read_text())) if path.exists() else {}

    def note(self, **facts: typing.Any) -> None:
        """Change facts."""
        self.begin(**self.facts | facts)

    @property
    def holds_calls(self) -> bool:
        """Whether there is something that MLflow does not have."""
        return (self.folder / CALLS_FILE).exists()

    def append(self, call: Call) -> None:
        """Keep a call; the file that it uploads is copied, since it may be overwritten before that."""
        self.folder.mkdir(parents=True, exist_ok=True)
        if "file" in call:
            call = {**call, "file": str(self._keep(pathlib.Path(call["file"])))}
        with (self.folder / CALLS_FILE).open("a") as file:
            file.write(json.dumps(call) + "\n")

    def _keep(self, path: pathlib.Path) -> pathlib.Path:
        number = len(list((self.folder / FILES).glob("*")))
        kept = self.folder / FILES / str(number) / path.name
        kept.parent.mkdir(parents=True)
        if path.is_dir():
            shutil.copytree(path, kept)
        else:
            shutil.copyfile(path, kept)
        return kept

    def calls(self) -> Iterator[Call]:
        """What is still to be done, in order; each is noted as done when the next is asked for."""
        if not self.holds_calls:
            return
        done = self.facts.get("done", 0)
        lines = [line for line in (self.folder / CALLS_FILE).read_text().splitlines(keepends=True) if line[-1] == "\n"]
        for number, line in enumerate(lines[done:], start=done + 1):  # one that was cut by a kill has no end
            yield json.loads(line)
            self.note(done=number)

    def settle(self) -> None:
        """All calls were done."""
        (self.folder / CALLS_FILE).unlink(missing_ok=True)
        shutil.rmtree(self.folder / FILES, ignore_errors=True)
        self.note(done=0)

    def remove(self) -> None:
        """There is nothing left to know."""
        shutil.rmtree(self.folder, ignore_errors=True)
