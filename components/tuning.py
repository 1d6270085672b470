"""What a search over parameters is: the `tune` section, and a training's configuration with the values of a trial.

tune:
  parameters:
    model.units: [128, 256]
    training.schedule.learning_rate: {min: 0.0005, max: 0.005, log: true}
  trials: 10
"""

from __future__ import annotations

import copy
import dataclasses
import typing
from collections.abc import Mapping

import annotated_types

SECTIONS = ("model", "training")  # a trial changes these alone: all trials read the same rows of pieces

Value: typing.TypeAlias = bool | int | float | str


@dataclasses.dataclass(frozen=True)
class Range:
    """Numbers from `min` to `max`, both of them included: whole ones where both are; `log`: evenly on that scale."""

    __pydantic_config__: typing.ClassVar[dict[str, str]] = {"extra": "forbid"}

    min: int | float
    max: int | float
    log: bool = False

    def __post_init__(self) -> None:
        """There is something to choose."""
        if self.min >= self.max:
            raise ValueError(f"expected min below max, got {self.min} and {self.max}")
        if self.log and self.min <= 0:
            raise ValueError(f"a logarithmic scale begins above 0, got min {self.min}")


Choices: typing.TypeAlias = typing.Annotated[tuple[Value, ...], annotated_types.MinLen(1)]


@dataclasses.dataclass(frozen=True)
class Config:
    """The `tune` section: what `fovea tune` tries. What a trial is measured by is `training.stop_on`.

    Attributes:
        parameters: paths within `model` or `training`, and the values of each.
        trials: how many trainings, at most.
        search: how values are chosen: by what was measured so far (a Gaussian process), at random, or all of them.
        seed: of the choice.
    """

    __pydantic_config__: typing.ClassVar[dict[str, str]] = {"extra": "forbid"}

    parameters: typing.Annotated[dict[str, Choices | Range], annotated_types.MinLen(1)]
    trials: typing.Annotated[int, annotated_types.Gt(0)] = 10
    search: typing.Literal["bayesian", "random", "grid"] = "bayesian"
    seed: typing.Annotated[int, annotated_types.Ge(0)] = 1

    def __post_init__(self) -> None:
        """Every path is one that a trial can change."""
        wrong = [path for path in self.parameters if not path.startswith(tuple(f"{name}." for name in SECTIONS))]
        if wrong:
            raise ValueError(f"parameters: {', '.join(wrong)}: expected paths within {' or '.join(SECTIONS)}")

    def samples(self) -> dict[str, tuple[Value, ...]]:
        """Values of every parameter that stand for all of them: the choices, or both ends."""
        return {
            path: (values.min, values.max) if isinstance(values, Range) else values
            for path, values in self.parameters.items()
        }


def changed(document: Mapping[str, typing.Any], values: Mapping[str, Value]) -> dict[str, typing.Any]:
    """A document with other values: ({"model": {"units": 8}}, {"model.units": 16}) -> {"model": {"units": 16}}."""
    result = copy.deepcopy(dict(document))
    for path, value in values.items():
        *parents, last = path.split(".")
        section = result
        for key in parents:
            section = section.setdefault(key, {})
        section[last] = value
    return result
