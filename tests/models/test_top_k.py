"""The best of many against NumPy's sort."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from models.top_k import top_k


@settings(max_examples=30, deadline=None)
@given(
    size=st.sampled_from([7, 1024, 1025, 1031, 4999, 10_000]),  # sorted at once; tables that are full and that are not
    k=st.integers(1, 7),
    seed=st.integers(0, 2**16),
    ties=st.booleans(),
)
def test_the_best_and_their_places(size: int, k: int, seed: int, ties: bool) -> None:
    random = np.random.default_rng(seed)
    values = random.permutation(6 * size).reshape(2, 3, size).astype(np.float32)
    if ties:
        values //= 50
    best, places = (part.numpy() for part in top_k(tf.constant(values), k))
    np.testing.assert_array_equal(best, -np.sort(-values, axis=-1)[..., :k])
    np.testing.assert_array_equal(np.take_along_axis(values, places, axis=-1), best)
    assert all(len(set(row)) == k for row in places.reshape(-1, k))


@pytest.mark.parametrize("jit_compile", [False, True])
def test_a_graph_of_any_batch_and_places_that_exist_where_few_may_come(jit_compile: bool) -> None:
    values = np.full((2, 1, 1031), -np.inf, np.float32)
    values[0, 0, 1030] = 5.0
    found = tf.function(
        lambda x: top_k(x, 3), input_signature=[tf.TensorSpec([None, None, 1031])], jit_compile=jit_compile
    )
    best, places = found(values)
    np.testing.assert_array_equal(best[:, 0], [[5.0, -np.inf, -np.inf], [-np.inf] * 3])
    assert places[0, 0, 0] == 1030 and (places.numpy() < 1031).all()
