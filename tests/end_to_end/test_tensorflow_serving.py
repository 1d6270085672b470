"""A real TensorFlow Serving on a pushed model: what our server and client are held against, where there is one.

FOVEA_TF_SERVING=localhost:8500           its gRPC port, such as that of docker-compose.yml
FOVEA_TF_SERVING_REST=localhost:8501      its REST port; left out, the next one
FOVEA_TF_SERVING_MODEL=pronounce          the model's name there
FOVEA_TF_SERVING_EXPORT=PATH              the very version that it serves, to compare answers with; may be left out
"""

from __future__ import annotations

import json
import os
import pathlib
import subprocess
import sys
import urllib.error
import urllib.request
from typing import Any

import numpy as np
import pytest

from serving.client import ServingError, Status, connect

ADDRESS = os.environ.get("FOVEA_TF_SERVING", "")
HOST, _, PORT = ADDRESS.rpartition(":")
REST = "http://" + (os.environ.get("FOVEA_TF_SERVING_REST") or f"{HOST}:{int(PORT or 0) + 1}")
MODEL = os.environ.get("FOVEA_TF_SERVING_MODEL", "pronounce")
EXPORT = os.environ.get("FOVEA_TF_SERVING_EXPORT", "")
TEXTS = ["fovea", "attention", "", "a", "ß and '", "0123456789" * 3]

pytestmark = pytest.mark.skipif(not ADDRESS, reason="FOVEA_TF_SERVING=host:port says where a TensorFlow Serving is")


def predict(address: str, signature: str, **inputs: Any) -> dict[str, Any]:
    with connect(address, MODEL, timeout_s=60) as client:
        return client.predict(signature, inputs)


def rest(path: str, body: Any = None) -> tuple[int, Any]:
    request = urllib.request.Request(f"{REST}{path}", None if body is None else json.dumps(body).encode())
    try:
        with urllib.request.urlopen(request, timeout=60) as response:
            return response.status, json.load(response)
    except urllib.error.HTTPError as error:
        return error.code, json.load(error)


def assert_alike(one: dict[str, Any], other: dict[str, Any]) -> None:
    """Texts to the byte, numbers but for rounding."""
    assert one.keys() == other.keys()
    for name, value in one.items():
        array = np.asarray(value)
        if array.dtype.kind in "fi":
            np.testing.assert_allclose(array, np.asarray(other[name]), rtol=1e-4, atol=1e-5)
        else:
            assert array.tolist() == np.asarray(other[name]).tolist()


def test_it_serves_the_model() -> None:
    status, answer = rest(f"/v1/models/{MODEL}")
    assert (status, "AVAILABLE" in [version["state"] for version in answer["model_version_status"]]) == (200, True)
    _, answer = rest(f"/v1/models/{MODEL}/metadata")
    known = answer["metadata"]["signature_def"]["signature_def"]
    assert known.keys() >= {"serving_default", "n_best", "align", "score", "complete", "sample", "examples"}


@pytest.mark.parametrize("signature", ["serving_default", "n_best", "align"])
def test_both_ways_answer_alike_and_as_the_model_does(signature: str) -> None:
    answers = predict(ADDRESS, signature, text=TEXTS)
    assert_alike(predict(REST, signature, text=TEXTS), answers)
    if EXPORT:
        from serving.local import LocalModel

        assert_alike(LocalModel(EXPORT).predict(signature, {"text": TEXTS}), answers)


def test_rows_and_columns() -> None:
    path = f"/v1/models/{MODEL}:predict"
    status, rows = rest(path, {"instances": [{"text": text} for text in TEXTS]})
    columns = rest(path, {"inputs": TEXTS})[1]["outputs"]
    assert status == 200 and [row["text"] for row in rows["predictions"]] == columns["text"]


def test_what_it_refuses() -> None:
    for address, model, signature, status, message in (
        (ADDRESS, "none", "", Status.NOT_FOUND, "Servable not found for request: Latest(none)"),
        (ADDRESS, MODEL, "s", Status.FAILED_PRECONDITION, 'Serving signature key "s" not found.'),
        (REST, MODEL, "s", Status.INVALID_ARGUMENT, 'Serving signature name: "s" not found in signature def'),
    ):
        with connect(address, model) as client, pytest.raises(ServingError) as caught:
            client.predict(signature, {"text": ["a"]})
        assert (caught.value.status, caught.value.message) == (status, message)
    with pytest.raises(ServingError, match=r"input size does not match signature: 2!=1 len\(\{text,x\}\)"):
        predict(ADDRESS, "", text=["a"], x=["a"])
    with pytest.raises(ServingError, match=r"Expects arg\[0\] to be string but int64 is provided"):
        predict(ADDRESS, "", text=[1])
    for address in (ADDRESS, REST):
        with pytest.raises(ServingError, match=r"text is too long: at most \d+ pieces") as caught:
            predict(address, "", text=["a" * 100_000])
        assert caught.value.status is Status.INVALID_ARGUMENT
    assert rest("/v1/models") == (400, {"error": "Missing model name in request."})
    assert rest(f"/v1/models/{MODEL}:predict", {"instances": []})[0] == 400


def test_the_command_line_asks_it() -> None:
    command = [str(pathlib.Path(sys.executable).with_name("fovea")), "predict", "--model", MODEL, "--json", "fovea"]
    grpc, http = (
        json.loads(subprocess.run([*command, "--server", address], check=True, stdout=subprocess.PIPE).stdout)
        for address in (ADDRESS, REST)
    )
    assert (
        [answer["text"] for answer in grpc]
        == [answer["text"] for answer in http]
        == predict(ADDRESS, "serving_default", text=["fovea"])["text"]
    )
