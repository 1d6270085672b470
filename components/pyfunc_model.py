"""An exported model as MLflow serves it: this file is copied beside it, and runs where nothing else of Fovea is.

{"text": ["fovea"]} -> {"text": ["F OW V IY AH"], "score": [-0.41]}
A model that listens is asked with {"audio": [b"RIFF..."]}.
"""

from __future__ import annotations

import typing

import mlflow.models
import mlflow.pyfunc
import pandas as pd

BATCH = 256


class ExportedModel(mlflow.pyfunc.PythonModel):
    """Answers a table of texts, or of recordings, by the SavedModel's own signature, as `fovea predict` does."""

    def load_context(self, context: typing.Any) -> None:
        """See MLflow, which goes by this very name."""
        import tensorflow as tf
        import tensorflow_text  # noqa: F401  its ops are in the graph

        self._tf = tf
        self._loaded = tf.saved_model.load(context.artifacts["saved_model"])
        self._answer = self._loaded.signatures["serving_default"]

    def predict(self, context: typing.Any, model_input: pd.DataFrame, params: typing.Any = None) -> pd.DataFrame:
        """See MLflow."""
        (name,) = self._answer.structured_input_signature[1]
        asked = list(model_input[name])
        answers: dict[str, list[typing.Any]] = {"text": [], "score": []}
        for first in range(0, len(asked), BATCH):
            found = self._answer(**{name: self._tf.constant(asked[first : first + BATCH])})
            answers["text"] += [text.decode() for text in found["text"].numpy()]
            answers["score"] += found["score"].numpy().tolist()
        return pd.DataFrame(answers)


mlflow.models.set_model(ExportedModel())
