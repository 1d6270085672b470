"""What a model says of a given answer, and where it looks for each piece."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from models import zoo
from models.contract import DECODER_IDS, END, PAD, SOURCE_IDS, START, Seq2Seq
from models.forced import force

SOURCE_IDS_OF_TWO = np.array([[5, 9, 7, END], [8, END, PAD, PAD]], np.int32)
TARGET_IDS_OF_TWO = np.array([[6, 4, 8, END], [7, END, PAD, PAD]], np.int32)
DECODER_IDS_OF_TWO = np.array([[START, 6, 4, 8], [START, 7, END, PAD]], np.int32)


def build(family: str) -> Seq2Seq:
    module = zoo.load(family)
    return module.build(module.Config(units=8), 11, 13)


@pytest.mark.parametrize("family", [name for name in zoo.families() if "text" in zoo.load(name).Config.reads])
def test_log_probabilities_are_those_of_the_whole_model(family: str) -> None:
    model = build(family)
    logits, weights = model({SOURCE_IDS: SOURCE_IDS_OF_TWO, DECODER_IDS: DECODER_IDS_OF_TWO})[:2]
    forced = force(model, tf.constant(SOURCE_IDS_OF_TWO), tf.constant(TARGET_IDS_OF_TWO))
    expected = np.take_along_axis(tf.nn.log_softmax(logits).numpy(), TARGET_IDS_OF_TWO[..., None], -1)[..., 0]
    real = TARGET_IDS_OF_TWO != PAD
    np.testing.assert_allclose(forced.log_probabilities, expected * real, atol=1e-5)
    np.testing.assert_allclose(forced.looked, (weights * real[..., None]).numpy().sum(1), atol=1e-5)


def test_a_recurrent_decoder_is_aligned_by_the_step_that_says_the_piece() -> None:
    model = build("rnn")
    weights = model({SOURCE_IDS: SOURCE_IDS_OF_TWO, DECODER_IDS: DECODER_IDS_OF_TWO}).attention.numpy()
    forced = force(model, tf.constant(SOURCE_IDS_OF_TWO), tf.constant(TARGET_IDS_OF_TWO))
    np.testing.assert_allclose(forced.attention[0], weights[0], atol=1e-6)
    np.testing.assert_allclose(forced.attention[1], np.concatenate([weights[1, :2], np.zeros((2, 4))]), atol=1e-6)


def test_a_transformer_is_aligned_by_the_step_that_is_given_the_piece() -> None:
    model = build("transformer")
    weights = model({SOURCE_IDS: SOURCE_IDS_OF_TWO, DECODER_IDS: DECODER_IDS_OF_TWO}).attention.numpy()
    forced = force(model, tf.constant(SOURCE_IDS_OF_TWO), tf.constant(TARGET_IDS_OF_TWO)).attention.numpy()
    np.testing.assert_allclose(forced[0], weights[0, [1, 2, 3, 3]], atol=1e-6)  # END is said and not given
    np.testing.assert_allclose(forced[1, :2], weights[1, [1, 1]], atol=1e-6)
    assert not forced[1, 2:].any()
