"""Evaluation with TFMA, and the blessing: is the candidate good enough, and no worse than the model it would replace?

The real model decodes the real test rows in Beam; TFMA adds up our metrics for all rows and for each slice, checks the
thresholds and compares with the latest blessed model. Beside TFMA's own files the evaluation artifact holds

- ``predictions.jsonl``, a row a line: ``{"source": "keep", "references": ["K IY P"], "prediction": "K IY P"}``, and its
  ``"origin"``, ``"group"`` and gold ``"alignment"`` where it has them;
- ``alignments.jsonl``, the first of these rows with their attention (`Aligned`);
- ``verdict.json``: metrics, slices, blessed or not, and the reasons in words (`Verdict`).
"""

from __future__ import annotations

import dataclasses
import json
import pathlib
import typing
from collections.abc import Iterable, Iterator, Mapping

import annotated_types
import numpy as np

from components import metrics
from components.bootstrap import Difference
from components.metrics import Name as MetricName
from models.contract import GROUP

PREDICTIONS_FILE = "predictions.jsonl"
ALIGNMENTS_FILE = "alignments.jsonl"
VERDICT_FILE = "verdict.json"
CHAMPION = "champion"  # its answer, in predictions.jsonl

DEFAULT_METRICS: tuple[MetricName, ...] = (
    "sequence_error_rate",
    "sequence_accuracy",
    "token_error_rate",
    "bleu",
    "chrf",
)
Share = typing.Annotated[float, annotated_types.Ge(0)]


@dataclasses.dataclass(frozen=True)
class Config:
    """The `evaluation` section.

    Attributes:
        metrics: what is measured on the test rows.
        slices: features of a row whose values are measured apart, too; of groups also the mean over them is taken.
            rarest_piece: how often the train rows have what they have least of in the row's source.
        thresholds: one of `metrics` -> bound: the most for error rates, the least for scores. No bound, no bar.
        floors: slice -> one of `metrics` -> bound, as in `thresholds`. A slice is one of `slices`, for each of its
            values by itself, or one value of it: {source_length: {bleu: 20}, "group:fr": {bleu: 25}}.
        floor_rows: a slice of fewer rows says too little to be held against its floor.
        compare: metric -> how much worse than the latest blessed model, the champion, a candidate may be; left out,
            the first metric and nothing. It is worse where a paired bootstrap over the test rows says so
            (`components/bootstrap.py`): chance is not held against it.
        bless: what a candidate must be: no worse than the champion, or better, by every metric of `compare`.
        confidence: of the comparison.
        batch_size: rows decoded at once.
    """

    __pydantic_config__: typing.ClassVar[dict[str, str]] = {"extra": "forbid"}

    metrics: typing.Annotated[tuple[MetricName, ...], annotated_types.MinLen(1)] = DEFAULT_METRICS
    slices: tuple[typing.Literal["source_length", "group", "rarest_piece"], ...] = ("source_length", "rarest_piece")
    thresholds: dict[MetricName, float] = dataclasses.field(default_factory=dict)
    floors: dict[str, dict[MetricName, float]] = dataclasses.field(default_factory=dict)
    floor_rows: typing.Annotated[int, annotated_types.Ge(1)] = 30
    compare: dict[MetricName, Share] | None = None
    bless: typing.Literal["not_worse", "better"] = "not_worse"
    confidence: typing.Annotated[float, annotated_types.Gt(0.5), annotated_types.Lt(1)] = 0.95
    batch_size: typing.Annotated[int, annotated_types.Ge(1)] = 256

    def __post_init__(self) -> None:
        unmeasured = sorted((set(self.thresholds) | set(self.margins)) - set(self.metrics))
        if unmeasured:
            raise ValueError(f"thresholds and compare name {', '.join(unmeasured)}, which `metrics` does not list")
        if self.bless == "better" and not self.margins:
            raise ValueError("bless: better needs a metric to be better by, and `compare` is empty")
        for name, bounds in self.floors.items():
            if name.partition(":")[0] not in self.slices:
                raise ValueError(f"floors name {name}, expected one of `slices`, {', '.join(self.slices)}, or a value")
            if set(bounds) - set(self.metrics):
                unmeasured = sorted(set(bounds) - set(self.metrics))
                raise ValueError(f"floors.{name} names {', '.join(unmeasured)}, which `metrics` does not list")

    @property
    def margins(self) -> dict[MetricName, float]:
        """`compare`, or what it stands for where it was left out."""
        return {self.metrics[0]: 0.0} if self.compare is None else self.compare


