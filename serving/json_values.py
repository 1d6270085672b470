"""JSON values as TensorFlow Serving reads and names them, whichever request they are in."""

from __future__ import annotations

import base64
import binascii
import json
import math
from typing import Any

import numpy as np

from serving.errors import ServingError, Status
from serving.tensors import dtype_name

FLOATS: dict[int, tuple[type[np.floating[Any]], int]] = {
    1: (np.float32, 2**24 - 1),
    2: (np.float64, 2**53 - 1),
}  # dtype -> type, largest integer that it takes
MOST_SHOWN = 2**16  # characters: far more than a person reads, and far less than a request may have
TOO_BIG = "JSON Parse error: Number too big to be stored in double."
NARROWEST, WIDEST = -(2**63), 2**64 - 1  # a JSON number without fraction or exponent beyond these is a double


class Constant(float):
    """NaN, Infinity or -Infinity, written as such; a float that is infinite otherwise was too long a number."""


def invalid(message: str) -> ServingError:
    """The error of a request that is not right."""
    return ServingError(Status.INVALID_ARGUMENT, message)


def shown(value: Any) -> str:
    """A value as messages have it; of a very large or deep one the beginning."""
    text: list[str] = []
    size = 0
    for part in json.JSONEncoder(indent=4, ensure_ascii=False).iterencode(value):  # no more of it than is wanted
        text.append(part[: MOST_SHOWN - size])
        size += len(part)
        if size > MOST_SHOWN:
            return "".join(text) + "..."
    return "".join(text)


def kind(value: Any) -> str:
    """The kind of a value as messages have it: True -> "True", 1.0 -> "Number"."""
    kinds = {type(None): "Null", bool: str(value), dict: "Object", list: "Array", str: "String"}
    return kinds.get(type(value), "Number")


def type_error(value: Any, dtype: int) -> ServingError:
    """The error of a value that is not of a tensor's type."""
    return invalid(f"JSON Value: {shown(value)} Type: {kind(value)} is not of expected type: {dtype_name(dtype)}")


def is_integer(value: Any) -> bool:
    """Whether a value is a whole number that 64 bits hold."""
    return type(value) is int and NARROWEST <= value <= WIDEST


def read_float(value: Any, dtype: int) -> float:
    """A number for a tensor of floats; one that the type does not hold is an error."""
    float_type, largest_integer = FLOATS[dtype]
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise type_error(value, dtype)
    try:
        number = float(value)
    except OverflowError as error:
        raise invalid(TOO_BIG) from error
    if math.isinf(number) and not isinstance(value, Constant):
        raise invalid(TOO_BIG)
    lossless = abs(value) <= largest_integer if is_integer(value) else abs(number) <= float(np.finfo(float_type).max)
    if math.isfinite(number) and not lossless:
        raise invalid(f"Cannot convert JSON value: {shown(value)} to {dtype_name(dtype)} without loss of precision.")
    return number


def utf8(text: str) -> bytes:
    """The bytes of a JSON string."""
    try:
        return text.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError as error:
        raise invalid("JSON Parse error: The surrogate pair in string is invalid.") from error


def is_base64(value: Any) -> bool:
    """Whether a value is bytes: {"b64": "aGk="}."""
    return isinstance(value, dict) and len(value) == 1 and isinstance(value.get("b64"), str)


def from_base64(value: dict[str, Any]) -> bytes:
    """{"b64": "aGk="} -> b"hi"."""
    if not is_base64(value):
        raise invalid(f"JSON Value: {shown(value)} not formatted correctly for base64 data")
    text = "".join(value["b64"].split()).rstrip("=")
    try:
        return base64.b64decode(text + "=" * (-len(text) % 4), validate=True)
    except (binascii.Error, ValueError) as error:
        raise invalid("Unable to base64 decode") from error
