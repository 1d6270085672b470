"""The JSON of a Classify or Regress request over REST, to examples.

`{"context": {"c": 0}, "examples": [{"x": 1.5, "s": ["a", {"b64": "/w=="}]}, {"x": 2.5}]}` -> the features c (int64) in
the context, x (float) and s (bytes) in the examples.
"""

from __future__ import annotations

from typing import Any

from tensorflow.core.example import example_pb2, feature_pb2
from tensorflow_serving.apis import input_pb2

from serving.json_values import from_base64, invalid, is_base64, is_integer, kind, read_float, shown, utf8
from serving.request_json import Document

FLOAT = 1
MAX_INT64 = 2**63 - 1
KINDS = {"bytes_list": "bytes", "float_list": "float", "int64_list": "int64"}


def read_examples(document: Document) -> input_pb2.Input:
    """A parsed request -> its examples."""
    values = document.values
    request_input = input_pb2.Input()
    examples = request_input.example_list.examples
    if "context" in values:  # this takes the place of the list above: they are a choice
        request_input.example_list_with_context.context.CopyFrom(_example(values["context"]))
        examples = request_input.example_list_with_context.examples
    if "examples" not in values:  # the message says classify to those who regress, too
        raise invalid(
            f"JSON Value: {shown(values)} When method is classify, key 'examples' is expected and was not found"
        )
    if not isinstance(values["examples"], list):
        raise invalid(f"JSON Value: {shown(values)} Expecting 'examples' value to be an list/array")
    if not values["examples"]:
        raise invalid(f"JSON Value: {shown(values)} 'examples' value is an empty array")
    examples.extend([_example(value) for value in values["examples"]])
    return request_input


def _example(value: Any) -> example_pb2.Example:
    if not isinstance(value, dict):
        raise invalid(f"Example must be JSON object but got JSON {kind(value)}")
    example = example_pb2.Example()
    for name, content in value.items():
        feature = feature_pb2.Feature()
        for item in content if isinstance(content, list) else [content]:
            _add(item, name, feature)
        try:
            example.features.feature[name].CopyFrom(feature)
        except ValueError as error:
            raise invalid(f"Feature: {name} has a name that is not UTF-8") from error
    return example


def _add(value: Any, name: str, feature: feature_pb2.Feature) -> None:
    """Add a value to a feature, whose kind is that of its first value."""
    if value is None or isinstance(value, list) or (isinstance(value, dict) and not is_base64(value)):
        raise invalid(f"Feature: {name} has element with unexpected JSON type: {kind(value)}")
    if isinstance(value, str | dict):
        needed = "bytes_list"
    else:
        needed = "int64_list" if isinstance(value, bool) or is_integer(value) else "float_list"
    present = feature.WhichOneof("kind")
    if present not in (None, needed):
        raise invalid(f"Unexpected element type in feature: {name} expecting type: {KINDS[present]}")
    if needed == "bytes_list":
        feature.bytes_list.value.append(utf8(value) if isinstance(value, str) else from_base64(value))
    elif needed == "float_list":
        feature.float_list.value.append(read_float(value, FLOAT))
    elif value > MAX_INT64:
        raise invalid(f"Feature: {name} has uint64 element. Only int64 is supported.")
    else:
        feature.int64_list.value.append(int(value))  # true is 1
