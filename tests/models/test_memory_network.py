"""The memory network against NumPy written out; what every family promises is in tests/conformance."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from models.contract import DECODER_IDS, SOURCE_IDS
from models.zoo import memory_network
from models.zoo.memory_network import Window

UNITS, HOPS, WIDTH, VOCABULARY = 6, 3, 4, 11
SOURCE, DECODER = np.array([[5, 9, 7, 3], [8, 3, 0, 0]]), np.array([[2, 7, 4, 5, 6], [2, 9, 3, 0, 0]])


def windows(pattern: np.ndarray, embedded: np.ndarray) -> np.ndarray:
    """Of one row: [time, depth] -> [time, depth]."""
    return np.stack(
        [
            sum(pattern[back] * embedded[time - back] for back in range(len(pattern)) if back <= time)
            for time in range(len(embedded))
        ]
    )


def test_the_model_is_the_paper_written_out() -> None:
    config = memory_network.Config(units=UNITS, hops=HOPS, window=WIDTH)
    model = memory_network.build(config, VOCABULARY, VOCABULARY)
    rng = np.random.default_rng(5)
    for weight in model.trainable_variables:  # biases start where leaving them out would not be seen
        weight.assign(rng.normal(size=weight.shape) * 0.5)
    logits, looked = model({SOURCE_IDS: SOURCE, DECODER_IDS: DECODER})[:2]
    for row, pieces in enumerate([4, 2]):
        embedded = model.source_embedding.embeddings.numpy()[SOURCE[row, :pieces]] * UNITS**0.5
        memories = windows(model.memories.pattern.numpy(), embedded)
        memories += np.arange(pieces)[:, None] / 8 * model.time.numpy()
        said = model.target_embedding.embeddings.numpy()[DECODER[row]] * UNITS**0.5
        question = windows(model.questions.pattern.numpy(), said)
        for _ in range(HOPS):
            powers = np.exp(question @ model.ask.kernel.numpy() @ memories.T / UNITS**0.5)
            weights = powers / powers.sum(-1, keepdims=True)
            answer = weights @ memories @ model.take.kernel.numpy()
            question = question @ model.carry.kernel.numpy() + model.carry.bias.numpy() + answer
        expected = question @ model.output_logits.kernel.numpy() + model.output_logits.bias.numpy()
        np.testing.assert_allclose(logits[row], expected, rtol=1e-3, atol=1e-4)
        np.testing.assert_allclose(looked[row, :, :pieces], weights, atol=1e-4)


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 2**16), length=st.integers(1, 9), width=st.integers(1, 9), changed=st.integers(0, 8))
def test_a_window_sees_its_pieces_and_no_others(seed: int, length: int, width: int, changed: int) -> None:
    changed = min(changed, length - 1)
    window, rng = Window(2, width), np.random.default_rng(seed)
    window.pattern.assign(rng.uniform(1, 2, (width, 2)))
    inputs = rng.normal(size=(1, length, 2)).astype(np.float32)
    other = inputs.copy()
    other[:, changed] += 1
    differ = np.any(window(inputs).numpy() != window(other).numpy(), axis=(0, 2))
    np.testing.assert_array_equal(np.flatnonzero(differ), np.arange(changed, min(changed + width, length)))


def test_half_of_a_window_starts_as_a_bag_of_words() -> None:
    pattern = Window(6, 4).pattern.numpy()
    np.testing.assert_array_equal(pattern[:, :3], np.full((4, 3), 0.5))
    assert len(np.unique(pattern[:, 3:])) == 12
