"""The JSON of Predict: requests to arrays and arrays to responses, without a server."""

from __future__ import annotations

import json
from typing import Any

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from serving.errors import ServingError, Status
from serving.json_values import MOST_SHOWN
from serving.request_json import parse, read_inputs
from serving.response_json import write_outputs
from serving.tensors import object_array

FLOAT, DOUBLE, INT32, UINT8, STRING, COMPLEX64, INT64, BOOL, BFLOAT16, UINT64 = 1, 2, 3, 4, 7, 8, 9, 10, 14, 23


def read(body: bytes | str, **dtypes: int) -> tuple[dict[str, Any], str]:
    inputs, form = read_inputs(parse(body.encode() if isinstance(body, str) else body), dtypes)
    return inputs, form


def lists(inputs: dict[str, Any]) -> dict[str, Any]:
    return {name: array.tolist() for name, array in inputs.items()}


def test_rows_of_objects() -> None:
    inputs, form = read(
        '{"instances": [{"a": [[1, 2]], "b": "x"}, {"b": {"b64": "/w"}, "a": [[3, 4]]}]}', a=INT32, b=STRING
    )
    assert form == "row"
    assert lists(inputs) == {"a": [[[1, 2]], [[3, 4]]], "b": [b"x", b"\xff"]}
    assert inputs["a"].dtype == np.int32


@pytest.mark.parametrize(
    ("body", "dtype", "expected"),
    [
        ('{"instances": [1, 2.5]}', FLOAT, [1.0, 2.5]),
        ('{"instances": [[1], [2]]}', INT64, [[1], [2]]),
        ('{"instances": [[], []]}', FLOAT, [[], []]),
        ('{"instances": [{"x": true}, {"x": false}]}', BOOL, [True, False]),
        ('{"instances": [{"b64": "aGk="}, {"b64": ""}]}', STRING, [b"hi", b""]),
        ('{"inputs": {"x": 3}}', INT32, 3),
        ('{"inputs": 3}', INT32, 3),
        ('{"inputs": {"b64": "aGk="}}', STRING, b"hi"),
        ('{"inputs": [18446744073709551615]}', UINT64, [2**64 - 1]),
        ('{"inputs": [300, -1]}', UINT8, [44, 255]),
        ('{"inputs": [16777215, 1e30, 99999999999999999999]}', FLOAT, np.float32([16777215, 1e30, 1e20]).tolist()),
        ('{"inputs": [Infinity, -Infinity]}', DOUBLE, [np.inf, -np.inf]),
        ('\ufeff{"inputs": [1]}', INT32, [1]),
        ('{"inputs": ["\\u00df", "ß", "a\\u0000b"]}', STRING, ["ß".encode(), "ß".encode(), b"a\0b"]),
    ],
)
def test_one_input(body: str, dtype: int, expected: Any) -> None:
    inputs, _ = read(body, x=dtype)
    assert lists(inputs) == {"x": expected}


def test_nan_is_read() -> None:
    inputs, _ = read('{"inputs": [NaN]}', x=FLOAT)
    assert np.isnan(inputs["x"]).all()


