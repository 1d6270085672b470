"""SentencePiece in a graph."""

from __future__ import annotations

import hashlib

import tensorflow as tf
import tensorflow_text


def tokenizer(model: bytes, add_end: bool = False) -> tensorflow_text.SentencepieceTokenizer:
    """The tokeniser of a SentencePiece model, safe beside others: string [n] -> int32 ragged [n, pieces], and back.

    The op's resource is known by the name of its node, process-wide. Two tokenisers in one SavedModel, or in two that
    one process loads, would silently be the first of them (`tf.saved_model.load`; TensorFlow Serving's loader renames
    nodes). So the name holds a digest of the model: the same name means the same pieces.
    """
    digest = hashlib.sha256(model).hexdigest()[:16]
    return tensorflow_text.SentencepieceTokenizer(model, add_eos=add_end, name=f"sentencepiece_{digest}")


class SourceIds(tf.Module):
    """Text [n] -> int64 ragged [n, source], pieces and END: as the graph of Transform has them."""

    def __init__(self, model: bytes) -> None:
        super().__init__()
        self._tokenizer = tokenizer(model, add_end=True)

    def __call__(self, text: tf.Tensor) -> tf.RaggedTensor:
        return tf.cast(self._tokenizer.tokenize(text), tf.int64)
