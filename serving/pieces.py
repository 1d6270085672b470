"""SentencePiece in a graph."""

from __future__ import annotations

import hashlib

import tensorflow_text


def tokenizer(model: bytes, add_end: bool = False) -> tensorflow_text.SentencepieceTokenizer:
    """The tokeniser of a SentencePiece model, safe beside others: string [n] -> int32 ragged [n, pieces], and back.

    The op's resource is known by the name of its node, process-wide. Two tokenisers in one SavedModel, or in two that
    one process loads, would silently be the first of them (`tf.saved_model.load`; TensorFlow Serving's loader renames
    nodes). So the name holds a digest of the model: the same name means the same pieces.
    """
    digest = hashlib.sha256(model).hexdigest()[:16]
    return tensorflow_text.SentencepieceTokenizer(model, add_eos=add_end, name=f"sentencepiece_{digest}")