@pytest.mark.parametrize(
    ("body", "dtypes", "message"),
    [
        ("", {"x": FLOAT}, "JSON Parse error: The document is empty"),
        (" ", {"x": FLOAT}, "JSON Parse error: The document is empty. at offset: 1"),
        ("[1]", {"x": FLOAT}, "JSON Value: [\n    1\n] Is not object"),
        ('{"inputs": 1} 2', {"x": FLOAT}, "The document root must not be followed by other values. at offset: 14"),
        ("[" * 100_000, {"x": FLOAT}, "JSON Parse error: "),
        ('{"inputs": ["\\ud800"]}', {"x": STRING}, "JSON Parse error: The surrogate pair in string is invalid."),
        ('{"signature_name": 5}', {"x": FLOAT}, "'signature_name' key must be a string value."),
        ('{"signature_name": "s", "inputs": 1}', {}, "Failed to get input map for signature: s"),
        ("{}", {"x": FLOAT}, "Missing 'inputs' or 'instances' key"),
        (
            '{"inputs": 1, "instances": [1]}',
            {"x": FLOAT},
            "expecting only one of 'inputs' or 'instances' keys to exist",
        ),
        ('{"instances": 1}', {"x": FLOAT}, "Excepting 'instances' to be an list/array"),
        ('{"instances": []}', {"x": FLOAT}, "No values in 'instances' array"),
        ('{"instances": [1]}', {"x": FLOAT, "y": FLOAT}, "instances is a plain list, but expecting list of objects"),
        ('{"inputs": [1]}', {"x": FLOAT, "y": FLOAT}, "inputs is a plain value/list, but expecting an object"),
        ('{"inputs": {"x": 1}}', {"x": FLOAT, "y": FLOAT}, "Missing named input: y in 'inputs' object."),
        ('{"instances": [{"x": 1}, 2]}', {"x": FLOAT}, "Expecting object but got list at item 1 of input list"),
        ('{"instances": [2, {"x": 1}]}', {"x": FLOAT}, "Expecting value/list but got object at item 1 of input list"),
        (
            '{"instances": [{"x": 1, "y": 2}, {"x": 1}]}',
            {"x": FLOAT, "y": FLOAT},
            "Failed to process element: 1 of 'instances' list. JSON object: {\n    \"x\": 1\n} keys must be equal to:"
            " x,y",
        ),
        (
            '{"instances": [{"z": 1}]}',
            {"x": FLOAT},
            "Failed to process element: 0 key: z of 'instances' list. Error: INVALID_ARGUMENT: JSON object: does not"
            " have named input: z",
        ),
        ('{"instances": [1.0]}', {"x": INT32}, "JSON Value: 1.0 Type: Number is not of expected type: int32"),
        ('{"inputs": [true]}', {"x": INT32}, "JSON Value: true Type: True is not of expected type: int32"),
        ('{"inputs": [true]}', {"x": FLOAT}, "JSON Value: true Type: True is not of expected type: float"),
        (
            '{"inputs": [2147483648]}',
            {"x": INT32},
            "JSON Value: 2147483648 Type: Number is not of expected type: int32",
        ),
        ('{"inputs": ["a"]}', {"x": INT64}, 'JSON Value: "a" Type: String is not of expected type: int64'),
        ('{"inputs": [null]}', {"x": STRING}, "JSON Value: null Type: Null is not of expected type: string"),
        ('{"inputs": [1]}', {"x": BOOL}, "JSON Value: 1 Type: Number is not of expected type: bool"),
        ('{"inputs": [{"b64": "aGk="}]}', {"x": FLOAT}, "Type: Object is not of expected type: float"),
        ('{"inputs": [{"b64": "a", "c": 1}]}', {"x": STRING}, "not formatted correctly for base64 data"),
        ('{"inputs": [{"b64": "!"}]}', {"x": STRING}, "Unable to base64 decode"),
        (
            '{"inputs": [16777217]}',
            {"x": FLOAT},
            "Cannot convert JSON value: 16777217 to float without loss of precision.",
        ),
        ('{"inputs": [1e39]}', {"x": FLOAT}, "to float without loss of precision."),
        ('{"inputs": [1e400]}', {"x": DOUBLE}, "Number too big to be stored in double."),
        ('{"inputs": [-1e400]}', {"x": FLOAT}, "Number too big to be stored in double."),
        ('{"inputs": [9007199254740993]}', {"x": DOUBLE}, "to double without loss of precision."),
        ('{"instances": [[1, 2], [3]]}', {"x": INT32}, "Expecting tensor size: 2 but got: 1"),
        ('{"instances": [[1, 2], [[3, 4]]]}', {"x": INT32}, "Expecting shape [2] but got: [1,2]"),
        ('{"inputs": [1, [2]]}', {"x": INT32}, "Encountered list at unexpected level: 1 expected < 1"),
        (
            '{"inputs": [[1], 2]}',
            {"x": INT32},
            "JSON Value: 2 found at incorrect level: 2 in the JSON DOM. Expected at",
        ),
        (
            '{"inputs": [[1, 2], [3]]}',
            {"x": INT32},
            "Encountered list at unexpected size: 1 at level: 1 expected size: 2",
        ),
        ('{"inputs": ' + "[" * 40 + "]" * 40 + "}", {"x": INT32}, "Encountered lists of 40 levels, at most 32"),
    ],
)
def test_what_is_refused(body: str, dtypes: dict[str, int], message: str) -> None:
    with pytest.raises(ServingError) as caught:
        read(body, **dtypes)
    assert caught.value.status is Status.INVALID_ARGUMENT
    assert message in caught.value.message


@pytest.mark.parametrize("depth", [40, 400, 800])
def test_of_what_is_very_large_or_deep_a_message_has_the_beginning(depth: int) -> None:
    for value in ("[" * depth + "]" * depth, '{"a":' * depth + "1" + "}" * depth, f"[{'1, ' * 100_000}1]"):
        with pytest.raises(ServingError) as caught:
            read(f'{{"instances": 1, "inputs": {value}}}', x=STRING)
        assert caught.value.status is Status.INVALID_ARGUMENT
        assert len(caught.value.message) < 2 * MOST_SHOWN


