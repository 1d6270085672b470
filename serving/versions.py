"""Which versions a base path has, which of them are wanted, and what to do next: rules without threads or TensorFlow.

A base path with the children `1`, `00000123` and `tmp` has {1: ".../1", 123: ".../00000123"}; the policy `latest(1)`
wants {123: ".../00000123"}.
"""

from __future__ import annotations

import dataclasses
import enum
import os
import re
from collections.abc import Callable, Iterable, Mapping

from serving.errors import ServingError, Status

Policy = Callable[[Mapping[int, str]], dict[int, str]]

INT64 = range(-(2**63), 2**63)


class State(enum.IntEnum):
    """Of a version; the numbers are those of ModelVersionStatus."""

    START = 10
    LOADING = 20
    AVAILABLE = 30
    UNLOADING = 40
    END = 50


@dataclasses.dataclass(frozen=True)
class VersionState:
    """What GetModelStatus tells of a version."""

    number: int
    state: State
    error: ServingError | None = None


@dataclasses.dataclass(frozen=True)
class Candidate:
    """What the choice of the next action needs to know of a version."""

    number: int
    state: State
    wanted: bool


class Action(enum.Enum):
    """A step of a version's life."""

    LOAD = "load"
    UNLOAD = "unload"


def find_versions(base_path: str) -> dict[int, str]:
    """Every child of the base path that parses as an integer; NOT_FOUND if there is no such path."""
    try:
        children = sorted(os.listdir(base_path))
    except OSError as error:
        raise ServingError(Status.NOT_FOUND, f"Could not find base path {base_path}: {error.strerror}") from error
    numbers = {child: int(child) for child in children if re.fullmatch(r"-?[0-9]{1,32}", child)}
    return {number: os.path.join(base_path, child) for child, number in numbers.items() if number in INT64}


def latest(count: int = 1) -> Policy:
    """The policy that wants the `count` highest versions."""
    return lambda versions: {number: versions[number] for number in sorted(versions)[-max(count, 1) :]}


def every() -> Policy:
    """The policy that wants all versions."""
    return dict


def specific(numbers: Iterable[int]) -> Policy:
    """The policy that wants these versions, of which some may still be to come."""
    wanted = frozenset(numbers)
    return lambda versions: {number: path for number, path in versions.items() if number in wanted}


def next_action(versions: Iterable[Candidate]) -> tuple[Action, int] | None:
    """What keeps a model available: the new version loads first, then the old one goes.

    A version that is not wanted stays while it is the only one that serves and a wanted one is still to come, or broke.
    """
    versions = list(versions)
    wanted = [version for version in versions if version.wanted]
    retired = [version for version in versions if not version.wanted and version.state is State.AVAILABLE]
    serving = any(version.state is State.AVAILABLE for version in wanted)
    if retired and (serving or not wanted or len(retired) > 1):
        return Action.UNLOAD, min(version.number for version in retired)
    new = [version.number for version in wanted if version.state is State.START]
    return (Action.LOAD, max(new)) if new else None
