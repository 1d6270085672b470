"""The score of decoded rows, for a model whose answers are known."""

from __future__ import annotations

import types
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from components import batches, metrics, tokenizer
from components.decoded_score import DecodedScore
from models.contract import DECODER_IDS, END, PAD, SOURCE_IDS, TARGET_IDS, Step
from serving.search import Decoding
from tests.components.toy import Toy, build

WORDS = {"AE": 7, "B": 6, "K": 5, "T": 3}


@pytest.fixture(scope="module")
def pieces() -> tokenizer.Tokenizers:
    trained = tokenizer.train(WORDS, tokenizer.Pieces(kind="word"))
    return tokenizer.Tokenizers(trained, trained)


def rows(pieces: tokenizer.Tokenizers, *pairs: tuple[str, str]) -> batches.Batch:
    tokenize = pieces.target(add_end=True).tokenize
    source, target = (tokenize(list(side)).to_tensor(PAD).numpy() for side in zip(*pairs, strict=True))
    return {SOURCE_IDS: source, TARGET_IDS: target, DECODER_IDS: batches.decoder_ids(target)}


def echo(vocabulary: int = 8) -> Any:
    """A model that says its source again, and END after its last piece."""

    def step(tokens: tf.Tensor, state: tf.Tensor, memory: tf.Tensor) -> Step:
        known = tf.concat([memory, tf.fill([tf.shape(memory)[0], 9], END)], axis=1)
        return Step(tf.one_hot(tf.gather(known, state, batch_dims=1), vocabulary, 50.0, 0.0), tf.zeros([]), state + 1)

    return types.SimpleNamespace(
        source=tf.TensorSpec([None, None], tf.int32, SOURCE_IDS),
        source_mask=lambda source_ids: source_ids != PAD,
        encode=lambda source_ids: source_ids,
        start=lambda memory, length: tf.zeros_like(memory[:, 0]),
        step=step,
    )


def score_of(
    name: metrics.Name, model: Any, of: list[batches.Batch], pieces: tokenizer.Tokenizers, **options: Any
) -> DecodedScore:
    settings = Decoding(**({"max_length_ratio": 1.0, "max_length_offset": 2} | options))
    return DecodedScore(name, "word", model, of, pieces.target(), settings)


def test_answers_are_held_against_the_target(pieces: tokenizer.Tokenizers) -> None:
    of = [rows(pieces, ("K AE B", "K AE T"), ("T", "T")), rows(pieces, ("AE AE", "B"), ("B AE", "B AE"))]
    echoing = echo()
    error_rate = score_of("sequence_error_rate", echoing, of, pieces)
    assert (error_rate.name, error_rate.higher_is_better) == ("sequence_error_rate", False)
    assert error_rate(echoing) == 0.5
    assert score_of("token_error_rate", echoing, of, pieces)(echoing) == pytest.approx((1 + 0 + 2 + 0) / 7)
    bleu = score_of("token_bleu", echoing, [rows(pieces, ("K AE B T B", "K AE B T B"))], pieces)
    assert bleu.higher_is_better and bleu(echoing) == pytest.approx(100.0)


def test_answers_are_as_long_as_the_export_lets_them_be(pieces: tokenizer.Tokenizers) -> None:
    of = [rows(pieces, ("K AE B T", "K AE B T"), ("B T", "B T"))]
    echoing = echo()
    assert score_of("token_error_rate", echoing, of, pieces, max_length_ratio=0.0)(echoing) == pytest.approx(2 / 6)


def test_the_weights_are_those_of_the_model_that_is_asked_about(pieces: tokenizer.Tokenizers) -> None:
    decoding, trained = Toy(), build()  # before the tokeniser: a new seed clears TensorFlow's resources
    of = [rows(pieces, ("K AE B T", "K AE B T"), ("B T", "B T"))]
    score = score_of("token_error_rate", decoding, of, pieces)
    trained.logits.bias.assign(np.eye(13, dtype=np.float32)[END] * 90)  # it says nothing
    assert score(trained) == 1.0
    trained.logits.bias.assign(np.eye(13, dtype=np.float32)[of[0][TARGET_IDS][0, 3]] * 90)  # T, and T again
    assert score(trained) > 1.0
    assert score_of("token_error_rate", trained, of, pieces)(trained) == score(trained)
