"""Does the candidate serve? It is asked as a client would ask it: a real server process, real rows, gRPC and REST.

The same rows are answered by the SavedModel in this process, as the Evaluator has it answer. What the server says must
be the same, so a blessing of the one is a blessing of the other: texts byte for byte, numbers but for rounding.
(A server runs a session, whose optimised graph rounds otherwise: 3e-5 was seen with XLA, none without.) ::

    serving: {rows: 32, max_latency_ms: 50}
    Verdict(blessed=False, reasons=("serving.max_latency_ms: 61.3 ms, wanted at most 50: not met",), ...)
"""

from __future__ import annotations

import dataclasses
import json
import pathlib
import time
import typing
from collections.abc import Callable, Iterator, Mapping, Sequence

import annotated_types
import numpy as np

from serving import client, signatures
from serving.errors import ServingError
from serving.process import ServerFailedError, served
from serving.signatures import Asked

if typing.TYPE_CHECKING:
    from serving.local import LocalModel

VERDICT_FILE = "serving.json"
MODEL = "candidate"
ASKED = (signatures.SERVING_DEFAULT, signatures.N_BEST, signatures.ALIGN)  # what takes the source alone
PERCENTILE = 95
MB = 1e6
RELATIVE, ABSOLUTE = 1e-3, 1e-4  # what rounding may change of a number
SHOWN = 3  # differences and failures, of what may be as many as there are rows

Budget = typing.Annotated[float, annotated_types.Gt(0)]
Answers = Mapping[str, typing.Any]


@dataclasses.dataclass(frozen=True)
class Config:
    """The `serving` section.

    Attributes:
        rows: test rows that a server of the candidate is asked, each alone and all at once.
        max_latency_ms: the most that 95 of 100 requests of one row may take over gRPC; None: as long as they like.
        max_size_mb: the most that the SavedModel may take on disk, in millions of bytes; None: whatever it takes.
    """

    __pydantic_config__: typing.ClassVar[dict[str, str]] = {"extra": "forbid"}

    rows: typing.Annotated[int, annotated_types.Ge(1)] = 32
    max_latency_ms: Budget | None = None
    max_size_mb: Budget | None = None


@dataclasses.dataclass(frozen=True)
class Verdict:
    """What came of it.

    Attributes:
        blessed: whether the candidate may be pushed, as far as serving goes.
        reasons: why not, a sentence each; () for a blessed one.
        rows: how many were asked.
        size_mb: of the SavedModel.
        latency_ms: that 95 of 100 requests of one row stayed below; None where there was no server to ask.
    """

    blessed: bool
    reasons: tuple[str, ...]
    rows: int = 0
    size_mb: float | None = None
    latency_ms: float | None = None

    def write(self, blessing: pathlib.Path) -> None:
        """Write it into the blessing artifact's folder."""
        (blessing / VERDICT_FILE).write_text(json.dumps(dataclasses.asdict(self), indent=2) + "\n")

    @classmethod
    def read(cls, blessing: pathlib.Path) -> Verdict:
        """Read it from the blessing artifact's folder."""
        fields = json.loads((blessing / VERDICT_FILE).read_text())
        return cls(**fields | {"reasons": tuple(fields["reasons"])})


# The Evaluator's verdict stands: no server is started for a model that will not be pushed.
SKIPPED = Verdict(blessed=False, reasons=("not served: the Evaluator did not bless the model",))


