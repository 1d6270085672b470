"""What must hold for every attention mechanism, whatever it does."""

from __future__ import annotations

import keras
import numpy as np
import pydantic
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from models import attention
from models.attention import Attended, Keys, masked_softmax
from models.recurrence import scan
from tests.models.attention_cases import BATCH, CASES, NAMES, QUERY, SOURCE, arrays, ask, make, one_by_one, prepare

AT_ONCE = [name for name in NAMES if not attention.find(name).recurrent]
WITHOUT_ORDER = ["additive", "concat", "coverage", "dot", "general", "hard", "multi_head", "scaled_dot"]
BEAM = 3


def close(ours: Attended, theirs: Attended, atol: float = 1e-5) -> None:
    np.testing.assert_allclose(ours.weights, theirs.weights, atol=atol)
    np.testing.assert_allclose(ours.context, theirs.context, atol=10 * atol)


def test_every_mechanism_is_checked() -> None:
    assert attention.names() == NAMES, "a file of models/attention has no entry in CASES, or the reverse"


@pytest.mark.parametrize("name", NAMES)
@settings(max_examples=8, deadline=None)
@given(
    seed=st.integers(0, 2**16),
    padding=st.integers(1, 3),
    scale=st.sampled_from([0.0, 1.0, 1e4]),
    training=st.booleans(),
)
def test_padding_never_changes_an_output(name: str, seed: int, padding: int, scale: float, training: bool) -> None:
    layer = make(name)
    query, values, mask = arrays(name, seed)
    longer = np.concatenate([values, np.full((BATCH, padding, values.shape[-1]), scale, np.float32)], axis=1)
    answer = ask(layer, query, values, mask, training)
    padded = ask(layer, query, longer, np.pad(mask, [(0, 0), (0, padding)]), training)
    assert not padded.weights[..., SOURCE:].numpy().any()
    close(padded._replace(weights=padded.weights[..., :SOURCE]), answer)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("training", [False, True])
def test_a_row_of_weights_is_a_distribution(name: str, training: bool) -> None:
    query, values, mask = arrays(name)
    weights = ask(make(name), query, values, mask, training).weights.numpy()
    assert (weights.dtype, weights.shape) == (np.float32, (BATCH, QUERY, SOURCE))
    assert (weights >= 0).all() and not weights[np.broadcast_to(~mask[:, None], weights.shape)].any()
    sums = weights.sum(axis=-1)
    if name == "none":
        assert not sums.any()
    elif name == "monotonic":  # the rest is the chance to run past the end
        assert (sums < 1 + 1e-6).all() and sums.max() > 0.5
    else:
        np.testing.assert_allclose(sums, np.ones((BATCH, QUERY)), atol=1e-6)


@pytest.mark.parametrize("name", WITHOUT_ORDER)
def test_the_order_of_the_keys_does_not_matter(name: str) -> None:
    layer = make(name)
    query, values, mask = arrays(name)
    order = np.random.default_rng(1).permutation(SOURCE)
    answer = ask(layer, query, values, mask)
    shuffled = ask(layer, query, values[:, order], mask[:, order])
    close(shuffled, answer._replace(weights=answer.weights.numpy()[:, :, order]))


@pytest.mark.parametrize("name", sorted(set(NAMES) - set(WITHOUT_ORDER)))
def test_the_order_of_the_keys_matters_to_the_others(name: str) -> None:
    layer = make(name)
    query, values, _ = arrays(name)
    mask = np.ones((BATCH, SOURCE), bool)
    turned = ask(layer, query, values[:, ::-1], mask)
    assert np.abs(turned.context - ask(layer, query, values, mask).context).max() > 1e-2


@pytest.mark.parametrize("name", AT_ONCE)
def test_asking_at_once_is_asking_in_turn(name: str) -> None:
    layer = make(name)
    query, values, mask = arrays(name)
    close(one_by_one(layer, query, prepare(layer, values, mask)), ask(layer, query, values, mask))


