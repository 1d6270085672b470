"""What a run comes to."""

from __future__ import annotations

import dataclasses
import pathlib
import typing

from components.evaluator import Aligned


@dataclasses.dataclass(frozen=True)
class Result:
    """What a run ends with; its fields are the JSON that `fovea run --json` prints."""

    name: str
    blessed: bool
    reasons: tuple[str, ...]
    warnings: tuple[str, ...]  # of the data and of the attention: nothing that stops a run
    model_path: str | None  # of the pushed SavedModel; None where nothing was pushed
    version: str | None
    mlflow_run_id: str
    report_path: str  # the page of the run
    rows: dict[str, int]  # train, validation, test, rejected
    metrics: dict[str, float]
    signatures: dict[str, str]  # of sacreBLEU's scores
    seconds: dict[str, float]  # by component
    cached: tuple[str, ...]  # components whose outputs were reused


class Run(typing.NamedTuple):
    """A result, and what its summary shows besides."""

    result: Result
    samples: tuple[Aligned, ...]
    pictures: tuple[pathlib.Path, ...]
    dead_letters: pathlib.Path