@dataclasses.dataclass(frozen=True)
class Verdict:
    """What the evaluation says of the candidate.

    Attributes:
        rows: test rows.
        blessed: whether it may be pushed.
        reasons: a sentence for each threshold and comparison, those that failed first.
        metrics: name -> value over all test rows; `group_means` and `attention_metrics` add to what was configured.
        baseline: the same for the latest blessed model, {} where there is none.
        slices: slice, such as "source_length:5-8" -> {"rows": n, name: value}.
        differences: metric -> how the candidate compares with the champion.
        signatures: how sacreBLEU's scores were computed, see `metrics.signatures`.
        warnings: what is no reason against the candidate, but should be known.
    """

    rows: int
    blessed: bool
    reasons: tuple[str, ...]
    metrics: dict[str, float]
    baseline: dict[str, float]
    slices: dict[str, dict[str, float]]
    differences: dict[MetricName, Difference] = dataclasses.field(default_factory=dict)
    signatures: dict[str, str] = dataclasses.field(default_factory=dict)
    warnings: tuple[str, ...] = ()

    def words(self) -> str:
        """sequence_error_rate 0.312 -> 0.298, better by 0.014 ±0.006 (95 %): blessed"""
        return f"{self.reasons[0]}: {'blessed' if self.blessed else 'not blessed'}"

    def write(self, evaluation: pathlib.Path) -> None:
        """Write it into the evaluation artifact's folder."""
        (evaluation / VERDICT_FILE).write_text(json.dumps(dataclasses.asdict(self), indent=2) + "\n")

    @classmethod
    def read(cls, evaluation: pathlib.Path) -> Verdict:
        """Read it from the evaluation artifact's folder."""
        fields = json.loads((evaluation / VERDICT_FILE).read_text())
        differences = {name: Difference(**values) for name, values in fields["differences"].items()}
        texts = {name: tuple(fields[name]) for name in ("reasons", "warnings")}
        return cls(**fields | texts | {"differences": differences})


def group_means(slices: Mapping[str, Mapping[str, float]]) -> dict[str, float]:
    """The mean over the groups, each counted once, however many rows it has.

    {"group:de": {"rows": 3, "bleu": 20}, "group:fr": {"rows": 1, "bleu": 40}, ...} -> {"group_mean_bleu": 30}
    """
    groups = [values for name, values in slices.items() if name.startswith(f"{GROUP}:")]
    names = [name for name in groups[0] if name != "rows"] if groups else []
    return {f"group_mean_{name}": float(np.mean([values[name] for values in groups])) for name in names}


class Judged(typing.NamedTuple):
    """A threshold or a comparison: what it says, and whether it holds."""

    sentence: str
    holds: bool


def judge(
    config: Config,
    scores: Mapping[str, float],
    differences: Mapping[MetricName, Difference],
    failed: set[str],
    slices: Mapping[str, Mapping[str, float]],
) -> list[Judged]:
    """Every threshold and comparison, those that do not hold first.

    Args:
        config: the `evaluation` section.
        scores: the candidate's metrics.
        differences: by metric, empty where there is no champion.
        failed: metrics whose threshold TFMA found not to hold.
        slices: the candidate's metrics by slice, `Verdict.slices`.
    """
    judged = []
    for name, bound in config.thresholds.items():
        side = "at least" if metrics.find(name).higher_is_better else "at most"
        met = "not met" if name in failed else "met"
        judged.append(Judged(f"{name} {scores[name]:.4g}, wanted {side} {bound:.4g}: {met}", name not in failed))
    judged += _judge_floors(config, slices)
    for name, difference in differences.items():
        margin = config.margins[name]
        holds = difference.low > 0 if config.bless == "better" else difference.high >= -margin
        wanted = "" if holds else ": wanted better" if config.bless == "better" else f": allowed is {margin:.4g}"
        judged.append(Judged(f"{name} {difference.words()}{wanted}", holds))
    if not differences:
        nothing = "" if config.thresholds or config.floors else ", and evaluation.thresholds is empty"
        what = "no other blessed model to compare with" if config.margins else "evaluation.compare is empty"
        judged.append(Judged(f"{what}{nothing}", True))
    return sorted(judged, key=lambda each: each.holds)


def _judge_floors(config: Config, slices: Mapping[str, Mapping[str, float]]) -> Iterator[Judged]:
    """Each slice that has a floor and rows enough, by itself."""
    for place, bounds in config.floors.items():
        for name, values in slices.items():
            if place not in (name, name.partition(":")[0]) or values["rows"] < config.floor_rows:
                continue
            for metric, bound in bounds.items():
                higher = metrics.find(metric).higher_is_better
                holds = values[metric] >= bound if higher else values[metric] <= bound
                wanted = f"wanted {'at least' if higher else 'at most'} {bound:.4g}: {'met' if holds else 'not met'}"
                yield Judged(f"{name} ({values['rows']:,.0f} rows): {metric} {values[metric]:.4g}, {wanted}", holds)


@dataclasses.dataclass(frozen=True)
class Aligned:
    """A test row with the attention of its answer: a line of `alignments.jsonl`."""

    source: str
    references: list[str]
    prediction: str
    source_pieces: list[str]
    target_pieces: list[str]
    attention: list[list[float]]  # [target, source]

    @property
    def right(self) -> bool:
        """Whether the answer is one of the references."""
        return self.prediction in self.references

    def weights(self) -> np.ndarray:
        """float32 [target, source]."""
        return np.asarray(self.attention, np.float32)


def read_predictions(evaluation: pathlib.Path) -> Iterator[dict[str, typing.Any]]:
    """The decoded test rows: {"source", "references", "prediction"}, "origin", "group", "alignment" where they are."""
    with (evaluation / PREDICTIONS_FILE).open() as lines:
        yield from map(json.loads, lines)


def write_alignments(evaluation: pathlib.Path, rows: Iterable[Aligned]) -> None:
    """Write `alignments.jsonl` into the evaluation artifact's folder."""
    lines = [json.dumps(dataclasses.asdict(row), ensure_ascii=False) + "\n" for row in rows]
    (evaluation / ALIGNMENTS_FILE).write_text("".join(lines))


def read_alignments(evaluation: pathlib.Path) -> Iterator[Aligned]:
    """Read it from there."""
    with (evaluation / ALIGNMENTS_FILE).open() as lines:
        yield from (Aligned(**json.loads(line)) for line in lines)
