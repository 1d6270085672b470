"""Recurrent layers against NumPy written out."""

from __future__ import annotations

import gc
import weakref
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from models.recurrent import CELLS, Cell, Encoder, Layers, Stack

BATCH, TIME, DEPTH, UNITS = 2, 5, 7, 3


def sigmoid(x: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-x))


def gates(cell: Cell, inputs: np.ndarray, hidden: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """What comes from the inputs and what comes from the state, normalised where the cell normalises."""
    parts = inputs @ cell.inputs.kernel.numpy(), hidden @ cell.recurrent_kernel.numpy()
    if cell.input_norm:
        parts = tuple(normal(norm, part) for norm, part in zip((cell.input_norm, cell.state_norm), parts, strict=True))
    return parts[0] + cell.bias.numpy(), parts[1]


def normal(norm: keras.layers.Layer, gates: np.ndarray) -> np.ndarray:
    """Ba 2016, eq. 4, gate by gate."""
    rows = [(gate - gate.mean()) / np.sqrt(gate.var() + 1e-5) for gate in np.split(gates, norm.gates)]
    return np.concatenate(rows) * norm.gain.numpy()


def simple(cell: Cell, inputs: np.ndarray, hidden: np.ndarray) -> tuple[np.ndarray]:
    return (np.tanh(sum(gates(cell, inputs, hidden))),)


def gru(cell: Cell, inputs: np.ndarray, hidden: np.ndarray) -> tuple[np.ndarray]:
    """One step of one row."""
    (xz, xr, xh), (hz, hr, hh) = (np.split(part, 3) for part in gates(cell, inputs, hidden))
    update, reset = sigmoid(xz + hz), sigmoid(xr + hr)
    candidate = np.tanh(xh + reset * (hh + cell.candidate_bias.numpy()))
    return (update * hidden + (1 - update) * candidate,)


def lstm(cell: Cell, inputs: np.ndarray, hidden: np.ndarray, memory: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    write, forget, candidate, read = np.split(sum(gates(cell, inputs, hidden)), 4)
    memory = sigmoid(forget) * memory + sigmoid(write) * np.tanh(candidate)
    return sigmoid(read) * np.tanh(memory), memory


ORACLES = {"simple": simple, "gru": gru, "lstm": lstm}
LAYER_NORM = pytest.mark.parametrize("layer_norm", [False, True], ids=["plain", "layer_norm"])


def shape(cell: str, units: int, layers: int = 1, **more: Any) -> Layers:
    return Layers(
        **{"cell": cell, "units": units, "layers": layers, "dropout": 0.5, "residual": False, "layer_norm": False}
        | more
    )


def expected(name: str, cell: Cell, row: np.ndarray) -> np.ndarray:
    """Every output of one row without padding, [time, depth] -> [time, units]."""
    state = (np.zeros(cell.units),) * cell.parts
    outputs = []
    for inputs in row:
        state = ORACLES[name](cell, inputs, *state)
        outputs.append(state[0])
    return np.array(outputs)


def shake(layer: keras.Layer) -> None:
    """Biases start at zero, which would hide a bias that is left out."""
    rng = np.random.default_rng(7)
    for weight in layer.weights:
        weight.assign(weight.numpy() + rng.normal(size=weight.shape, scale=0.3))


def tolerance(layer_norm: bool) -> float:
    """The norm of so few units divides by a deviation that can be small, and so multiplies what rounding did."""
    return 1e-4 if layer_norm else 1e-5


def test_every_cell_has_an_oracle() -> None:
    assert sorted(ORACLES) == sorted(CELLS)


@LAYER_NORM
@pytest.mark.parametrize("residual", [False, True], ids=["stacked", "residual"])
@pytest.mark.parametrize("name", sorted(CELLS))
def test_encoder_matches_numpy_and_padding_is_not_read(name: str, residual: bool, layer_norm: bool) -> None:
    encoder = Encoder(shape(name, 2 * UNITS, 2, residual=residual, layer_norm=layer_norm), DEPTH)
    shake(encoder)
    inputs = np.random.default_rng(0).normal(size=(BATCH, TIME, DEPTH)).astype(np.float32)
    lengths = [TIME, 3]
    outputs, summary = encoder(inputs, tf.sequence_mask(lengths, TIME))
    for row, length in enumerate(lengths):
        below = inputs[row, :length]
        for forward, backward in zip(encoder.forwards, encoder.backwards, strict=True):
            behind = expected(name, backward, below[::-1])[::-1]
            above = np.concatenate([expected(name, forward, below), behind], axis=-1)
            below = above + below if residual and below.shape == above.shape else above
        atol = tolerance(layer_norm)
        np.testing.assert_allclose(outputs[row, :length], below, atol=atol)
        np.testing.assert_allclose(summary[row], np.concatenate([above[-1, :UNITS], above[0, UNITS:]]), atol=atol)


@pytest.mark.parametrize("name", sorted(CELLS))
@settings(max_examples=10, deadline=None)
@given(seed=st.integers(0, 2**16), padding=st.integers(1, 3), fill=st.floats(-1e3, 1e3, width=32))
def test_padding_never_changes_an_output(name: str, seed: int, padding: int, fill: float) -> None:
    encoder = Encoder(shape(name, 2 * UNITS), DEPTH)
    inputs = np.random.default_rng(seed).normal(size=(BATCH, TIME, DEPTH)).astype(np.float32)
    mask = np.ones((BATCH, TIME), bool)
    outputs, summary = encoder(inputs, mask)
    longer = np.concatenate([inputs, np.full((BATCH, padding, DEPTH), fill, np.float32)], axis=1)
    padded, padded_summary = encoder(longer, np.pad(mask, [(0, 0), (0, padding)]))
    np.testing.assert_allclose(padded[:, :TIME], outputs, atol=1e-6)
    np.testing.assert_allclose(padded_summary, summary, atol=1e-6)


@pytest.mark.parametrize("name", sorted(CELLS))
@pytest.mark.parametrize("layers", [1, 3])
@LAYER_NORM
def test_stack_steps_as_it_runs(name: str, layers: int, layer_norm: bool) -> None:
    stack = Stack(shape(name, UNITS, residual=True, layer_norm=layer_norm), DEPTH, layers)
    shake(stack)
    rng = np.random.default_rng(0)
    inputs = tf.constant(rng.normal(size=(BATCH, TIME, DEPTH)), tf.float32)
    parts = CELLS[name].parts
    start = [[tf.constant(rng.normal(size=(BATCH, UNITS)), tf.float32) for _ in range(parts)] for _ in range(layers)]
    outputs = stack(inputs, tuple(tuple(state) for state in start))
    states = tuple(tuple(part[:, None] for part in state) for state in start)
    for time in range(TIME):
        output, states = stack.step(inputs[:, time : time + 1], states)
        np.testing.assert_allclose(output[:, 0], outputs[:, time], atol=tolerance(layer_norm))


def test_the_forget_gate_starts_open() -> None:
    bias = CELLS["lstm"](DEPTH, UNITS).bias.numpy()
    np.testing.assert_array_equal(bias, [0] * UNITS + [1] * UNITS + [0] * 2 * UNITS)


def test_dropout_is_for_training_only() -> None:
    encoder = Encoder(shape("gru", 2 * UNITS, 2), DEPTH)
    inputs, mask = tf.ones([BATCH, TIME, DEPTH]), tf.ones([BATCH, TIME], tf.bool)
    resting, _ = encoder(inputs, mask)
    np.testing.assert_array_equal(resting, encoder(inputs, mask, training=False)[0])
    assert np.abs(resting - encoder(inputs, mask, training=True)[0]).max() > 1e-3


def test_an_odd_number_of_units_is_refused() -> None:
    with pytest.raises(ValueError, match="shared by two directions: got the odd 7"):
        Encoder(shape("gru", 7), DEPTH)


@LAYER_NORM
@pytest.mark.parametrize("training", [True, False], ids=["training", "resting"])
@pytest.mark.parametrize("reverse", [False, True], ids=["forwards", "backwards"])
@pytest.mark.parametrize("masked", [False, True], ids=["whole", "masked"])
@pytest.mark.parametrize("name", sorted(CELLS))
def test_the_gradient_of_a_loop_is_that_of_its_steps(
    name: str, masked: bool, reverse: bool, training: bool, layer_norm: bool
) -> None:
    cell = CELLS[name](DEPTH, UNITS, layer_norm)
    shake(cell)
    rng = np.random.default_rng(0)
    inputs = tf.constant(rng.normal(size=(TIME, BATCH, DEPTH)), tf.float32)
    start = tuple(tf.constant(rng.normal(size=(BATCH, UNITS)), tf.float32) for _ in range(cell.parts))
    mask = tf.constant(rng.random((TIME, BATCH)) < 0.6) if masked else None
    weight = tf.constant(rng.normal(size=(TIME, BATCH, UNITS)), tf.float32)

    def looped(inputs: tf.Tensor, *start: tf.Tensor) -> tuple[tf.Tensor, tuple[tf.Tensor, ...]]:
        return cell.run(inputs, start, mask, reverse, training)

    def stepped(inputs: tf.Tensor, *start: tf.Tensor) -> tuple[tf.Tensor, tuple[tf.Tensor, ...]]:
        state, outputs = start, {}
        for time in reversed(range(TIME)) if reverse else range(TIME):
            after = cell.advance(cell.project(inputs[time]), state)
            if mask is not None:
                after = tuple(tf.where(mask[time][:, None], new, old) for new, old in zip(after, state, strict=True))
            state, outputs[time] = after, after[0]
        return tf.stack([outputs[time] for time in range(TIME)]), state

    def gradients(run: Any) -> list[tf.Tensor]:
        with tf.GradientTape() as tape:
            tape.watch([inputs, *start])
            outputs, last = run(inputs, *start)
            loss = tf.reduce_sum(outputs * weight) + tf.add_n([tf.reduce_sum(part**2) for part in last])
        return tape.gradient(loss, [inputs, *start, *(variable.value for variable in cell.trainable_variables)])

    found = tf.function(gradients, jit_compile=masked and reverse)(looped)
    for ours, expected in zip(found, gradients(stepped), strict=True):
        np.testing.assert_allclose(ours, expected, atol=10 * tolerance(layer_norm))


def test_a_graph_that_is_not_trained_is_freed() -> None:
    """TensorFlow keeps the graph of a gradient of one's own for good."""
    encoder = Encoder(shape("gru", 2 * UNITS), DEPTH)
    shapes = tf.TensorSpec([None, None, DEPTH]), tf.TensorSpec([None, None], tf.bool)
    graph = weakref.ref(tf.function(encoder.__call__).get_concrete_function(*shapes).graph)
    gc.collect()
    assert graph() is None
