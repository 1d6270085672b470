"""The JSON of a Predict request over REST, to arrays.

Row form: `{"instances": [{"text": "a", "n": 1}, {"text": "b", "n": 2}]}` -> {text: [b"a", b"b"], n: [1, 2]}.
Columnar: `{"inputs": {"text": ["a", "b"], "n": [1, 2]}}` -> the same. One input: bare values will do.
"""

from __future__ import annotations

import codecs
import dataclasses
import json
import math
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np

from serving.errors import ServingError, Status
from serving.json_values import FLOATS, Constant, from_base64, invalid, is_base64, read_float, shown, type_error, utf8
from serving.tensors import BOOL, BY_NUMBER, MAX_RANK, STRING, UINT64, dtype_name, object_array

Array = np.ndarray[Any, Any]
Format = Literal["row", "columnar"]

INTEGERS = {  # dtype -> what JSON may hold; narrow types wrap, as they do in TensorProto.int_val
    3: range(-(2**31), 2**31),
    4: range(-(2**31), 2**31),
    5: range(-(2**31), 2**31),
    6: range(-(2**31), 2**31),
    9: range(-(2**63), 2**63),
    22: range(2**32),
    23: range(2**64),
}
PARSE_ERRORS = {  # Python's words -> TensorFlow Serving's
    "Expecting value": "Invalid value.",
    "Expecting property name enclosed in double quotes": "Missing a name for object member.",
    "Expecting ':' delimiter": "Missing a colon after a name of object member.",
    "Extra data": "The document root must not be followed by other values.",
    "Unterminated string starting at": "Missing a closing quotation mark in string.",
    "Invalid \\escape": "Invalid escape character in string.",
}


@dataclasses.dataclass(frozen=True)
class Document:
    """A parsed request; its values wait for the types of the signature."""

    signature_name: str
    values: dict[str, Any]


def parse(body: bytes) -> Document:
    """The body of a request -> its signature's name ("" if it has none) and its members."""
    body = body.removeprefix(codecs.BOM_UTF8)
    if not body:
        raise invalid("JSON Parse error: The document is empty")
    try:
        values = json.loads(body.decode("utf-8", "surrogateescape"), parse_constant=Constant)
        if b"\\u" in body:  # half a pair, which only an escape can write, is in no UTF-8
            json.dumps(values, ensure_ascii=False).encode("utf-8", "surrogateescape")
    except UnicodeEncodeError as error:
        raise invalid("JSON Parse error: The surrogate pair in string is invalid.") from error
    except json.JSONDecodeError as error:
        raise invalid(f"JSON Parse error: {_parse_error(error)} at offset: {error.pos}") from error
    except (ValueError, RecursionError) as error:  # an endless number, or lists in lists in lists
        raise invalid(f"JSON Parse error: {error}") from error
    if not isinstance(values, dict):
        raise invalid(f"JSON Value: {shown(values)} Is not object")
    name = values.get("signature_name", "")
    if not isinstance(name, str):
        raise invalid(
            f"JSON Value: {shown(values)} not formatted correctly. 'signature_name' key must be a string value."
        )
    return Document(name, values)


def _parse_error(error: json.JSONDecodeError) -> str:
    if not error.doc.strip():
        return "The document is empty."
    return PARSE_ERRORS.get(error.msg, error.msg)


def read_inputs(document: Document, dtypes: Mapping[str, int]) -> tuple[dict[str, Array], Format]:
    """A document and the types of the signature's inputs -> arrays, and the form that the answer shall have."""
    if not dtypes:
        raise invalid(f"Failed to get input map for signature: {document.signature_name or 'DEFAULT'}")
    values = document.values
    if "instances" in values and "inputs" in values:
        message = "Not formatted correctly expecting only one of 'inputs' or 'instances' keys to exist "
        raise invalid(f"JSON Value: {shown(values)} {message}")
    if "instances" in values:
        instances = values["instances"]
        if not isinstance(instances, list):
            raise invalid(f"JSON Value: {shown(values)} Excepting 'instances' to be an list/array")
        if not instances:
            raise invalid(f"JSON Value: {shown(values)} No values in 'instances' array")
        return _read_rows(instances, dtypes), "row"
    if "inputs" in values:
        return _read_columns(values["inputs"], dtypes), "columnar"
    raise invalid("Missing 'inputs' or 'instances' key")


def _read_columns(inputs: Any, dtypes: Mapping[str, int]) -> dict[str, Array]:
    if not _is_object(inputs):
        if len(dtypes) > 1:
            raise invalid(
                "inputs is a plain value/list, but expecting an object as multiple input tensors required as per"
                " tensorinfo_map"
            )
        inputs = {next(iter(dtypes)): inputs}
    for name in dtypes:
        if name not in inputs:
            raise invalid(f"Missing named input: {name} in 'inputs' object.")
    return {name: _Values(dtype).add(inputs[name]).array() for name, dtype in dtypes.items()}


