"""A SavedModel in its session, with threads that all runs share, and with a thread of its own for a run."""

from __future__ import annotations

import concurrent.futures
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from serving.errors import ServingError, Status
from serving.predict import predict
from serving.saved_model import NO_TIMEOUT, SavedModel, Threads


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model that counts, one by one, as far as it is asked to."""
    module = tf.Module()

    @tf.function(input_signature=[tf.TensorSpec([None], tf.int64, name="steps")])
    def count(steps: tf.Tensor) -> dict[str, tf.Tensor]:
        (counted,) = tf.while_loop(lambda n: tf.reduce_any(n < steps), lambda n: [n + 1], [tf.zeros_like(steps)])
        return {"counted": counted}

    module.count = count
    folder = tmp_path_factory.mktemp("counting") / "1"
    tf.saved_model.save(module, str(folder), signatures={"count": count})
    return folder


@pytest.fixture(params=[Threads(), Threads(own=1), Threads(own=2)], ids=lambda threads: f"own {threads.own}")
def model(path: Path, request: pytest.FixtureRequest) -> Iterator[SavedModel]:
    model = SavedModel(str(path), ["serve"], request.param)
    yield model
    model.close()


def test_the_meta_graph_with_just_these_tags(tmp_path: Path) -> None:
    builder = tf.compat.v1.saved_model.Builder(str(tmp_path / "1"))
    for number, tags in enumerate((["serve"], ["serve", "gpu"])):
        with tf.Graph().as_default(), tf.compat.v1.Session() as session:
            text = tf.compat.v1.placeholder(tf.string, [None], "text")
            signature = tf.compat.v1.saved_model.predict_signature_def(
                {"text": text}, {"said": tf.strings.join([text, str(number)])}
            )
            add = builder.add_meta_graph if number else builder.add_meta_graph_and_variables
            add(*([] if number else [session]), tags, signature_def_map={"say": signature})
    builder.save()
    for number, tags in enumerate((["serve"], ["gpu", "serve"])):
        model = SavedModel(str(tmp_path / "1"), tags, Threads())
        assert predict(model, "say", {"text": np.array([b"a"])}, np.asarray)["said"].tolist() == [f"a{number}".encode()]
        model.close()


def counted(model: SavedModel, steps: int, timeout_ms: int = NO_TIMEOUT) -> list[int]:
    outputs: dict[str, Any] = predict(model, "count", {"steps": np.int64([steps])}, np.asarray, timeout_ms=timeout_ms)
    return outputs["counted"].tolist()


def test_more_runs_at_once_than_have_a_thread_of_their_own(model: SavedModel) -> None:
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        assert list(pool.map(lambda steps: counted(model, steps), [5, 500, 3, 50])) == [[5], [500], [3], [50]]


def test_a_run_ends_at_its_deadline_and_the_next_one_is_answered(model: SavedModel) -> None:
    for _ in range(3):  # more often than there are threads
        with pytest.raises(ServingError) as refused:
            counted(model, 10**15, timeout_ms=50)
        assert refused.value.status is Status.DEADLINE_EXCEEDED
    assert counted(model, 7) == [7]
