"""The JSON of Classify and Regress: requests to examples and results to responses, without a server."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from google.protobuf import text_format
from hypothesis import given
from hypothesis import strategies as st
from tensorflow.core.example import example_pb2
from tensorflow_serving.apis import input_pb2

from serving.errors import ServingError, Status
from serving.examples import serialized_examples
from serving.examples_json import read_examples
from serving.request_json import parse
from serving.results_json import write_classifications, write_regressions


def read(body: str | bytes) -> input_pb2.Input:
    return read_examples(parse(body.encode() if isinstance(body, str) else body))


@pytest.mark.parametrize(
    ("value", "feature"),
    [
        ("1", "int64_list { value: 1 }"),
        ("-9223372036854775808", "int64_list { value: -9223372036854775808 }"),
        ("[1, 2]", "int64_list { value: 1 value: 2 }"),
        ("[true, false, 7]", "int64_list { value: 1 value: 0 value: 7 }"),
        ("1.0", "float_list { value: 1 }"),
        ("[0.5, 1e3]", "float_list { value: 0.5 value: 1000 }"),
        ("18446744073709551616", "float_list { value: 18446744073709551616 }"),
        ("-9223372036854775809", "float_list { value: -9223372036854775808 }"),
        ("[NaN, Infinity, -Infinity]", "float_list { value: nan value: inf value: -inf }"),
        ('"größe"', 'bytes_list { value: "gr\\303\\266\\303\\237e" }'),
        ('["a", {"b64": "/w=="}, ""]', 'bytes_list { value: "a" value: "\\377" value: "" }'),
        ("[]", ""),
    ],
)
def test_the_kind_of_a_feature_is_that_of_its_values(value: str, feature: str) -> None:
    expected = f"example_list {{ examples {{ features {{ feature {{ key: 'x' value {{ {feature} }} }} }} }} }}"
    message = read(f'{{"examples": [{{"x": {value}}}]}}')
    assert str(message) == str(text_format.Parse(expected, input_pb2.Input()))


def test_bytes_that_are_not_utf_8_stay_as_they_are() -> None:
    feature = read(b'{"examples": [{"x": "\xff"}]}').example_list.examples[0].features.feature["x"]
    assert list(feature.bytes_list.value) == [b"\xff"]


def test_a_context() -> None:
    message = read('{"examples": [{"x": 1}, {}], "context": {"x": 2, "c": "d"}}').example_list_with_context
    assert list(message.context.features.feature["x"].int64_list.value) == [2]
    assert [len(example.features.feature) for example in message.examples] == [1, 0]
    assert read('{"examples": [{}], "context": {}}').WhichOneof("kind") == "example_list_with_context"


@given(
    st.dictionaries(st.sampled_from("abc"), st.integers(-9, 9)), st.dictionaries(st.sampled_from("abc"), st.integers())
)
def test_a_context_is_merged_into_an_example(context: dict[str, int], example: dict[str, int]) -> None:
    example = {name: value % 1000 for name, value in example.items()}
    message = read(json.dumps({"context": context, "examples": [example]}))
    merged = example_pb2.Example.FromString(serialized_examples(message)[0]).features.feature
    assert {name: feature.int64_list.value[0] for name, feature in merged.items()} == {**context, **example}


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("", "JSON Parse error: The document is empty"),
        ("[]", "JSON Value: [] Is not object"),
        (
            '{"signature_name": 1, "examples": [{}]}',
            'JSON Value: {\n    "signature_name": 1,\n    "examples": [\n        {}\n    ]\n} not formatted correctly.'
            " 'signature_name' key must be a string value.",
        ),
        ("{}", "JSON Value: {} When method is classify, key 'examples' is expected and was not found"),
        (
            '{"context": {}}',
            'JSON Value: {\n    "context": {}\n} When method is classify,'
            " key 'examples' is expected and was not found",
        ),
        (
            '{"examples": {}}',
            "JSON Value: {\n    \"examples\": {}\n} Expecting 'examples' value to be an list/array",
        ),
        ('{"examples": []}', "JSON Value: {\n    \"examples\": []\n} 'examples' value is an empty array"),
        ('{"examples": [{}, 1]}', "Example must be JSON object but got JSON Number"),
        ('{"examples": [[]]}', "Example must be JSON object but got JSON Array"),
        ('{"context": "a", "examples": [{}]}', "Example must be JSON object but got JSON String"),
        ('{"context": null, "examples": [{}]}', "Example must be JSON object but got JSON Null"),
        ('{"examples": [true]}', "Example must be JSON object but got JSON True"),
        ('{"examples": [{"x": null}]}', "Feature: x has element with unexpected JSON type: Null"),
        ('{"examples": [{"x": [[1]]}]}', "Feature: x has element with unexpected JSON type: Array"),
        ('{"examples": [{"x": {"y": 1}}]}', "Feature: x has element with unexpected JSON type: Object"),
        ('{"examples": [{"x": {"b64": 1}}]}', "Feature: x has element with unexpected JSON type: Object"),
        ('{"examples": [{"x": {"b64": "!"}}]}', "Unable to base64 decode"),
        ('{"examples": [{"x": [1, 2.5]}]}', "Unexpected element type in feature: x expecting type: int64"),
        ('{"examples": [{"x": [2.5, 1]}]}', "Unexpected element type in feature: x expecting type: float"),
        ('{"examples": [{"x": [2.5, true]}]}', "Unexpected element type in feature: x expecting type: float"),
        ('{"examples": [{"x": ["a", 1]}]}', "Unexpected element type in feature: x expecting type: bytes"),
        ('{"examples": [{"x": [1, {"b64": ""}]}]}', "Unexpected element type in feature: x expecting type: int64"),
        (
            '{"examples": [{"x": 9223372036854775808}]}',
            "Feature: x has uint64 element. Only int64 is supported.",
        ),
        ('{"examples": [{"x": 1e39}]}', "Cannot convert JSON value: 1e+39 to float without loss of precision."),
    ],
)
def test_what_is_refused(body: str, message: str) -> None:
    with pytest.raises(ServingError) as caught:
        read(body)
    assert (caught.value.status, caught.value.message) == (Status.INVALID_ARGUMENT, message)


def test_a_feature_whose_name_is_not_utf_8_is_refused() -> None:
    with pytest.raises(ServingError) as caught:
        read(b'{"examples": [{"\xff": 1}]}')
    assert caught.value.status is Status.INVALID_ARGUMENT


def float32(*values: float) -> list[float]:
    numbers: list[float] = np.float32(values).tolist()
    return numbers


def test_results_of_classify() -> None:
    third, half = float32(1 / 3, 0.5)
    rows = [[(b"a", third), ("ß\n".encode(), half)], [(b"", float("nan")), (b"\xff", 0.0)], []]
    assert write_classifications(rows) == (
        '{"results": [[["a", 0.333333343], ["ß\\n", 0.5]], [["", NaN], ["\udcff", 0.0]], []]}'
    )


def test_results_of_regress() -> None:
    assert write_regressions(float32(1, 0.1, 9e6, float("-inf"))) == '{"results": [1.0, 0.1, 9e+06, -Infinity]}'


@given(st.lists(st.lists(st.tuples(st.binary(max_size=3), st.floats(width=32, allow_nan=False))), max_size=3))
def test_classes_come_back_as_they_were(rows: Any) -> None:
    results = json.loads(write_classifications(rows))["results"]
    back = [
        [(label.encode("utf-8", "surrogateescape"), float(np.float32(score))) for label, score in row]
        for row in results
    ]
    assert back == rows
