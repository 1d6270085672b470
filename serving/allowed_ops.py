"""The ops that a TensorFlow Serving image knows: an export that holds others loads here and breaks in production.

    check_ops(pathlib.Path("export"))
    ForeignOpError: ops that tensorflow/serving:2.16.1 does not have:
      TFText>RoundRobinTrim in the function __inference_best_41: in the images from 2.20.0

Three ways to know TensorFlow's own ops were looked at. The op registry of this process holds whatever any library has
registered since (tensorflow_text when it is imported, and there is no order of imports to rely on), and the ops of
TensorFlow's own tests besides, which its wheel links and no server does. The list in a SavedModel's meta data
(`stripped_op_list`) leaves out ops of functions that are called by functions. `tf.raw_ops` is written from the registry
when TensorFlow is built: no library adds to it, and tests' ops are not in it. So that is asked, and what it lacks must
be named here.
"""

from __future__ import annotations

import pathlib
from collections.abc import Iterator

import tensorflow as tf
from tensorflow.core.protobuf import saved_model_pb2

# Exports run on this image and all that came after it. tests/test_compose.py holds the compose file's image against it.
OLDEST_IMAGE = "2.16.1"

# In `tf.raw_ops` of TensorFlow 2.21 and not of 2.16 (ops of TPUs aside); which images have them was not looked up.
NEWER = frozenset(
    {
        "CheckPinned",
        "DecodeJxl",
        "DecodeWebP",
        "GlobalShuffleDataset",
        "IndexFlatMapDataset",
        "IteratorGetModelProto",
        "WeightedFlatMapDataset",
    }
)

# tensorflow-text's ops -> the first image that links them.
TEXT_OPS = {
    **dict.fromkeys(
        (
            "SentencepieceOp",
            "SentencepieceTokenizeOp",
            "SentencepieceTokenizeWithOffsetsOp",
            "SentencepieceDetokenizeOp",
            "SentencepieceIdToStringOp",
            "SentencepieceStringToIdOp",
            "SentencepieceVocabSizeOp",
            "TFText>FastSentencepieceTokenize",
            "TFText>FastSentencepieceDetokenize",
            "WordpieceTokenizeWithOffsets",
            "FastWordpieceTokenizeWithOffsets",
            "TFText>FastWordpieceDetokenize",
            "NormalizeUTF8",
            "NormalizeUTF8WithOffsetsMap",
            "FindSourceOffsets",
            "CaseFoldUTF8",
            "RegexSplitWithOffsets",
            "WhitespaceTokenizeWithOffsets",
            "TFText>WhitespaceTokenizeWithOffsetsV2",
            "UnicodeScriptTokenizeWithOffsets",
            "TFText>ByteSplitWithOffsets",
            "TFText>ByteSplitByOffsets",
            "TFText>NgramsStringJoin",
            "TFText>BoiseTagsToOffsets",
            "TFText>OffsetsToBoiseTags",
            "ConstrainedSequence",
        ),
        OLDEST_IMAGE,
    ),
    "TFText>RoundRobinTrim": "2.20.0",
    "TFText>RoundRobinGenerateMasks": "2.20.0",
    "TFText>Utf8Binarize": "2.20.0",
}


class ForeignOpError(ValueError):
    """A graph holds ops that the image it is meant for does not have."""


def check_ops(saved_model: pathlib.Path, image: str = OLDEST_IMAGE) -> None:
    """Raise ForeignOpError if the SavedModel holds an op that `tensorflow/serving:<image>` does not have."""
    content = (saved_model / "saved_model.pb").read_bytes()
    foreign: dict[str, str] = {}
    for meta_graph in saved_model_pb2.SavedModel.FromString(content).meta_graphs:
        own = {function.signature.name for function in meta_graph.graph_def.library.function}  # a call by its name
        for op, where in _ops(meta_graph.graph_def):
            if op not in own and not _has(image, op):
                foreign.setdefault(op, f"  {op} in {where}: {_images(op)}")
    if foreign:
        lines = [f"ops that tensorflow/serving:{image} does not have:", *(foreign[op] for op in sorted(foreign))]
        raise ForeignOpError("\n".join(lines))


def _ops(graph: tf.compat.v1.GraphDef) -> Iterator[tuple[str, str]]:
    """Every op of a graph and of its library, and where it is."""
    for node in graph.node:
        yield node.op, "the graph itself"
    for function in graph.library.function:
        for node in function.node_def:
            yield node.op, f"the function {function.signature.name}"


def _has(image: str, op: str) -> bool:
    if op in TEXT_OPS:
        return version_of(TEXT_OPS[op]) <= version_of(image)
    return op not in NEWER and hasattr(tf.raw_ops, op)


def _images(op: str) -> str:
    """The images that have it, in words."""
    if op in TEXT_OPS:
        return f"in the images from {TEXT_OPS[op]}"
    return "in no image that is known (serving/allowed_ops.py lists them)"


def version_of(image: str) -> tuple[int, ...]:
    """An image's tag as numbers, "2.20.0" -> (2, 20, 0)."""
    return tuple(int(part) for part in image.split("."))