@pytest.mark.parametrize("name", NAMES)
def test_hypotheses_of_a_beam_do_not_see_each_other(name: str) -> None:
    layer = make(name)
    _, values, mask = arrays(name)
    keys = prepare(layer, values, mask)
    queries = np.random.default_rng(3).normal(size=(QUERY, BATCH, BEAM, CASES[name].depth)).astype(np.float32)
    parents = [[2, 0, 0], [1, 1, 0]]
    state = tf.nest.map_structure(lambda leaf: tf.repeat(leaf, BEAM, axis=1), layer.begin(keys))
    state = layer(queries[0], keys, state).state
    state = layer(queries[1], keys, tf.nest.map_structure(lambda x: tf.gather(x, parents, batch_dims=1), state)).state
    together = layer(queries[2], keys, state)
    assert all(leaf.shape[:2] == (BATCH, BEAM) for leaf in tf.nest.flatten(together.state))
    for beam in range(BEAM):
        first = np.stack([queries[0, row, parents[row][beam]] for row in range(BATCH)])
        alone = one_by_one(layer, np.stack([first, queries[1, :, beam], queries[2, :, beam]], axis=1), keys)
        np.testing.assert_allclose(together.weights[:, beam], alone.weights[:, -1], atol=1e-5)
        np.testing.assert_allclose(together.context[:, beam], alone.context[:, -1], atol=1e-4)


@pytest.mark.parametrize("name", AT_ONCE)
def test_a_query_has_a_mask_of_its_own_where_it_is_given_one(name: str) -> None:
    layer = make(name)
    query, values, _ = arrays(name)
    masks = np.random.default_rng(5).random((BATCH, QUERY, SOURCE)) < 0.6
    masks[..., 0] = True
    together = ask(layer, query, values, masks)
    for number in range(QUERY):
        alone = ask(layer, query, values, masks[:, number])
        np.testing.assert_allclose(together.weights[:, number], alone.weights[:, number], atol=1e-6)
        np.testing.assert_allclose(together.context[:, number], alone.context[:, number], atol=1e-5)


@pytest.mark.parametrize("name", NAMES)
def test_states_and_weights_are_float32_under_mixed_precision(name: str) -> None:
    policy = keras.config.dtype_policy()
    keras.config.set_dtype_policy("mixed_bfloat16")
    layer = make(name)
    keras.config.set_dtype_policy(policy)
    query, values, mask = arrays(name)
    for training in (False, True):
        answer = ask(layer, tf.cast(query, tf.bfloat16), tf.cast(values, tf.bfloat16), mask, training)
        assert (answer.context.dtype, answer.weights.dtype) == (tf.bfloat16, tf.float32)
        assert all(leaf.dtype in (tf.float32, tf.int32) for leaf in tf.nest.flatten(answer.state))
        if name not in ("monotonic", "none"):
            np.testing.assert_allclose(tf.reduce_sum(answer.weights, axis=-1), np.ones((BATCH, QUERY)), atol=1e-6)
    soft = ask(make(name), query, values, mask, training=True)
    np.testing.assert_allclose(answer.weights, soft.weights, atol=0.05)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("jit_compile", [False, True])
def test_a_loop_in_a_graph_says_the_same_and_has_finite_gradients(name: str, jit_compile: bool) -> None:
    """Sizes that are not known before, and a second row without any key, which must give zeros and no NaN."""
    layer = make(name)
    depth, value_depth = CASES[name].depth, CASES[name].value_depth

    def train(query: tf.Tensor, values: tf.Tensor, mask: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, list[tf.Tensor]]:
        def step(now: tuple[tf.Tensor, ...], state: attention.Nest) -> tuple[tuple[tf.Tensor, ...], attention.Nest]:
            answer = layer(now[0][:, None], keys, state, training=True)
            return (answer.context[:, 0], answer.weights[:, 0]), answer.state

        with tf.GradientTape() as tape:
            tape.watch([query, values])
            keys = layer.prepare(values, mask)
            kept = (tf.TensorSpec([None, value_depth]), tf.TensorSpec([None, None]))
            (context, weights), _ = scan(step, (tf.transpose(query, [1, 0, 2]),), layer.begin(keys), kept)
            total = tf.reduce_sum(context**2)
        sources = [query, values, *layer.trainable_variables]
        gradients = tape.gradient(total, sources, unconnected_gradients="zero")
        return context, weights, gradients

    signature = [tf.TensorSpec([None, None, depth]), tf.TensorSpec([None, None, value_depth])]
    graph = tf.function(
        train, input_signature=[*signature, tf.TensorSpec([None, None], tf.bool)], jit_compile=jit_compile
    )
    query, values, mask = arrays(name)
    mask[1] = False
    context, weights, gradients = graph(query, values, mask)
    answer = ask(layer, query, values, mask, training=True)
    close(Attended(tf.transpose(context, [1, 0, 2]), tf.transpose(weights, [1, 0, 2])), answer)
    assert not context[:, 1].numpy().any() and not weights[:, 1].numpy().any()
    for gradient in gradients:
        assert np.isfinite(gradient).all()
    for gradient, weight in zip(gradients[2:], layer.trainable_variables, strict=True):
        assert np.abs(gradient).max() > 0, weight.path


