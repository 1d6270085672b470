"""What every model family promises, checked for every family and for each of its shapes below."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from models import attention, walk, zoo
from models.audio import Audio
from models.beam import beam_search
from models.contract import DECODER_IDS, END, FRAMES, PAD, START, Seq2Seq
from models.decoding import Hypotheses
from models.listener import Config as ListenerConfig
from models.listener import Convolution
from models.losses import label_smoothed_cross_entropy
from models.walk import Leaving

# What is heard: 7 numbers a frame, as they are, so that every weight of the model is one of the model's own.
AUDIO = Audio(kind="features", depth=7, normalize="none", deltas=1)
PYRAMID = ListenerConfig(units=6, layers=2, reduce_after=(1,))

# The shapes in which a family is checked: between them every choice that its config has.
CONFIGS: dict[str, list[dict[str, Any]]] = {
    "classifier": [
        {"pooling": "attention", "word_dropout": 0.2},
        {"pooling": "structured", "hops": 3, "hop_penalty": 0.1, "layers": 2},
        {"pooling": "gated", "audio": AUDIO, "convolution": Convolution(channels=5, strides=(2, 1))},
        {"pooling": "max", "audio": AUDIO, "layers": 2, "reduce_after": (1,), "cell": "gru"},
    ],
    "las": [
        {"cell": "lstm"},
        {"cell": "gru", "attend": "after", "input_feeding": True, "ctc_decoding_weight": 0.0, "layer_norm": True},
        {"ctc_weight": 0.0, "ctc_decoding_weight": 0.0, "attention": "general", "attend": "after", "layers": 2},
        {
            "tie_embeddings": "output",
            "listener": ListenerConfig("gru", 6, 2, (1,), 5, True, Convolution(channels=5, strides=(2, 1))),
        },
    ],
    "memory_network": [
        {"hops": 3, "tie_embeddings": "all"},
        {"hops": 1, "tie_embeddings": "output"},
    ],
    "rnn": [
        *({"attention": name, "attend": "after"} for name in attention.names()),
        *({"attention": name, "attend": "before"} for name in ("additive", "location", "hard", "none")),
        {"attention": "general", "cell": "simple", "encoder_layers": 2, "residual": True, "layer_norm": True},
        {"attention": "dot", "cell": "lstm", "decoder_layers": 2, "residual": True, "tie_embeddings": "output"},
        {"attention": "additive", "attend": "before", "cell": "lstm", "encoder_layers": 2, "decoder_layers": 3},
        {"attention": "general", "input_feeding": True, "layer_norm": True, "tie_embeddings": "all"},
        {"attention": "location", "input_feeding": True, "cell": "lstm", "decoder_layers": 2},
        {"attention": "coverage", "attend": "before", "copy": True, "tie_embeddings": "all"},
        {"attention": "monotonic", "values": "embedded", "start": "zeros", "embedding": 20},
    ],
    "transformer": [
        {"norm": "pre"},
        {"norm": "post", "learned_positions": 9, "tie_embeddings": "all"},
        {"norm": "pre", "tie_embeddings": "output", "alignment_layer": 2, "encoder_layers": 2},
        {"norm": "post", "decoder_layers": 1},
    ],
}
SMALL = {
    "classifier": {"units": 20, "embedding": 13},
    "las": {"units": 20, "embedding": 13, "listener": PYRAMID, "audio": AUDIO},
    # A window that is longer than the target has weights that learn nothing from it.
    "memory_network": {"units": 20, "window": 4},
    "rnn": {"units": 20, "embedding": 13},
    "transformer": {"units": 20, "heads": 4, "feed_forward": 23, "encoder_layers": 1, "decoder_layers": 2},
}
SOURCE_VOCABULARY, TARGET_VOCABULARY = 17, 19
BATCH, SOURCE, TARGET = 3, 7, 5
HEARD = (20, 29)  # frames of a recording, at least and at most
SOMETIMES_NOTHING = ("none", "monotonic")  # may attend to nothing at all


def _name(value: object) -> str:
    """Of an option, for people: of a section, what it is."""
    return type(value).__name__ if dataclasses.is_dataclass(value) else str(value)


EVERY = [
    pytest.param(family, options, id=f"{family}-{'-'.join(map(_name, options.values()))}")
    for family, shapes in CONFIGS.items()
    for options in shapes
]
# XLA takes its time to compile: not for a mechanism alone, which test_attention.py compiles.
COMPILED = [
    each for each in EVERY if each.values[1].keys() - {"attention", "attend", "encoder_layers", "decoder_layers"}
]


def test_every_family_is_checked() -> None:
    assert sorted(CONFIGS) == zoo.families(), "a family of models/zoo has no entry in CONFIGS, or the reverse"


@functools.cache
def resting(family: str, shape: str) -> Seq2Seq:
    """The model of one of EVERY, for a test that does not train it."""
    options = next(each.values[1] for each in EVERY if each.values[0] == family and str(each.values[1]) == shape)
    keras.utils.set_random_seed(1)
    return build(family, options)


def build(family: str, options: dict[str, Any], **more: Any) -> Seq2Seq:
    module = zoo.load(family)
    options = {**SMALL[family], **options, **more}
    audio = options.pop("audio", None)
    config = module.Config(**options)
    assert ("audio" if audio else "text") in config.reads
    return module.build(
        config, audio or (TARGET_VOCABULARY if config.shared_pieces else SOURCE_VOCABULARY), TARGET_VOCABULARY
    )


def ids(rng: np.random.Generator, length: int, vocabulary: int, shortest: int = 2) -> np.ndarray:
    """Pieces, END, PAD: int32 [batch, length]; the first row is as long as can be."""
    rows = rng.integers(END + 1, vocabulary, (BATCH, length))
    ends = np.concatenate([[length], rng.integers(shortest, length + 1, BATCH - 1)])[:, None] - 1
    return np.where(np.arange(length) < ends, rows, np.where(np.arange(length) == ends, END, PAD)).astype(np.int32)


def frames(rng: np.random.Generator) -> np.ndarray:
    """Noise, and the column that says where it is: float32 [batch, frames, depth + 1]; the first row is the longest."""
    shortest, longest = HEARD
    lengths = np.concatenate([[longest], rng.integers(shortest, longest + 1, BATCH - 1)])
    real = np.arange(longest) < lengths[:, None]
    heard = rng.normal(size=(BATCH, longest, AUDIO.frame_depth)) * real[..., None]
    return np.concatenate([heard, real[..., None]], axis=-1).astype(np.float32)


def length_of(source: np.ndarray) -> int:
    """How much of a row of a source is there."""
    return np.count_nonzero(source if source.ndim == 1 else source[:, -1])


def batch(model: Seq2Seq, seed: int = 0) -> tuple[dict[str, np.ndarray], np.ndarray]:
    rng = np.random.default_rng(seed)
    source = frames(rng) if model.source.name == FRAMES else ids(rng, SOURCE, SOURCE_VOCABULARY)
    # A classifier's answer is one piece and END.
    target = ids(rng, 2 if model.name == "classifier" else TARGET, TARGET_VOCABULARY)
    decoder = np.concatenate([np.full((BATCH, 1), START, np.int32), target[:, :-1]], axis=1)
    return {model.source.name: source, DECODER_IDS: np.where(decoder == END, PAD, decoder)}, target


def decode(model: Seq2Seq, source: tf.Tensor, beam_size: int = 3, leaving: Leaving = "none") -> Hypotheses:
    return beam_search(
        model.step,
        model.start,
        model.encode(source),
        batch_size=tf.shape(source)[0],
        beam_size=beam_size,
        max_length=TARGET,
        length_penalty=0.6,
        leaving=leaving,
    )


class Trainer:
    """A training step in a graph, for shapes that are not known before."""

    def __init__(self, model: Seq2Seq, learning_rate: float = 0.02, jit_compile: bool = False) -> None:
        self.model = model
        self.optimizer = keras.optimizers.Adam(learning_rate)
        self.optimizer.build(model.trainable_variables)
        ids = tf.TensorSpec([None, None], tf.int32)
        signature = [model.source, ids, ids]
        self.step = tf.function(self._step, input_signature=signature, autograph=False, jit_compile=jit_compile)

    def _step(self, source: tf.Tensor, decoder: tf.Tensor, target: tf.Tensor) -> tuple[tf.Tensor, list[tf.Tensor]]:
        with tf.GradientTape() as tape:
            decoded = self.model({self.model.source.name: source, DECODER_IDS: decoder}, training=True)
            total, pieces = label_smoothed_cross_entropy(target, decoded.logits, 0.0)
            loss = (total + self.model.auxiliary_loss(decoded, target)) / pieces
        gradients = tape.gradient(loss, self.model.trainable_variables)
        self.optimizer.apply_gradients(zip(gradients, self.model.trainable_variables, strict=True))
        return total / pieces, [tf.convert_to_tensor(gradient) for gradient in gradients]

    def fit(self, steps: int) -> float:
        inputs, target = batch(self.model)
        losses = [self.step(*inputs.values(), target)[0] for _ in range(steps)]
        return float(losses[-1])


@pytest.fixture
def mixed_bfloat16() -> Iterator[None]:
    policy = keras.config.dtype_policy()
    keras.config.set_dtype_policy("mixed_bfloat16")
    yield
    keras.config.set_dtype_policy(policy)


@pytest.mark.parametrize(("family", "options"), EVERY)
def test_what_a_batch_gives(family: str, options: dict[str, Any]) -> None:
    model = resting(family, str(options))
    inputs, target = batch(model)
    logits, attention = model(inputs)[:2]
    mask = model.source_mask(inputs[model.source.name])
    assert (logits.shape, logits.dtype) == ((*target.shape, TARGET_VOCABULARY), tf.float32)
    assert (attention.shape, attention.dtype) == ((*target.shape, mask.shape[1]), tf.float32)
    looked = tf.reduce_sum(attention, axis=-1)
    if options.get("attention") in SOMETIMES_NOTHING:
        assert np.all(looked < 1 + 1e-5)
    else:
        np.testing.assert_allclose(looked, np.ones(target.shape), atol=1e-5)
    padding = np.broadcast_to(~np.asarray(mask)[:, None], attention.shape)
    assert not attention.numpy()[padding].any()


@pytest.mark.parametrize(("family", "options"), EVERY)
def test_every_weight_learns_one_batch_by_heart_and_it_is_decoded(family: str, options: dict[str, Any]) -> None:
    keras.utils.set_random_seed(1)
    model = build(family, options, dropout=0.0)
    trainer = Trainer(model)
    inputs, target = batch(model)
    _, gradients = trainer.step(*inputs.values(), target)
    for gradient, weight in zip(gradients, model.trainable_variables, strict=True):
        assert np.isfinite(gradient).all() and np.abs(gradient).max() > 0, weight.path
    assert any(trainer.fit(80) < 0.05 for _ in range(6))  # the embeddings as output projection take the longest
    for beam_size in (1, 3):
        tokens = decode(model, tf.constant(inputs[model.source.name]), beam_size).tokens
        np.testing.assert_array_equal(tokens[:, 0, : target.shape[1]], target)


@pytest.mark.parametrize(("family", "options"), EVERY)
def test_a_step_says_what_the_whole_says(family: str, options: dict[str, Any]) -> None:
    model = resting(family, str(options))
    inputs, _ = batch(model)
    # Two hypotheses a row: the row's own pieces and the pieces of the row before it.
    said = [inputs[DECODER_IDS], np.roll(inputs[DECODER_IDS], 1, axis=0)]
    wholes = [model({**inputs, DECODER_IDS: ids}) for ids in said]
    memory, decoder = model.encode(tf.constant(inputs[model.source.name])), tf.stack(said, axis=1)
    state = tf.nest.map_structure(lambda leaf: tf.repeat(leaf[:, None], 2, axis=1), model.start(memory, TARGET))
    for time in range(decoder.shape[2]):
        step = model.step(decoder[:, :, time], state, memory)
        tf.nest.assert_same_structure(step.state, state)
        state = step.state
        assert step.logits.shape == (BATCH, 2, TARGET_VOCABULARY)
        for beam, whole in enumerate(wholes):
            np.testing.assert_allclose(step.logits[:, beam], whole.logits[:, time], atol=1e-4)
            np.testing.assert_allclose(step.attention[:, beam], whole.attention[:, time], atol=1e-5)


@pytest.mark.parametrize(("family", "options"), EVERY)
def test_the_scores_of_a_search_are_those_of_its_answers(family: str, options: dict[str, Any]) -> None:
    """A state that does not follow its hypothesis, or has room for too few steps, gives others."""
    model = resting(family, str(options))
    source = batch(model)[0][model.source.name]
    found = decode(model, tf.constant(source))
    for beam in range(found.tokens.shape[1]):
        target = found.tokens[:, beam].numpy()
        decoder = np.concatenate([np.full((BATCH, 1), START, np.int32), target[:, :-1]], axis=1)
        logits = model({model.source.name: source, DECODER_IDS: decoder}).logits
        total, _ = label_smoothed_cross_entropy(target, logits, 0.0)
        lengths = np.count_nonzero(target, axis=1)
        scores = found.scores[:, beam] * ((5 + lengths) / 6) ** 0.6
        np.testing.assert_allclose(-np.sum(scores), total, rtol=1e-4)


@pytest.mark.parametrize(("family", "options"), EVERY)
@settings(max_examples=5, deadline=None)
@given(seed=st.integers(0, 2**16), source=st.integers(0, 3), target=st.integers(0, 3))
def test_padding_never_changes_an_output(
    family: str, options: dict[str, Any], seed: int, source: int, target: int
) -> None:
    model = resting(family, str(options))
    inputs, _ = batch(model, seed)
    logits, attention = model(inputs)[:2]
    more = zip(inputs.items(), (source, target), strict=True)
    padded = model({name: np.pad(x, [(0, 0), (0, n), (0, 0)][: x.ndim]) for (name, x), n in more})
    _, steps, positions = attention.shape
    np.testing.assert_allclose(padded.logits[:, :steps], logits, atol=1e-4)
    np.testing.assert_allclose(padded.attention[:, :steps, :positions], attention, atol=1e-5)


@pytest.mark.parametrize(("family", "options"), EVERY)
@settings(max_examples=5, deadline=None)
@given(seed=st.integers(0, 2**16), time=st.integers(0, TARGET - 1))
def test_the_future_never_changes_the_past(family: str, options: dict[str, Any], seed: int, time: int) -> None:
    model = resting(family, str(options))
    inputs, _ = batch(model, seed)
    logits, attention = model(inputs)[:2]
    other = inputs[DECODER_IDS].copy()
    other[:, time:] = np.random.default_rng(seed).integers(END + 1, TARGET_VOCABULARY, other[:, time:].shape)
    changed = model({**inputs, DECODER_IDS: other})
    np.testing.assert_allclose(changed.logits[:, :time], logits[:, :time], atol=1e-5)
    np.testing.assert_allclose(changed.attention[:, :time], attention[:, :time], atol=1e-5)


@pytest.mark.parametrize(("family", "options"), EVERY)
def test_a_row_alone_is_decoded_as_in_a_batch(family: str, options: dict[str, Any]) -> None:
    model = resting(family, str(options))
    source = batch(model)[0][model.source.name]
    together = decode(model, tf.constant(source))
    for row in range(BATCH):
        alone = decode(model, tf.constant(source[row : row + 1, : length_of(source[row])]))
        np.testing.assert_array_equal(alone.tokens[0], together.tokens[row])
        np.testing.assert_allclose(alone.scores[0], together.scores[row], rtol=1e-4)


@pytest.mark.parametrize(("family", "options"), EVERY)
def test_weights_are_saved_and_restored(family: str, options: dict[str, Any], tmp_path: Path) -> None:
    model, other, third = (build(family, options) for _ in range(3))
    inputs, _ = batch(model)
    expected = model(inputs).logits
    assert np.abs(other(inputs).logits - expected).max() > 1e-3
    saved = tf.train.Checkpoint(model=model).save(str(tmp_path / "weights"))
    tf.train.Checkpoint(model=other).restore(saved).assert_consumed()
    np.testing.assert_array_equal(other(inputs).logits, expected)
    model.save_weights(tmp_path / "model.weights.h5")
    third.load_weights(tmp_path / "model.weights.h5")
    np.testing.assert_array_equal(third(inputs).logits, expected)


@pytest.mark.parametrize(("family", "options"), EVERY)
def test_a_saved_model_decodes_alike(
    family: str, options: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(walk, "ROOM", 2)  # the state grows
    model = resting(family, str(options))

    class Export(tf.Module):
        def __init__(self) -> None:
            super().__init__()
            self.model = model

        @tf.function(input_signature=[model.source])
        def decode(self, source: tf.Tensor) -> Hypotheses:
            return decode(model, source, leaving="any")

    tf.saved_model.save(Export(), str(tmp_path))
    loaded = tf.saved_model.load(str(tmp_path))
    for seed in range(2):
        source = tf.constant(batch(model, seed)[0][model.source.name])
        found, expected = loaded.decode(source), decode(model, source)
        np.testing.assert_array_equal(found.tokens, expected.tokens)
        np.testing.assert_allclose(found.scores, expected.scores, rtol=1e-4)


@pytest.mark.parametrize(("family", "options"), EVERY)
def test_frozen_weights_say_the_same(family: str, options: dict[str, Any]) -> None:
    model = build(family, options)
    source = tf.constant(batch(model)[0][model.source.name])
    expected = decode(model, source)
    frozen = model.freeze()
    found = decode(model, source)
    np.testing.assert_array_equal(found.tokens, expected.tokens)
    np.testing.assert_allclose(found.scores, expected.scores, rtol=1e-4)
    assert not any(variable.trainable for variable in frozen)
    for variable in frozen:  # it is read
        variable.assign(tf.random.stateless_normal(variable.shape, (1, 2)))
    if frozen:
        assert np.abs(decode(model, source).scores - found.scores).max() > 1e-3


@pytest.mark.parametrize(("family", "options"), COMPILED)
def test_training_compiles_with_xla(family: str, options: dict[str, Any]) -> None:
    model = build(family, options, dropout=0.5)
    inputs, target = batch(model)
    loss, gradients = Trainer(model, jit_compile=True).step(*inputs.values(), target)
    assert np.isfinite(loss) and all(np.isfinite(gradient).all() for gradient in gradients)


@pytest.mark.parametrize(("family", "options"), COMPILED)
def test_decoding_compiles_with_xla(family: str, options: dict[str, Any]) -> None:
    model = resting(family, str(options))
    source = tf.constant(batch(model)[0][model.source.name])
    search = tf.function(lambda heard: decode(model, heard, leaving="halves"), jit_compile=True, autograph=False)
    found = search(source)
    expected = decode(model, source)
    np.testing.assert_array_equal(found.tokens, expected.tokens)
    np.testing.assert_allclose(found.scores, expected.scores, rtol=1e-4)


@pytest.mark.parametrize(("family", "options"), EVERY)
def test_mixed_precision_trains_and_decodes(family: str, options: dict[str, Any], mixed_bfloat16: None) -> None:
    model = build(family, options)
    inputs, _ = batch(model)
    logits, attention = model(inputs)[:2]
    assert {weight.dtype for weight in model.trainable_variables} == {"float32"}
    assert (logits.dtype, attention.dtype) == (tf.float32, tf.float32)
    trainer = Trainer(model)
    first = trainer.fit(1)
    assert trainer.fit(8) < first
    assert np.isfinite(decode(model, tf.constant(inputs[model.source.name])).scores).all()


@pytest.mark.parametrize(("family", "options"), EVERY)
def test_dropout_is_for_training_only(family: str, options: dict[str, Any]) -> None:
    model = build(family, options, dropout=0.5)
    inputs, _ = batch(model)
    expected = model(inputs).logits
    np.testing.assert_array_equal(model(inputs, training=False).logits, expected)
    assert np.abs(model(inputs, training=True).logits - expected).max() > 1e-3