def check(saved_model: pathlib.Path, asked: Sequence[Asked], config: Config) -> Verdict:
    """Serve a SavedModel, ask it for these texts or recordings, and judge."""
    from serving.local import LocalModel  # TensorFlow, which a look at the configuration does without

    size_mb = sum(path.stat().st_size for path in saved_model.rglob("*") if path.is_file()) / MB
    reasons = list(_over_budget("max_size_mb", size_mb, config.max_size_mb, "MB"))
    latencies_ms: list[float] = []
    try:
        with served(saved_model, MODEL) as server:
            here = LocalModel(saved_model)  # it loads while the server starts
            server.wait_ready()
            with client.connect(server.grpc_address, MODEL) as grpc, client.connect(server.rest_address, MODEL) as rest:
                ways: dict[str, Callable[..., Answers]] = {"gRPC": _timed(grpc, latencies_ms), "REST": rest.predict}
                wrong = list(_differences(here, ways, asked))
    except ServerFailedError as failed:
        if failed.passing:  # no word on the model, so none that the cache should keep
            raise
        return Verdict(blessed=False, reasons=(*reasons, str(failed)), size_mb=round(size_mb, 2))
    reasons += wrong[:SHOWN] + ([f"and {len(wrong) - SHOWN} answers more"] if len(wrong) > SHOWN else [])
    latency_ms = float(np.percentile(latencies_ms, PERCENTILE)) if latencies_ms else None
    if latency_ms is not None:
        reasons += _over_budget("max_latency_ms", latency_ms, config.max_latency_ms, "ms")
        latency_ms = round(latency_ms, 2)
    return Verdict(not reasons, tuple(reasons), len(asked), round(size_mb, 2), latency_ms)


def _over_budget(name: str, value: float, most: float | None, unit: str) -> Iterator[str]:
    if most is not None and value > most:
        yield f"serving.{name}: {value:.4g} {unit}, wanted at most {most:.4g}: not met"


def _timed(connection: client.Client, latencies_ms: list[float]) -> Callable[..., Answers]:
    """`predict` that keeps what each request of one row took."""

    def predict(signature: str, inputs: Mapping[str, Sequence[Asked]]) -> Answers:
        began_s = time.perf_counter()
        answers = connection.predict(signature, inputs)
        if [len(rows) for rows in inputs.values()] == [1]:
            latencies_ms.append((time.perf_counter() - began_s) * 1e3)
        return answers

    return predict


def _differences(here: LocalModel, ways: Mapping[str, Callable[..., Answers]], asked: Sequence[Asked]) -> Iterator[str]:
    """A sentence for each request that failed, and for each whose answer is not what the model answers here."""
    requests = [(name, list(asked)) for name in ASKED if name in here.signatures]
    requests += [(signatures.SERVING_DEFAULT, [one]) for one in asked]
    for number, (signature, rows) in enumerate(requests, start=1 - len(requests) + len(asked)):
        inputs = {here.input: rows}
        what = f"{signature} of {len(rows)} rows"
        if len(rows) == 1:
            what = f"{signature} of {rows[0]!r}" if isinstance(rows[0], str) else f"{signature} of recording {number}"
        try:
            expected = here.predict(signature, inputs)
        except ServingError as error:
            yield f"in process, {what}: {error}"
            continue
        for way, predict in ways.items():
            try:
                found = predict(signature, inputs)
            except ServingError as error:
                yield f"{way}, {what}: {error}"
            else:
                yield from (f"{way}, {what}: {text}" for text in unequal(expected, found))


def unequal(expected: Mapping[str, np.ndarray], found: Answers) -> Iterator[str]:
    """The outputs of an answer that are not what was expected, in words."""
    if expected.keys() != found.keys():
        yield f"outputs {sorted(found)}, in process {sorted(expected)}"
        return
    for name, here in expected.items():
        there = np.asarray(found[name], here.dtype)
        if there.shape != here.shape:
            yield f"{name} of shape {list(there.shape)}, in process {list(here.shape)}"
        elif here.dtype == object:
            for a, b in zip(there.ravel(), here.ravel(), strict=True):
                if a != b:
                    yield f"{name} {a!r}, in process {b!r}"
                    break
        elif not np.allclose(there, here, RELATIVE, ABSOLUTE, equal_nan=True):
            place = np.flatnonzero(~np.isclose(there, here, RELATIVE, ABSOLUTE, equal_nan=True))[:1]
            yield f"{name} {there.ravel()[place]}, in process {here.ravel()[place]}"
