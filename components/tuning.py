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
    """Numbers from `min` to `max`, both of them included, {min: 64, max: 256, step: 64}: whole ones where both are.

    Attributes:
        min: the least.
        max: the greatest.
        step: from one to the next; None: any between them.
        log: evenly on that scale, which has no steps.
    """

    __pydantic_config__: typing.ClassVar[dict[str, str]] = {"extra": "forbid"}

    min: int | float
    max: int | float
    step: int | float | None = None
    log: bool = False

    def __post_init__(self) -> None:
        """There is something to choose."""
        if self.min >= self.max:
            raise ValueError(f"expected min below max, got {self.min} and {self.max}")
        if self.step is not None and not 0 < self.step <= self.max - self.min:
            raise ValueError(f"expected a step above 0 that leads no further than max, got {self.step}")
        if self.step is not None and self.log:
            raise ValueError("a logarithmic scale has no steps: expected step or log")
        if self.step is not None and self.whole and not isinstance(self.step, int):
            raise ValueError(f"expected a whole step between whole numbers, got {self.step}")
        if self.log and self.min <= 0:
            raise ValueError(f"a logarithmic scale begins above 0, got min {self.min}")

    @property
    def whole(self) -> bool:
        """Whether its numbers are whole ones."""
        return isinstance(self.min, int) and isinstance(self.max, int)

    def samples(self) -> tuple[int | float, ...]:
        """Both ends, and of whole numbers and steps the one behind the first, which tells what the others are like."""
        second = (self.min + (self.step or 1),) if self.whole or self.step else ()
        return tuple(sorted({self.min, *second, self.max}))


Choices: typing.TypeAlias = typing.Annotated[tuple[Value, ...], annotated_types.MinLen(1)]


@dataclasses.dataclass(frozen=True)
class Config:
    """The `tune` section: what `fovea tune` tries. What a trial is measured by is `training.stop_on`.

    Attributes:
        parameters: paths within `model` or `training`, and the values of each.
        trials: how many trainings, at most.
        search: how values are chosen: by what was measured so far (a Gaussian process), at random, or all of them
            in turn, as far as `trials` goes.
        seed: of the choice.
    """

    __pydantic_config__: typing.ClassVar[dict[str, str]] = {"extra": "forbid"}

    parameters: typing.Annotated[dict[str, Choices | Range], annotated_types.MinLen(1)]
    trials: typing.Annotated[int, annotated_types.Gt(0)] = 10
    search: typing.Literal["bayesian", "random", "grid"] = "bayesian"
    seed: typing.Annotated[int, annotated_types.Gt(0)] = 1  # KerasTuner takes 0 for none

    def __post_init__(self) -> None:
        """Every path is one that a trial can change."""
        wrong = [path for path in self.parameters if not path.startswith(tuple(f"{name}." for name in SECTIONS))]
        if wrong:
            raise ValueError(f"parameters: {', '.join(wrong)}: expected paths within {' or '.join(SECTIONS)}")

    def samples(self) -> dict[str, tuple[Value, ...]]:
        """Values of every parameter that stand for all of them."""
        return {
            path: values.samples() if isinstance(values, Range) else values for path, values in self.parameters.items()
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
