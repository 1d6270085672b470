"""What a run comes to."""

from __future__ import annotations

import dataclasses
import json
import math
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


def to_json(document: typing.Any, indent: int | None = None) -> str:
    """As JSON, which has no NaN and no infinity: they become null."""

    def finite(value: typing.Any) -> typing.Any:
        if isinstance(value, dict):
            return {key: finite(part) for key, part in value.items()}
        if isinstance(value, (list, tuple)):
            return [finite(part) for part in value]
        return None if isinstance(value, float) and not math.isfinite(value) else value

    return json.dumps(finite(document), indent=indent, ensure_ascii=False, allow_nan=False)
