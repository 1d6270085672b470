"""The REST API of a running server, held against the contract."""

from __future__ import annotations

import gzip
import http.client
import json
import socket
from typing import Any

import pytest

from serving.rest_server import MAX_HEAD_BYTES
from tests.serving.tiny_server import Server

PREDICT = "/v1/models/tiny:predict"


def test_row_form(server: Server) -> None:
    status, answer = server.predict({"instances": [{"text": "one"}, {"text": "seven"}]})
    assert status == 200
    rows = [(row["text"], row["score"]) for row in answer["predictions"]]
    assert rows == [("eins", 0.75), ("?", 1.25)]


def test_row_form_of_two_inputs(server: Server) -> None:
    instances = [{"text": "one", "target": "eins"}, {"text": "two", "target": "two"}]
    status, answer = server.predict({"signature_name": "pair", "instances": instances})
    assert status == 200
    assert [(row["score"], row["pieces"]) for row in answer["predictions"]] == [
        (0.0, ["one", "eins"]),
        (1.0, ["two"] * 2),
    ]


def test_columnar_form_ignores_extra_keys(server: Server) -> None:
    status, answer = server.predict({"inputs": {"text": ["one"], "more": 3}})
    assert status == 200
    assert answer["outputs"]["text"] == ["eins"]
    assert answer["outputs"]["score"] == [0.75]


def test_one_input_and_one_output_may_be_bare(server: Server) -> None:
    assert server.predict({"signature_name": "half", "instances": [3, 5.0]}) == (200, {"predictions": [1.5, 2.5]})
    assert server.predict({"signature_name": "half", "inputs": [3, 5.0]}) == (200, {"outputs": [1.5, 2.5]})


def test_floats_have_a_point_or_an_exponent_and_nan_is_bare(server: Server) -> None:
    body = b'{"signature_name": "half", "instances": [2, NaN, Infinity, -Infinity, 18e6]}'
    status, content = server.http("POST", PREDICT, body)
    assert status == 200
    assert "".join(content.decode().split()) == '{"predictions":[1.0,NaN,Infinity,-Infinity,9e+06]}'


def test_bytes_go_both_ways_as_base64(server: Server) -> None:
    status, answer = server.predict({"signature_name": "echo", "instances": [{"b64": "/wA="}, "ab"]})
    assert (status, answer) == (200, {"predictions": [{"b64": "/wA="}, {"b64": "YWI="}]})


def test_text_that_is_not_utf8_is_not_lost(server: Server) -> None:
    status, content = server.http("POST", PREDICT, b'{"signature_name": "echo", "instances": ["\xff"]}')
    assert (status, json.loads(content)) == (200, {"predictions": [{"b64": "/w=="}]})


def test_a_version_by_number_and_names_in_any_case(server: Server) -> None:
    version = max(n for n, state in server.states().items() if state["state"] == "AVAILABLE")
    status, answer = server.predict({"instances": ["one"]}, f"/V1/Models/t%69ny/Versions/{version}:predict")
    assert (status, answer["predictions"][0]["version"]) == (200, version)


def test_gzip(server: Server) -> None:
    body = gzip.compress(b'{"signature_name": "half", "instances": [2.0]}')
    status, content = server.http("POST", PREDICT, body, Content_Encoding="gzip")
    assert (status, json.loads(content)) == (200, {"predictions": [1.0]})
    status, content = server.http("POST", PREDICT, b"not gzip", Content_Encoding="gzip")
    assert (status, json.loads(content)) == (400, {"error": "JSON Parse error: The document is empty"})


def test_a_connection_is_kept_also_after_an_error(server: Server) -> None:
    connection = http.client.HTTPConnection("localhost", server.rest_port)
    connection.connect()
    socket = connection.sock
    for path, expected in [("/v1/foo", 400), ("/nowhere", 404), ("/v1/models/tiny", 200)]:
        connection.request("GET", path)
        response = connection.getresponse()
        response.read()
        assert (response.status, connection.sock is socket) == (expected, True)
    connection.close()


