"""A SavedModel in this process, behind the same `predict` as the client of a server."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence

import numpy as np
import tensorflow as tf
import tensorflow_text  # noqa: F401  its ops are in the graph

from serving.errors import ServingError, Status
from serving.saved_model import serving_error
from serving.signatures import SERVING_DEFAULT, Asked


class LocalModel:
    """An exported model, loaded.

    ``LocalModel(path).predict("serving_default", {"text": ["fovea"]})`` -> ``{"text": array(["F OW V IY AH"]), ...}``
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self._loaded = tf.saved_model.load(os.fspath(path))

    @property
    def signatures(self) -> frozenset[str]:
        """What it can be asked: models of older versions know fewer."""
        return frozenset(self._loaded.signatures)

    @property
    def input(self) -> str:
        """What it calls what it is asked with: "text" or "audio"."""
        _, specs = self._loaded.signatures[SERVING_DEFAULT].structured_input_signature
        (name,) = specs
        return str(name)

    def predict(self, signature: str, inputs: Mapping[str, Sequence[Asked] | Sequence[int]]) -> dict[str, np.ndarray]:
        """Run a signature; texts go in and come out as str. What it refuses is a ServingError, as a client has it."""
        function = self._loaded.signatures.get(signature)
        if function is None:
            raise ServingError(Status.FAILED_PRECONDITION, f'Serving signature key "{signature}" not found.')
        _, specs = function.structured_input_signature
        tensors = {name: tf.constant(list(values), specs[name].dtype) for name, values in inputs.items()}
        try:
            outputs = function(**tensors)
        except tf.errors.OpError as error:
            raise serving_error(error) from error
        return {name: _decoded(value.numpy()) for name, value in outputs.items()}


def _decoded(array: np.ndarray) -> np.ndarray:
    if array.dtype != object:
        return array
    return np.array([value.decode() for value in array.ravel()], dtype=object).reshape(array.shape)