def _read_rows(instances: list[Any], dtypes: Mapping[str, int]) -> dict[str, Array]:
    if not isinstance(instances[0], dict) and len(dtypes) > 1:
        raise invalid(
            "instances is a plain list, but expecting list of objects as multiple input tensors required as per"
            " tensorinfo_map"
        )
    objects = _is_object(instances[0])
    columns: dict[str, _Values] = {}
    for index, row in enumerate(instances):
        if objects is not _is_object(row):
            kinds = "object but got list" if objects else "value/list but got object"
            raise invalid(f"Expecting {kinds} at item {index} of input list")
        for name, value in row.items() if objects else [(next(iter(dtypes)), row)]:
            where = f"element: {index} key: {name}" if objects else f"element: {index}"
            _add_to_column(columns, dtypes, name, value, where)
        if objects and set(row) != set(dtypes):
            raise invalid(
                f"Failed to process element: {index} of 'instances' list. JSON object: {shown(row)} keys must be equal"
                f" to: {','.join(sorted(dtypes))}"
            )
    return {name: values.array(rows=len(instances)) for name, values in columns.items()}


def _add_to_column(columns: dict[str, _Values], dtypes: Mapping[str, int], name: str, value: Any, where: str) -> None:
    try:
        if name not in dtypes:
            raise invalid(f"JSON object: does not have named input: {name}")
        columns.setdefault(name, _Values(dtypes[name])).add(value)
    except ServingError as error:
        raise ServingError(error.status, f"Failed to process {where} of 'instances' list. Error: {error}") from error


class _Values:
    """The values of one input, collected from JSON lists of equal shape."""

    def __init__(self, dtype: int) -> None:
        self._dtype = dtype
        self._shape: tuple[int, ...] | None = None
        self._flat: list[Any] = []

    def add(self, value: Any) -> _Values:
        """Another row (or the only value): [[1, 2], [3, 4]]."""
        shape = _shape(value)
        before = len(self._flat)
        self._fill(value, 0, shape)
        size = len(self._flat) - before
        if self._shape is None:
            self._shape = shape
        elif size != math.prod(self._shape):
            raise invalid(f"Expecting tensor size: {math.prod(self._shape)} but got: {size}")
        elif shape != self._shape:
            raise invalid(f"Expecting shape {_shown_shape(self._shape)} but got: {_shown_shape(shape)}")
        return self

    def _fill(self, value: Any, level: int, shape: tuple[int, ...]) -> None:
        if not isinstance(value, list):
            if level != len(shape):
                raise invalid(
                    f"JSON Value: {shown(value)} found at incorrect level: {level + 1} in the JSON DOM."
                    f" Expected at level: {len(shape)}"
                )
            self._flat.append(_scalar(value, self._dtype))
            return
        if level >= len(shape):
            raise invalid(f"Encountered list at unexpected level: {level} expected < {len(shape)}")
        if len(value) != shape[level]:
            raise invalid(
                f"Encountered list at unexpected size: {len(value)} at level: {level} expected size: {shape[level]}"
            )
        for item in value:
            self._fill(item, level + 1, shape)

    def array(self, rows: int | None = None) -> Array:
        """What was collected; `rows` is the size of the batch axis of the row form."""
        shape = (self._shape or ()) if rows is None else (rows, *(self._shape or ()))
        if self._dtype == STRING:
            return object_array(self._flat, shape)
        if self._dtype in INTEGERS:
            wide = np.array(self._flat, np.uint64 if self._dtype == UINT64 else np.int64)
            return wide.astype(BY_NUMBER[self._dtype].numpy).reshape(shape)
        if self._dtype not in BY_NUMBER:
            raise ServingError(Status.UNIMPLEMENTED, f"Conversion of JSON to type: {dtype_name(self._dtype)}")
        return np.array(self._flat, BY_NUMBER[self._dtype].numpy).reshape(shape)


def _scalar(value: Any, dtype: int) -> Any:
    """A JSON value as a value of the type; strings become bytes."""
    if isinstance(value, dict):
        if dtype != STRING:
            raise type_error(value, dtype)
        return from_base64(value)
    if dtype in FLOATS:
        return read_float(value, dtype)
    if dtype in INTEGERS:
        if type(value) is not int or value not in INTEGERS[dtype]:
            raise type_error(value, dtype)
        return value
    if dtype == STRING:
        if not isinstance(value, str):
            raise type_error(value, dtype)
        return utf8(value)
    if dtype == BOOL:
        if not isinstance(value, bool):
            raise type_error(value, dtype)
        return value
    message = f"Conversion of JSON Value: {shown(value)} to type: {dtype_name(dtype)}"
    raise ServingError(Status.UNIMPLEMENTED, message)


def _is_object(value: Any) -> bool:
    return isinstance(value, dict) and not is_base64(value)


def _shape(value: Any) -> tuple[int, ...]:
    """The shape by the first elements: [[1, 2], [3, 4], [5, 6]] -> (3, 2)."""
    shape = []
    while isinstance(value, list):
        shape.append(len(value))
        value = value[0] if value else None
    if len(shape) > MAX_RANK:
        raise invalid(f"Encountered lists of {len(shape)} levels, at most {MAX_RANK} are a tensor")
    return tuple(shape)


def _shown_shape(shape: Sequence[int]) -> str:
    return "[" + ",".join(map(str, shape)) + "]"
