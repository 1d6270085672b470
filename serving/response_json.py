"""Arrays to the JSON of a Predict response over REST.

Row form: {text: [b"A", b"B"], score: [0.5, 1.0]}
-> `{"predictions": [{"score": 0.5, "text": "A"}, {"score": 1.0, "text": "B"}]}`.
Columnar: the same -> `{"outputs": {"score": [0.5, 1.0], "text": ["A", "B"]}}`. One output: bare values.
"""

from __future__ import annotations

import base64
import json
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from serving.errors import ServingError, Status
from serving.json_values import FLOATS
from serving.request_json import INTEGERS, Array, Format
from serving.tensors import BOOL, BY_NUMPY, STRING, dtype_name

NON_FINITE = {"nan": "NaN", "inf": "Infinity", "-inf": "-Infinity"}


def write_outputs(outputs: Mapping[str, Array], form: Format) -> str:
    """Arrays -> the JSON of the response, in the form of the request."""
    if not outputs:
        raise _unwritable("Cannot convert empty tensor map to JSON")
    names = sorted(outputs)
    if form == "columnar":
        columns = {name: _nested(_tokens(name, outputs[name]), outputs[name].shape) for name in names}
        return f'{{"outputs": {_object(columns) if len(names) > 1 else columns[names[0]]}}}'
    batch = _batch_size({name: outputs[name] for name in names})
    rows = {name: _rows(name, outputs[name]) for name in names}
    if len(names) > 1:
        items = [_object({name: rows[name][row] for name in names}) for row in range(batch)]
    else:
        items = rows[names[0]]
    return f'{{"predictions": [{", ".join(items)}]}}'


def _batch_size(outputs: Mapping[str, Array]) -> int:
    batch: int | None = None
    for name, array in outputs.items():
        if array.ndim == 0:
            raise _unwritable(f"Tensor name: {name} has no shape information ")
        if batch is not None and batch != len(array):
            raise _unwritable(f"Tensor name: {name} has inconsistent batch size: {len(array)} expecting: {batch}")
        batch = len(array)
    return batch or 0


def _rows(name: str, array: Array) -> list[str]:
    tokens = _tokens(name, array)
    size = math.prod(array.shape[1:])
    return [_nested(tokens[row * size : (row + 1) * size], array.shape[1:]) for row in range(len(array))]


def _nested(tokens: Sequence[str], shape: tuple[int, ...]) -> str:
    if not shape:
        return tokens[0]
    step = math.prod(shape[1:])
    if len(shape) > 1:
        tokens = [_nested(tokens[item * step : (item + 1) * step], shape[1:]) for item in range(shape[0])]
    return "[" + ", ".join(tokens) + "]"


def _object(members: Mapping[str, str]) -> str:
    return "{" + ", ".join(f"{json.dumps(name, ensure_ascii=False)}: {value}" for name, value in members.items()) + "}"


def _unwritable(message: str) -> ServingError:
    return ServingError(Status.INVALID_ARGUMENT, message)


def _tokens(name: str, array: Array) -> list[str]:
    """The elements as JSON, in order; strings are base64 only if the output's name says bytes."""
    dtype = BY_NUMPY.get(array.dtype)
    number = dtype.number if dtype is not None else 0
    values = array.ravel().tolist()
    if number == STRING:
        if name.endswith("_bytes"):
            return [f'{{"b64": "{base64.b64encode(value).decode("ascii")}"}}' for value in values]
        return [json.dumps(value.decode("utf-8", "surrogateescape"), ensure_ascii=False) for value in values]
    if number == BOOL:
        return ["true" if value else "false" for value in values]
    if number in INTEGERS:
        return [str(value) for value in values]
    if number in FLOATS:
        return decimals(values, FLOATS[number][0])
    raise _unwritable(f"Failed to write JSON value for tensor type: {dtype_name(number)}")


def decimals(values: list[float], kind: type[np.floating[Any]]) -> list[str]:
    """Six digits if these are the number, else all of them, with `.0` or an exponent: 0.1, 3.0, 9e+06, 0.333333343."""
    short = [f"{value:g}" for value in values]
    same = np.array([float(token) for token in short], kind) == np.array(values, kind)
    digits = 9 if kind is np.float32 else 17
    tokens = [
        token if equal else f"{value:.{digits}g}" for token, equal, value in zip(short, same, values, strict=True)
    ]
    return [NON_FINITE.get(token) or (token if "." in token or "e" in token else token + ".0") for token in tokens]
