"""The operations of tensorflow-text, for graphs that have them; its Python package would import Keras."""

from __future__ import annotations

import importlib.util
import pathlib

import tensorflow as tf


def register() -> None:
    """Load them, once or again."""
    spec = importlib.util.find_spec("tensorflow_text")
    assert spec and spec.submodule_search_locations
    for library in sorted(pathlib.Path(spec.submodule_search_locations[0]).glob("python/ops/*.so")):
        tf.load_op_library(str(library))
