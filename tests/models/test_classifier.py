"""The classifier: one piece and END, of a text or of a recording."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from models.audio import Audio
from models.beam import beam_search
from models.contract import DECODER_IDS, END, FRAMES, PAD, SOURCE_IDS, START, UNK
from models.zoo import classifier

SOURCE, CLASSES = 17, 11  # pieces of the source, and of the target with the special ones
AUDIO = Audio(kind="features", depth=5, normalize="none")


def build(source: int | Audio = SOURCE, **options: Any) -> classifier.Classifier:
    return classifier.build(classifier.Config(**{"units": 6, "embedding": 5, **options}), source, CLASSES)


def texts() -> np.ndarray:
    return np.array([[5, 9, 7, 8, END], [6, 4, END, PAD, PAD], [6, 16, 15, END, PAD]], np.int32)


def test_the_best_answers_are_the_likeliest_classes_with_their_log_probabilities() -> None:
    model = build()
    found = beam_search(
        model.step,
        model.start,
        model.encode(tf.constant(texts())),
        batch_size=3,
        beam_size=4,
        max_length=5,
    )
    said = tf.nn.log_softmax(model({SOURCE_IDS: texts(), DECODER_IDS: np.full((3, 1), START)}).logits[:, 0]).numpy()
    names = np.argsort(-said[:, END + 1 :], axis=1)[:, :4] + END + 1
    np.testing.assert_array_equal(found.tokens[..., 0], names)
    np.testing.assert_array_equal(found.tokens[..., 1], np.full((3, 4), END))
    assert not found.tokens[..., 2:].numpy().any()
    np.testing.assert_allclose(found.scores, np.take_along_axis(said, names, axis=1), atol=1e-5)


def test_an_answer_is_never_empty_and_ends_after_one_piece() -> None:
    logits = build()({SOURCE_IDS: texts(), DECODER_IDS: np.array([[START, 7]] * 3)}).logits
    chances = tf.nn.softmax(logits)[..., END].numpy()
    assert (chances[:, 0] < 1e-6).all() and (chances[:, 1] > 1 - 1e-6).all()


@pytest.mark.parametrize("options", [{"pooling": "structured", "hops": 3}, {"pooling": "max"}])
def test_where_it_looked_is_the_mean_over_the_hops_at_every_step(options: dict[str, Any]) -> None:
    model = build(**options)
    attention = model({SOURCE_IDS: texts(), DECODER_IDS: np.array([[START, 7]] * 3)}).attention
    weights = tf.reduce_mean(model.encode(tf.constant(texts())).weights, axis=1)
    np.testing.assert_allclose(attention, np.repeat(weights[:, None], 2, axis=1), atol=1e-6)


def test_hops_that_look_at_the_same_cost() -> None:
    model = build(pooling="structured", hops=3, hop_penalty=0.5)
    decoded = model({SOURCE_IDS: texts(), DECODER_IDS: np.array([[START, 7]] * 3)}, training=True)
    loss = model.auxiliary_loss(decoded, tf.constant([[7, END]] * 3))
    weights = model.encode(tf.constant(texts())).weights.numpy()  # the dropout is of other draws
    assert loss.numpy() == pytest.approx(0.5 * sum(np.linalg.norm(a @ a.T - np.eye(3)) ** 2 for a in weights), rel=0.3)
    assert build().auxiliary_loss(build()({SOURCE_IDS: texts(), DECODER_IDS: np.full((3, 1), START)}), None) == 0


def test_pieces_are_unknown_now_and_then_in_training_and_ends_never() -> None:
    dropout = classifier.WordDropout(0.5)
    pieces = np.tile(texts(), (100, 1))
    np.testing.assert_array_equal(dropout(pieces, training=False), pieces)
    dropped = dropout(pieces, training=True).numpy()
    changed = dropped != pieces
    assert set(dropped[changed]) == {UNK} and not changed[pieces <= END].any()
    assert changed[pieces > END].mean() == pytest.approx(0.5, abs=0.05)


def test_a_recording_is_looked_at_in_its_reduced_positions() -> None:
    model = build(AUDIO, layers=2, reduce_after=(1,))
    assert model.source.name == FRAMES and model.source.shape[-1] == AUDIO.frame_depth + 1
    frames = np.ones((2, 7, 6), np.float32)
    frames[1, 3:] = 0
    decoded = model({FRAMES: frames, DECODER_IDS: np.full((2, 1), START)})
    np.testing.assert_array_equal(model.source_mask(tf.constant(frames)), [[1, 1, 1, 1], [1, 1, 0, 0]])
    np.testing.assert_array_equal(decoded.attention[:, 0] > 0, [[1, 1, 1, 1], [1, 1, 0, 0]])


def test_a_text_is_not_made_shorter() -> None:
    with pytest.raises(ValueError, match="reduce_after and convolution are for recordings: every piece of a text"):
        build(reduce_after=(1,))


def test_hops_are_for_structured_pooling() -> None:
    with pytest.raises(ValueError, match="of pooling: structured: got 3 and 0 with pooling: gated"):
        classifier.Config(pooling="gated", hops=3)