def test_a_head_that_does_not_end_is_refused(server: Server) -> None:
    with socket.create_connection(("localhost", server.rest_port), timeout=60) as connection:
        connection.sendall(b"GET /v1/models/tiny HTTP/1.1\r\nX: " + b"a" * 2 * MAX_HEAD_BYTES)
        answer = connection.recv(4096)
        assert answer.startswith(b"HTTP/1.1 400 ") and b"longer than 65536 bytes" in answer
    assert server.http("GET", "/v1/models/tiny", X="a" * (MAX_HEAD_BYTES // 2))[0] == 200


def test_a_chunked_body(server: Server) -> None:
    connection = http.client.HTTPConnection("localhost", server.rest_port)
    chunks = [b'{"signature_name": "half", ', b'"instances": [2.0]}']
    connection.request("POST", PREDICT, iter(chunks), encode_chunked=True)
    response = connection.getresponse()
    assert (response.status, json.loads(response.read())) == (200, {"predictions": [1.0]})
    connection.close()


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "message"),
    [
        ("GET", "/v1/foo", None, 400, "Malformed request: GET /v1/foo"),
        ("GET", "/v1/models", None, 400, "Missing model name in request."),
        ("POST", "/v1/models", {}, 400, "Malformed request: POST /v1/models"),
        ("GET", PREDICT, None, 400, f"Malformed request: GET {PREDICT}"),
        ("POST", f"{PREDICT}?x", {}, 400, f"Malformed request: POST {PREDICT}?x"),
        ("PUT", PREDICT, {}, 400, f"Malformed request: PUT {PREDICT}"),
        ("GET", "/v1/models/other", None, 404, "Could not find any versions of model other"),
        ("GET", "/v1/models/tiny/versions/999", None, 404, "Could not find version 999 of model tiny"),
        ("GET", "/v1/models/other/metadata", None, 404, "Servable not found for request: Latest(other)"),
        (
            "GET",
            "/v1/models/tiny/versions/99999999999999999999",
            None,
            400,
            "Failed to convert version: 99999999999999999999 to numeric.",
        ),
        (
            "POST",
            "/v1/models/other:predict",
            {"instances": [1]},
            404,
            "Servable not found for request: Latest(other)",
        ),
        (
            "POST",
            "/v1/models/tiny/versions/999:predict",
            {"instances": [1]},
            404,
            "Servable not found for request: Specific(tiny, 999)",
        ),
        (
            "POST",
            "/v1/models/tiny/labels/stable:predict",
            {"instances": [1]},
            400,
            "Unrecognized servable version label: stable",
        ),
        (
            "POST",
            PREDICT,
            {"signature_name": "s", "instances": [1]},
            400,
            'Serving signature name: "s" not found in signature def',
        ),
        ("POST", PREDICT, {"signature_name": "pick", "inputs": [3]}, 400, "indices[0] = 3 is not in [0, 3)"),
        ("POST", PREDICT, b"", 400, "JSON Parse error: The document is empty"),
        ("POST", PREDICT, b"instances = [1]", 400, "JSON Parse error: Invalid value. at offset: 0"),
        ("POST", PREDICT, {"text": []}, 400, "Missing 'inputs' or 'instances' key"),
        ("POST", PREDICT, {"signature_name": "narrow", "inputs": [1.0]}, 501, "to type: half"),
        ("POST", PREDICT, {"signature_name": "narrow", "instances": [1.0]}, 501, "to type: half"),
        ("POST", PREDICT, {"signature_name": "narrowed", "inputs": [1.0]}, 400, "value for tensor type: half"),
        ("POST", PREDICT, {"signature_name": "pick", "inputs": [1.0]}, 400, "Number is not of expected type"),
        ("POST", PREDICT, {"signature_name": "pick", "instances": [True]}, 400, "Type: True is not of expected type"),
        ("POST", PREDICT, {"signature_name": "add", "inputs": {"a": [1]}}, 400, "Missing named input: b in"),
        ("POST", PREDICT, {"signature_name": "pair", "instances": [{"text": "a"}]}, 400, "equal to: target,text"),
        ("POST", PREDICT, {"instances": [{"text": "a", "more": 1}]}, 400, "does not have named input: more"),
        ("POST", PREDICT, {"inputs": [{"b64": "aGk=", "more": 1}]}, 400, "not formatted correctly for base64 data"),
        ("POST", PREDICT, {"instances": [1], "inputs": [1]}, 400, "only one of 'inputs' or 'instances' keys to exist"),
        ("POST", PREDICT, {"signature_name": "half", "instances": [[1, 2], [3]]}, 400, "Expecting tensor size: 2 but"),
        (
            "POST",
            PREDICT,
            {"signature_name": "add", "instances": [{"a": 1, "b": 2}]},
            400,
            "Tensor name: rows has no shape information",
        ),
        ("POST", "/v1/models/tiny:classify", {"examples": [{}]}, 400, "Expected one or two output Tensors, found 3"),
        (
            "POST",
            "/v1/models/tiny:CLASSIFY",
            {"examples": [{}]},
            400,
            "Malformed request: POST /v1/models/tiny:CLASSIFY",
        ),
    ],
)
def test_errors(server: Server, method: str, path: str, body: Any, status: int, message: str) -> None:
    answered, content = server.http(method, path, body)
    assert answered == status
    assert message in json.loads(content)["error"]


def test_a_path_outside_the_api(server: Server) -> None:
    assert server.http("GET", "/")[0] == 404
    assert server.http("GET", "/v2/models/tiny")[0] == 404


def test_status(server: Server) -> None:
    version, state = next((n, s) for n, s in server.states().items() if s["state"] == "AVAILABLE")
    available = {"version": str(version), "state": "AVAILABLE", "status": {"error_code": "OK", "error_message": ""}}
    assert state == available
    for path in (f"/v1/models/tiny/versions/{version}", f"/V1/MODELS/tiny/VERSIONS/{version}"):
        status, content = server.http("GET", path)
        assert (status, json.loads(content)) == (200, {"model_version_status": [available]})
    assert server.http("GET", "/v1/models/tiny/labels/any")[0] == 200


def test_metadata(server: Server) -> None:
    status, content = server.http("GET", "/v1/models/tiny/metadata")
    answer = json.loads(content)
    assert status == 200
    version = str(max(n for n, state in server.states().items() if state["state"] == "AVAILABLE"))
    assert answer["model_spec"] == {"name": "tiny", "signature_name": "", "version": version}
    half = answer["metadata"]["signature_def"]["signature_def"]["half"]
    x = half["inputs"]["x"]
    assert x["dtype"] == "DT_FLOAT"
    assert x["tensor_shape"] == {"dim": [{"size": "-1", "name": ""}], "unknown_rank": False}
    assert half["method_name"] == "tensorflow/serving/predict"


def test_cors_preflight(server: Server) -> None:
    connection = http.client.HTTPConnection("localhost", server.rest_port)
    connection.request("OPTIONS", PREDICT)
    response = connection.getresponse()
    assert (response.status, response.read()) == (200, b"")
    assert response.headers["Access-Control-Allow-Methods"] == "POST, GET"
    connection.close()
