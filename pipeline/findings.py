"""What pydantic finds wrong with a section, in the words of someone who writes YAML.

{"units": "many"} as a mapping of units: int -> Problem("model.units", '"many": should be a valid integer')
"""

from __future__ import annotations

import dataclasses
import difflib
import json
import re
import types
import typing
from collections.abc import Mapping, Sequence

import pydantic
import pydantic_core


class Problem(typing.NamedTuple):
    """One thing that is wrong with a configuration."""

    path: str
    text: str


def validate(cls: type, document: Mapping[str, typing.Any], place: tuple[str, ...]) -> tuple[typing.Any, list[Problem]]:
    """An object of the class `cls` from what YAML holds at a place, or None and all that is wrong with it."""
    try:
        text = json.dumps(document)
    except TypeError as error:
        return None, [Problem(".".join(place) or "file", f"holds a value that JSON has not ({error})")]
    try:
        return pydantic.TypeAdapter(cls).validate_json(text, strict=True), []
    except pydantic.ValidationError as error:
        return None, _merged([_finding(cls, place, item) for item in error.errors()])


class _Finding(typing.NamedTuple):
    path: str
    value: str  # "" where the text speaks of it already
    text: str


def _finding(cls: type, place: tuple[str, ...], error: pydantic_core.ErrorDetails) -> _Finding:
    """One error of pydantic, in the words of someone who writes YAML."""
    keys = [str(key) for key in error["loc"]]
    if error["type"] == "unexpected_keyword_argument":
        return _Finding(".".join((*place, *keys)), "", f"unknown key; {_nearest(keys[-1], _fields(cls, keys[:-1]))}")
    path = ".".join((*place, *_real_keys(cls, keys))) or "file"
    if error["type"] == "missing":
        return _Finding(path, "", "is missing")
    if error["type"] == "literal_error":
        allowed = [name.strip("'") for name in error["ctx"]["expected"].replace(" or ", ", ").split(", ")]
        return _Finding(path, "", unknown(error["input"], allowed))
    if error["type"] == "value_error":
        return _Finding(path, "", str(error["ctx"]["error"]))
    value = json.dumps(error["input"], ensure_ascii=False)
    text = error["msg"].replace("Input should", "should").replace("String should", "should")
    return _Finding(path, value if len(value) <= 60 else value[:57] + "...", text)


def _merged(findings: Sequence[_Finding]) -> list[Problem]:
    """A value that fits no part of a union makes a finding a part: one problem with all that is allowed."""
    by_value: dict[tuple[str, str], list[str]] = {}
    for finding in findings:
        by_value.setdefault((finding.path, finding.value), []).append(finding.text)
    return [
        Problem(path, f"{value}: {', or '.join(texts)}" if value else "; ".join(texts))
        for (path, value), texts in by_value.items()
    ]


def _real_keys(cls: type, keys: Sequence[str]) -> list[str]:
    """The keys that YAML has: pydantic adds the names of types where a union has parts."""
    types = ("str", "int", "float", "bool", "list", "dict", "tuple")
    real: list[str] = []
    for key in keys:
        is_field = key in _fields(cls, real)
        # "tuple[int, ...]" and classes are types; a key may be a path, such as "model.units".
        if not is_field and (key in types or key[:1].isupper() or not re.fullmatch(r"[\w.]+", key)):
            continue
        real.append(key)
    return real


def _fields(cls: typing.Any, keys: Sequence[str]) -> list[str]:
    """The names of the fields of the dataclass at this place, [] where there is none."""
    for key in keys:
        hints = typing.get_type_hints(cls) if dataclasses.is_dataclass(cls) else {}
        cls = next((part for part in _parts(hints.get(key)) if dataclasses.is_dataclass(part)), None)
    return [field.name for field in dataclasses.fields(cls)] if dataclasses.is_dataclass(cls) else []


def _parts(hint: typing.Any) -> tuple[typing.Any, ...]:
    union = typing.get_origin(hint) in (typing.Union, types.UnionType)
    return typing.get_args(hint) if union else (hint,)


def unknown(value: typing.Any, allowed: Sequence[str]) -> str:
    """What to say of a name that is not known."""
    return f"{json.dumps(value)} is not known; {_nearest(str(value), allowed)}"


def _nearest(value: str, allowed: Sequence[str]) -> str:
    close = difflib.get_close_matches(value, allowed, n=1)
    hint = f"did you mean {close[0]!r}? " if close else ""
    return f"{hint}allowed: {', '.join(allowed)}"
