"""Every attention mechanism against NumPy, one row and one query after the other, as its paper writes it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from models.attention import Attended, Attention
from tests.models.attention_cases import BATCH, NAMES, QUERY, SOURCE, arrays, ask, make

Array = np.ndarray
Score = Callable[[Attention, Array, Array], float]  # a query, a key
Oracle = Callable[[Attention, Array, Array, Array], Array]  # queries, values, mask of a row -> weights [query, source]


def sigmoid(x: Any) -> Any:
    return 1 / (1 + np.exp(-x))


def softmax(scores: list[float], allowed: Array) -> Array:
    exponents = np.exp(np.array(scores) - np.max(scores)) * allowed
    return exponents / exponents.sum()


def kernel(layer: Any) -> Array:
    return layer.kernel.numpy()


def dot(layer: Attention, query: Array, key: Array) -> float:
    return query @ key


def scaled_dot(layer: Attention, query: Array, key: Array) -> float:
    return query @ key / np.sqrt(len(query))


def general(layer: Any, query: Array, key: Array) -> float:
    return query @ (key @ kernel(layer.keys))


def concat(layer: Any, query: Array, key: Array) -> float:
    return np.tanh(np.concatenate([query, key]) @ layer.kernel.numpy()) @ kernel(layer.energy)[:, 0]


def additive(layer: Any, query: Array, key: Array, extra: Array | float = 0.0) -> float:
    """v . tanh(W query + U key + extra)."""
    hidden = np.tanh(query @ kernel(layer.queries) + key @ kernel(layer.keys) + extra)
    return hidden @ kernel(layer.energy)[:, 0]


def scored(score: Score) -> Oracle:
    def weigh(layer: Attention, queries: Array, values: Array, mask: Array) -> Array:
        return np.array([softmax([score(layer, query, key) for key in values], mask) for query in queries])

    return weigh


def location(layer: Any, queries: Array, values: Array, mask: Array) -> Array:
    filters = layer.filters.numpy()[:, 0]  # [width, filters]
    half = len(filters) // 2
    rows = [np.zeros(SOURCE)]
    for query in queries:
        scores = []
        for j in range(SOURCE):
            seen = np.zeros(filters.shape[1])
            for r, weights in enumerate(filters):
                if 0 <= j + r - half < SOURCE:
                    seen += weights * rows[-1][j + r - half]
            moved = seen @ kernel(layer.locations) + layer.additive.queries.bias.numpy()
            scores.append(additive(layer.additive, query, values[j], moved))
        rows.append(softmax(scores, mask))
    return np.array(rows[1:])


def coverage(layer: Any, queries: Array, values: Array, mask: Array) -> Array:
    covered, rows = np.zeros(SOURCE), []
    for query in queries:
        extra = [covered[j] * kernel(layer.covered)[0] + layer.additive.queries.bias.numpy() for j in range(SOURCE)]
        rows.append(softmax([additive(layer.additive, query, values[j], extra[j]) for j in range(SOURCE)], mask))
        covered = covered + rows[-1]
    return np.array(rows)


def local_m(layer: Any, queries: Array, values: Array, mask: Array) -> Array:
    rows = []
    for t, query in enumerate(queries):
        centre = min(t, max(np.flatnonzero(mask)))
        near = np.array([abs(s - centre) <= layer.config.window for s in range(SOURCE)])
        rows.append(softmax([general(layer.general, query, key) for key in values], mask & near))
    return np.array(rows)


def local_p(layer: Any, queries: Array, values: Array, mask: Array) -> Array:
    length, window, rows = max(np.flatnonzero(mask)) + 1, layer.config.window, []
    for query in queries:
        centre = length * sigmoid(np.tanh(query @ kernel(layer.hidden)) @ kernel(layer.centre)[:, 0])
        distance = np.arange(SOURCE) - centre
        align = softmax([general(layer.general, query, key) for key in values], mask & (abs(distance) <= window))
        product = align * np.exp(-(distance**2) / (2 * (window / 2) ** 2))
        rows.append(product / product.sum())
    return np.array(rows)


def gmm(layer: Any, queries: Array, values: Array, mask: Array) -> Array:
    def softplus(x: Array, at_zero: float) -> Array:
        return np.log1p((np.exp(at_zero) - 1) * np.exp(x))

    means, read, rows = -np.ones(layer.config.components), np.zeros(values.shape[-1]), []
    for query in queries:
        said = np.concatenate([query, read]) @ kernel(layer.mixture) + layer.mixture.bias.numpy()
        share, step, width = np.split(said, 3)
        means = means + softplus(step, 1.0)
        sigma = np.maximum(softplus(width, layer.config.width), 0.1)
        density = [np.exp(-(((j - means) / sigma) ** 2) / 2) / (np.sqrt(2 * np.pi) * sigma) for j in range(SOURCE)]
        weights = np.array(density) @ softmax(share, np.ones_like(share)) * mask
        rows.append(weights / weights.sum())
        read = rows[-1] @ values
    return np.array(rows)


def energy(layer: Any, query: Array, key: Array) -> float:
    """Of monotonic attention: g v / |v| . tanh(W query + V key + b) + r."""
    hidden = np.tanh(query @ kernel(layer.queries) + key @ kernel(layer.keys) + layer.keys.bias.numpy())
    direction = layer.direction.numpy()[:, 0]
    return layer.gain.numpy() * (direction / np.linalg.norm(direction)) @ hidden + layer.bias.numpy()


def monotonic(layer: Any, queries: Array, values: Array, mask: Array) -> Array:
    """The test-time process: go on from where the query before stopped, until a position says stop."""
    rows, stopped = np.zeros((QUERY, SOURCE)), 0
    for number, query in enumerate(queries):
        position = stopped
        while position < SOURCE and not (mask[position] and sigmoid(energy(layer, query, values[position])) >= 0.5):
            position += 1
        if position < SOURCE:
            rows[number, position] = 1
        stopped = position
    return rows


def hard(layer: Any, queries: Array, values: Array, mask: Array) -> Array:
    soft = scored(additive)(layer.additive, queries, values, mask)
    return np.eye(SOURCE)[soft.argmax(axis=-1)]


def heads(layer: Any, queries: Array, values: Array, mask: Array) -> tuple[Array, Array]:
    """Vaswani 2017, section 3.2.2, head by head -> (contexts, weights, their mean)."""
    size = layer.depth // layer.heads
    contexts, rows = [], []
    for query in queries:
        parts, weights = [], []
        for head in range(layer.heads):
            mine = slice(head * size, (head + 1) * size)
            q, k, v = (kernel(part)[:, mine] for part in (layer.queries, layer.keys, layer.values))
            weights.append(softmax([(query @ q) @ (value @ k) / np.sqrt(size) for value in values], mask))
            parts.append(weights[-1] @ (values @ v))
        contexts.append(np.concatenate(parts) @ kernel(layer.contexts))
        rows.append(np.mean(weights, axis=0))
    return np.array(contexts), np.array(rows)


def ends(values: Array, mask: Array) -> Array:
    """The forward half where a row ends, the backward half where it begins."""
    real, half = np.flatnonzero(mask), values.shape[-1] // 2
    return np.concatenate([values[real[-1], :half], values[real[0], half:]])


ORACLES: dict[str, Oracle] = {
    "additive": scored(additive),
    "concat": scored(concat),
    "coverage": coverage,
    "dot": scored(dot),
    "general": scored(general),
    "gmm": gmm,
    "hard": hard,
    "local_m": local_m,
    "local_p": local_p,
    "location": location,
    "monotonic": monotonic,
    "scaled_dot": scored(scaled_dot),
}
OTHERS = {"multi_head", "none"}  # their context is not the mean of the values with the weights that they report


def answers(name: str, seed: int) -> tuple[Attention, tuple[Array, Array, Array], Attended]:
    layer, given = make(name), arrays(name, seed)
    return layer, given, ask(layer, *given)


def test_every_mechanism_has_an_oracle() -> None:
    assert sorted({*ORACLES, *OTHERS}) == NAMES


@pytest.mark.parametrize("name", sorted(ORACLES))
@pytest.mark.parametrize("seed", [0, 1])
def test_matches_numpy(name: str, seed: int) -> None:
    layer, given, answer = answers(name, seed)
    for row, (queries, values, mask) in enumerate(zip(*given, strict=True)):
        expected = ORACLES[name](layer, queries, values, mask)
        np.testing.assert_allclose(answer.weights[row], expected, atol=1e-5)
        np.testing.assert_allclose(answer.context[row], expected @ values, atol=1e-4)


def test_multi_head_matches_numpy() -> None:
    layer, given, answer = answers("multi_head", 0)
    for row, (queries, values, mask) in enumerate(zip(*given, strict=True)):
        contexts, weights = heads(layer, queries, values, mask)
        np.testing.assert_allclose(answer.weights[row], weights, atol=1e-5)
        np.testing.assert_allclose(answer.context[row], contexts, atol=1e-4)


def test_none_matches_numpy() -> None:
    _, (_, values, mask), answer = answers("none", 0)
    for row in range(BATCH):
        expected = np.broadcast_to(ends(values[row], mask[row]), answer.context[row].shape)
        np.testing.assert_array_equal(answer.context[row], expected)


def test_the_window_of_local_m_stays_on_the_source() -> None:
    """Queries 0 to 6 of a source of three positions, a window of one to either side."""
    layer = make("local_m")
    _, values, _ = arrays("local_m")
    mask = np.tile(np.arange(SOURCE) < 3, (BATCH, 1))
    query = np.random.default_rng(0).normal(size=(BATCH, 7, layer.depth)).astype(np.float32)
    seen = ask(layer, query, values, mask).weights[0].numpy() > 0
    assert [list(np.flatnonzero(row)) for row in seen] == [[0, 1], [0, 1, 2]] + 5 * [[1, 2]]


def test_coverage_costs_what_is_looked_at_twice() -> None:
    layer = make("coverage", loss_weight=2.0)
    weights = np.random.default_rng(0).dirichlet(np.ones(SOURCE), (BATCH, QUERY)).astype(np.float32)
    real = np.array([[True, True, True], [True, True, False]])
    expected = 0.0
    for row in range(BATCH):
        covered = np.zeros(SOURCE)
        for t in range(QUERY):
            expected += 2.0 * real[row, t] * sum(min(weights[row, t, j], covered[j]) for j in range(SOURCE))
            covered += weights[row, t]
    loss = layer.loss(weights, None, np.zeros((BATCH, QUERY), np.float32), real)
    np.testing.assert_allclose(loss, expected, rtol=1e-5)
    assert expected > 1