@settings(max_examples=10, deadline=None)
@given(seed=st.integers(0, 2**16), now=st.integers(0, SOURCE - 2))
def test_the_future_never_changes_the_past_of_causal_attention(seed: int, now: int) -> None:
    layer = attention.build({"name": "multi_head", "heads": 2}, 14, 14)
    values = np.random.default_rng(seed).normal(size=(BATCH, SOURCE, 14)).astype(np.float32)
    mask = np.broadcast_to(np.tril(np.ones((SOURCE, SOURCE), bool)), (BATCH, SOURCE, SOURCE))
    changed = values + (np.arange(SOURCE) > now)[:, None]
    before = layer(values, prepare(layer, values, mask)).context[:, : now + 1]
    np.testing.assert_allclose(layer(changed, prepare(layer, changed, mask)).context[:, : now + 1], before, atol=1e-5)


def test_masked_softmax_does_not_mind_large_scores() -> None:
    weights = masked_softmax(tf.constant([[3e4, -3e4, 3e4, 9e9]]), tf.constant([[True, True, True, False]]))
    np.testing.assert_allclose(weights, [[0.5, 0.0, 0.5, 0.0]])


def test_lengths_reach_to_the_last_position() -> None:
    mask = tf.constant([[True, True, False], [False, False, False], [False, False, True]])
    np.testing.assert_array_equal(attention.lengths(mask), [2, 0, 3])


def test_a_section_is_a_name_or_a_name_with_options() -> None:
    assert attention.build("local_m", 7, 11).config.window == 10
    layer = attention.build({"name": "local_m", "window": 5}, 7, 11)
    assert type(layer) is attention.find("local_m") and layer.config.window == 5


@pytest.mark.parametrize("name", NAMES)
def test_an_option_that_does_not_exist_is_refused(name: str) -> None:
    options = pydantic.TypeAdapter(attention.find(name).Config)
    assert options.validate_python(CASES[name].options) == attention.find(name).Config(**CASES[name].options)
    with pytest.raises(pydantic.ValidationError, match="windwo"):
        options.validate_python({"windwo": 5})


@pytest.mark.parametrize(
    ("section", "depths", "text"),
    [
        ("locaton", (7, 7), r"unknown attention 'locaton': expected one of additive, .*; nearest: 'location'"),
        ("dot", (7, 11), r"depths must be equal, got 7 and 11; general attention takes any"),
        ("scaled_dot", (7, 11), r"depths must be equal, got 7 and 11; multi_head attention takes any"),
        ({"name": "multi_head", "heads": 3}, (7, 11), r"a multiple of their number: got depth 7 and 3 heads"),
        ({"name": "location", "width": 14}, (7, 11), r"expected an odd width, got 14"),
        ("none", (7, 11), r"expected an even value depth, got 11"),
    ],
)
def test_what_cannot_be_is_said(section: str | dict[str, object], depths: tuple[int, int], text: str) -> None:
    with pytest.raises(ValueError, match=text):
        attention.build(section, *depths)


def test_prepared_keys_hold_the_values_as_they_are() -> None:
    for name in NAMES:
        _, values, mask = arrays(name)
        keys = prepare(make(name), values, mask)
        assert isinstance(keys, Keys)
        np.testing.assert_array_equal(keys.values, values)
        assert all(leaf.shape[0] == BATCH for leaf in tf.nest.flatten(keys.keys))
