"""The layer that is reported is the one that points at what an answer needs."""

from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf

from components import alignment_layer
from models import zoo
from models.contract import DECODER_IDS, END, PAD, SOURCE_IDS, TARGET_IDS, UNK, Decoded, Length, Nest, Seq2Seq, Step

SIZE = 9


class Copier(Seq2Seq):
    """Says its source; layer 0 looks one piece too far, layer 1 at the piece that is said, layer 2 at the first."""

    alignment_choices = (0, 1, 2)

    def encode(self, source_ids: tf.Tensor, training: bool = False) -> Nest:
        raise NotImplementedError

    def start(self, memory: Nest, length: Length) -> Nest:
        raise NotImplementedError

    def step(self, tokens: tf.Tensor, state: Nest, memory: Nest) -> Step:
        raise NotImplementedError

    def call(self, inputs: dict[str, tf.Tensor], training: bool = False) -> Decoded:
        source, (rows, target) = inputs[SOURCE_IDS], tf.unstack(tf.shape(inputs[DECODER_IDS]))
        places = {0: tf.range(target) + 1, 1: tf.range(target), 2: tf.zeros([target], tf.int32)}[self.alignment_layer]
        weights = tf.one_hot(tf.minimum(places, tf.shape(source)[1] - 1), tf.shape(source)[1])
        return Decoded(tf.one_hot(source, SIZE, 5.0, 0.0), tf.repeat(weights[None], rows, axis=0))


def batch(*rows: list[int]) -> dict[str, np.ndarray]:
    """Answers that are their sources."""
    ids = tf.ragged.constant([[*row, END] for row in rows], dtype=tf.int32).to_tensor(PAD).numpy()
    return {SOURCE_IDS: ids, TARGET_IDS: ids}


def test_what_an_answer_misses_is_what_it_says_again() -> None:
    one = batch([5, 7, UNK, 6], [8])
    said = alignment_layer.likelihood(Copier())
    missed = alignment_layer.most_missed(said, tf.constant(one[SOURCE_IDS]), tf.constant(one[TARGET_IDS]))
    # An unknown piece cannot be erased; END and PAD come from nowhere.
    assert missed.tolist() == [[0, 1, -1, 3, -1], [0, -1, -1, -1, -1]]


def test_the_layer_that_points_there_is_chosen() -> None:
    model = Copier()
    shares = alignment_layer.choose(model, [batch([5, 7, 6], [8, 4]), batch([4])])
    assert shares == {0: 0.0, 1: 1.0, 2: pytest.approx(3 / 6)}
    assert model.alignment_layer == 1


@pytest.mark.parametrize(("family", "options"), [("rnn", {}), ("transformer", {"alignment_layer": 2})])
def test_where_there_is_one_or_it_is_given_nothing_is_chosen(family: str, options: dict[str, int]) -> None:
    module = zoo.load(family)
    model = module.build(module.Config(units=8, **options), SIZE, SIZE)
    before = model.alignment_layer
    assert alignment_layer.choose(model, [batch([5])]) == {} and model.alignment_layer == before


def test_a_transformer_chooses_among_all_its_layers() -> None:
    keras.utils.set_random_seed(1)
    module = zoo.load("transformer")
    model = module.build(module.Config(units=8, heads=2, encoder_layers=1, decoder_layers=3), SIZE, SIZE)
    shares = alignment_layer.choose(model, [batch([5, 7, 6], [8, 4])])
    assert sorted(shares) == [0, 1, 2]
    assert shares[model.alignment_layer] == max(shares.values())
