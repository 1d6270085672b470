"""YAML as people mean it: 1e-3 is a number, and a key that is there twice is an error.

load("rate: 1e-3") -> {"rate": 0.001}, where YAML 1.1 has the text "1e-3"
"""

from __future__ import annotations

import re
import typing

import yaml


class _Loader(yaml.SafeLoader):
    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[typing.Hashable, typing.Any]:
        seen: set[str] = set()
        for key in (key for key, _ in node.value if isinstance(key, yaml.ScalarNode)):
            if key.value in seen:
                twice = f"the key {key.value!r} is there twice"
                raise yaml.constructor.ConstructorError(None, None, twice, key.start_mark)
            seen.add(key.value)
        return super().construct_mapping(node, deep)


_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float", re.compile(r"[-+]?[0-9]+(\.[0-9]*)?[eE][-+]?[0-9]+$"), list("-+0123456789")
)


def load(text: str) -> typing.Any:
    """The one document of a text.

    Raises:
        yaml.YAMLError: it is none; the message says where.
    """
    return yaml.load(text, _Loader)
