"""Configuration as JSON: how a section travels in a component's execution properties.

to_json(Pieces(kind="word"))                        -> '{"character_coverage": 1.0, "kind": "word", ...}'
from_json(Pieces, {"kind": "word"})                 -> Pieces(kind="word", ...)
from_json(Pieces, {"kind": "wrod"})                 -> ValidationError: kind: Input should be 'char', 'word', ...
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, TypeVar

import pydantic

Settings = TypeVar("Settings")


def from_json(cls: type[Settings], data: str | Mapping[str, Any]) -> Settings:
    """A checked configuration from JSON, or from what JSON holds (lists become tuples, "3" is not 3)."""
    text = data if isinstance(data, str) else json.dumps(data)
    return pydantic.TypeAdapter(cls).validate_json(text, strict=True)


def to_json(config: Any) -> str:
    """The same text for equal configurations: it is part of a component's cache key."""
    return json.dumps(pydantic.TypeAdapter(type(config)).dump_python(config, mode="json"), sort_keys=True)


def options(section: Mapping[str, Any]) -> dict[str, Any]:
    """What a section that is found by name says beside its name: {"name": "rnn", "units": 64} -> {"units": 64}."""
    return {key: value for key, value in section.items() if key != "name"}