@pytest.mark.parametrize("dtype", [BFLOAT16, COMPLEX64])
@pytest.mark.parametrize("form", ["inputs", "instances"])
def test_types_that_json_does_not_feed(dtype: int, form: str) -> None:
    with pytest.raises(ServingError) as caught:
        read(f'{{"{form}": [1.5]}}', x=dtype)
    assert caught.value.status is Status.UNIMPLEMENTED
    assert "Conversion of JSON Value: 1.5 to type: " in caught.value.message


def test_rows_are_objects_when_there_are_more_outputs() -> None:
    outputs = {"text": object_array([b"A", b"\xff\n"], (2,)), "score": np.float32([[0.5], [1]])}
    assert write_outputs(outputs, "row") == (
        '{"predictions": [{"score": [0.5], "text": "A"}, {"score": [1.0], "text": "\udcff\\n"}]}'
    )
    assert write_outputs({"x": np.array([[1, 2], [3, 5]])}, "row") == '{"predictions": [[1, 2], [3, 5]]}'


def test_columns() -> None:
    assert write_outputs({"x": np.zeros((2, 0))}, "columnar") == '{"outputs": [[], []]}'
    assert write_outputs({"x": np.array(True), "y": np.array([7])}, "columnar") == '{"outputs": {"x": true, "y": [7]}}'


def test_base64_only_by_the_name_of_the_output() -> None:
    text = object_array([b"\xff"], ())
    assert write_outputs({"image_bytes": text}, "columnar") == '{"outputs": {"b64": "/w=="}}'
    assert write_outputs({"n_bytes": np.array(3)}, "columnar") == '{"outputs": 3}'


@pytest.mark.parametrize(
    ("value", "token"),
    [
        (np.float32(1), "1.0"),
        (np.float32(0.1), "0.1"),
        (np.float32(1 / 3), "0.333333343"),
        (np.float32(9e6), "9e+06"),
        (np.float32(16777215), "16777215.0"),
        (np.float64(1 / 3), "0.33333333333333331"),
        (np.float32("nan"), "NaN"),
        (np.float64("inf"), "Infinity"),
        (np.float64("-inf"), "-Infinity"),
    ],
)
def test_decimals(value: Any, token: str) -> None:
    assert write_outputs({"x": np.array(value)}, "columnar") == f'{{"outputs": {token}}}'


@given(hnp.arrays(st.sampled_from([np.dtype(np.float32), np.dtype(np.float64)]), hnp.array_shapes(max_dims=3)))
def test_floats_come_back_as_they_were(array: Any) -> None:
    text = write_outputs({"x": array}, "columnar")
    np.testing.assert_array_equal(np.array(json.loads(text)["outputs"], array.dtype), array)
    tokens = text[len('{"outputs": ') : -1].replace("[", " ").replace("]", " ").replace(",", " ").split()
    assert all(set(".eNI") & set(token) for token in tokens)


@pytest.mark.parametrize(
    ("outputs", "form", "message"),
    [
        ({}, "row", "Cannot convert empty tensor map to JSON"),
        ({"x": np.float32(1)}, "row", "Tensor name: x has no shape information "),
        ({"x": np.zeros(2), "y": np.zeros(3)}, "row", "Tensor name: y has inconsistent batch size: 3 expecting: 2"),
        ({"x": np.zeros(1, np.float16)}, "columnar", "Failed to write JSON value for tensor type: half"),
        ({"x": np.zeros(1, ml_dtypes.bfloat16)}, "row", "Failed to write JSON value for tensor type: bfloat16"),
    ],
)
def test_what_cannot_be_written(outputs: dict[str, Any], form: Any, message: str) -> None:
    with pytest.raises(ServingError) as caught:
        write_outputs({name: np.asarray(array) for name, array in outputs.items()}, form)
    assert (caught.value.status, caught.value.message) == (Status.INVALID_ARGUMENT, message)


@pytest.mark.parametrize("body", [b'{"instances": [{"\\ud800": 1.0}]}', b'{"signature_name": "\\udfff", "inputs": 1}'])
def test_half_a_surrogate_pair_is_no_text(body: bytes) -> None:
    with pytest.raises(ServingError) as caught:
        parse(body)
    assert caught.value.status is Status.INVALID_ARGUMENT
    assert "The surrogate pair in string is invalid." in str(caught.value)
    assert parse(b'{"inputs": "\\ud83d\\ude00"}').values["inputs"] == "\N{GRINNING FACE}"
