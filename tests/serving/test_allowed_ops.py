"""What a TensorFlow Serving image does not know is not exported. That our exports pass, every test of exports shows."""

from __future__ import annotations

import pathlib
from typing import Any

import pytest
import tensorflow as tf
import tensorflow_text as tf_text
from tensorflow.python.framework import op_def_registry

from serving import allowed_ops, export
from serving.allowed_ops import ForeignOpError, check_ops
from serving.card import Card
from serving.search import Decoding
from tests.serving.exports import TEXTS, served


def trim(text: tf.Tensor) -> tf.Tensor:
    """Text [n] -> its first three words, by an op that came to the images late."""
    words = tf_text.WhitespaceTokenizer().tokenize(text)
    (trimmed,) = tf_text.RoundRobinTrimmer(3).trim([words])
    return tf.strings.reduce_join(trimmed, axis=-1, separator=" ")


def saved(path: pathlib.Path, function: Any) -> pathlib.Path:
    """A SavedModel of a function of text."""
    module = tf.Module()
    module.inner = tf.function(function)
    module.outer = tf.function(lambda text: {"text": module.inner(text)})
    signature = module.outer.get_concrete_function(tf.TensorSpec([None], tf.string, "text"))
    tf.saved_model.save(module, str(path), signatures=signature)
    return path


def test_an_op_of_a_later_image_is_named_with_its_function_and_image(tmp_path: pathlib.Path) -> None:
    path = saved(tmp_path / "1", trim)
    with pytest.raises(ForeignOpError) as refused:
        check_ops(path, "2.19.1")
    first, *rest = str(refused.value).splitlines()
    assert first == "ops that tensorflow/serving:2.19.1 does not have:"
    assert len(rest) == 1
    assert rest[0].startswith("  TFText>RoundRobinTrim in the function __inference_")
    assert rest[0].endswith(": in the images from 2.20.0")
    check_ops(path, "2.20.0")


def test_an_op_of_no_image_is_refused(tmp_path: pathlib.Path) -> None:
    path = saved(tmp_path / "1", lambda text: tf_text.StateBasedSentenceBreaker().break_sentences(text).to_tensor(""))
    with pytest.raises(ForeignOpError, match=r"SentenceFragmentsV2 in the function .*: in no image that is known"):
        check_ops(path, "2.20.0")


def test_an_op_of_tensorflows_own_tests_is_refused(tmp_path: pathlib.Path) -> None:
    """The wheel registers it, so the registry alone would let it through."""
    path = saved(tmp_path / "1", lambda text: text)
    model = allowed_ops.saved_model_pb2.SavedModel.FromString((path / "saved_model.pb").read_bytes())
    model.meta_graphs[0].graph_def.node.add(name="odd", op="TestStringOutput")
    (path / "saved_model.pb").write_bytes(model.SerializeToString())
    with pytest.raises(ForeignOpError, match="TestStringOutput in the graph itself"):
        check_ops(path)


ALWAYS = (
    "SentencepieceTokenizeOp", "TFText>FastSentencepieceTokenize", "WordpieceTokenizeWithOffsets",
    "FastWordpieceTokenizeWithOffsets", "NormalizeUTF8", "CaseFoldUTF8", "RegexSplitWithOffsets",
    "WhitespaceTokenizeWithOffsets", "UnicodeScriptTokenizeWithOffsets", "TFText>ByteSplitWithOffsets",
    "TFText>NgramsStringJoin", "TFText>BoiseTagsToOffsets", "ConstrainedSequence",
)  # fmt: skip
SINCE_2_20 = ("TFText>RoundRobinTrim", "TFText>RoundRobinGenerateMasks", "TFText>Utf8Binarize")


@pytest.mark.parametrize("op", [*ALWAYS, *SINCE_2_20])
def test_which_images_have_which_of_tensorflow_texts_ops(op: str, tmp_path: pathlib.Path) -> None:
    model = allowed_ops.saved_model_pb2.SavedModel()
    model.meta_graphs.add().graph_def.node.add(name="it", op=op)
    (tmp_path / "saved_model.pb").write_bytes(model.SerializeToString())
    check_ops(tmp_path, "2.20.0")
    for image in ("2.16.1", "2.19.1"):
        if op in ALWAYS:
            check_ops(tmp_path, image)
        else:
            with pytest.raises(ForeignOpError, match=f"{op} in the graph itself: in the images from 2.20.0"):
                check_ops(tmp_path, image)


def test_save_refuses_and_leaves_nothing(tmp_path: pathlib.Path) -> None:
    class Trimming(export.ServedModel):
        def _text(self, tokens: tf.Tensor) -> tf.Tensor:
            text = super()._text(tokens)
            return tf.reshape(trim(tf.reshape(text, [-1])), tf.shape(text))

    with pytest.raises(ForeignOpError, match="RoundRobinTrim"):
        export.save(served(Decoding(beam_size=2), kind=Trimming), tmp_path / "1", Card("tiny", "1", "word"), TEXTS)
    assert not (tmp_path / "1").exists()


def test_the_names_of_tensorflow_texts_ops_are_right() -> None:
    """They are registered, and TensorFlow's own list does not have them although tensorflow_text is imported here."""
    for op in allowed_ops.TEXT_OPS:
        assert op_def_registry.get(op) is not None and not hasattr(tf.raw_ops, op)
