"""A candidate is served by a real server process before it is pushed."""

from __future__ import annotations

import pathlib
import shutil

import numpy as np
import pytest
import tensorflow as tf

from components import serving_check
from components.serving_check import Config, Verdict, check
from serving import process
from serving.search import Decoding
from tests.serving.exports import TEXTS, exported


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    return exported(tmp_path_factory.mktemp("candidate") / "export", Decoding(beam_size=3))


def test_a_good_model_is_blessed(path: pathlib.Path, tmp_path: pathlib.Path) -> None:
    texts = [*TEXTS, "", "€ and ü", "fovea" * 8]
    verdict = check(path, texts, Config())
    assert verdict.blessed, verdict.reasons
    assert verdict.reasons == () and verdict.rows == len(texts)
    assert verdict.size_mb and verdict.latency_ms
    verdict.write(tmp_path)
    assert Verdict.read(tmp_path) == verdict


def test_budgets_hold(path: pathlib.Path) -> None:
    verdict = check(path, TEXTS, Config(max_latency_ms=1e-6, max_size_mb=1e-3))
    size, latency = verdict.reasons
    assert not verdict.blessed
    assert size.startswith("serving.max_size_mb: ") and size.endswith(" MB, wanted at most 0.001: not met")
    assert latency.startswith("serving.max_latency_ms: ") and latency.endswith(" ms, wanted at most 1e-06: not met")


def test_a_model_that_does_not_load_is_not_blessed(path: pathlib.Path, tmp_path: pathlib.Path) -> None:
    """Its warm-up requests are broken: TensorFlow loads it, a server does not."""
    broken = tmp_path / "broken"
    shutil.copytree(path, broken)
    (broken / "assets.extra" / "tf_serving_warmup_requests").write_bytes(b"no record" * 9)
    verdict = check(broken, TEXTS, Config())
    assert not verdict.blessed and verdict.latency_ms is None
    (reason,) = verdict.reasons
    assert reason.startswith("the server ended with status 1: ") and "warmup" in reason


def test_a_server_that_is_killed_says_nothing_of_the_model(path: pathlib.Path) -> None:
    with process.served(path, "tiny") as server:
        server.process.kill()
        with pytest.raises(process.ServerFailedError, match="the server ended with status -9") as caught:
            server.wait_ready()
    assert caught.value.passing


def test_a_model_that_answers_otherwise_when_it_is_served_is_not_blessed(tmp_path: pathlib.Path) -> None:
    """It says what time it is, whatever it is asked."""

    def tell(text: tf.Tensor) -> dict[str, tf.Tensor]:
        return {"text": tf.fill(tf.shape(text), tf.strings.as_string(tf.timestamp(), precision=6))}

    module = tf.Module()
    module.tell = tf.function(tell, input_signature=[tf.TensorSpec([None], tf.string, "text")])
    tf.saved_model.save(module, str(tmp_path / "clock"), {"serving_default": module.tell})
    verdict = check(tmp_path / "clock", ["a", "b"], Config())
    assert not verdict.blessed
    *shown, more = verdict.reasons
    assert more == "and 3 answers more"  # of two rows at once, and of each, two ways
    assert [reason.partition(": text '")[0] for reason in shown] == [
        "gRPC, serving_default of 2 rows",
        "REST, serving_default of 2 rows",
        "gRPC, serving_default of 'a'",
    ]


def test_a_row_that_the_model_refuses_is_a_reason(tmp_path: pathlib.Path) -> None:
    module = tf.Module()
    read = tf.function(lambda text: {"score": tf.strings.to_number(text)})
    saved = read.get_concrete_function(tf.TensorSpec([None], tf.string, "text"))
    tf.saved_model.save(module, str(tmp_path / "numbers"), {"serving_default": saved})
    verdict = check(tmp_path / "numbers", ["3", "b"], Config())
    assert not verdict.blessed
    assert [reason.partition(": INVALID_ARGUMENT: ")[0] for reason in verdict.reasons] == [
        "in process, serving_default of 2 rows",
        "in process, serving_default of 'b'",
    ]
    assert all("could not correctly convert string: b" in reason for reason in verdict.reasons)


def test_a_difference_of_a_letter_or_more_than_rounding_is_found() -> None:
    here = {"text": np.array(["A B", "C"], object), "score": np.array([-0.5, 0.1], np.float32)}
    assert list(serving_check.unequal(here, {"text": ["A B", "C"], "score": [-0.5, 0.1]})) == []
    rounded = np.nextafter(np.float32(0.1), np.float32(1))
    assert list(serving_check.unequal(here, {"text": ["A B", "C"], "score": [-0.5, rounded]})) == []
    (text, score) = serving_check.unequal(here, {"text": ["A B", "c"], "score": [-0.5, 0.11]})
    assert text == "text 'c', in process 'C'"
    assert score.startswith("score [0.11]")
    assert list(serving_check.unequal(here, {"text": ["A B", "C"]})) == [
        "outputs ['text'], in process ['score', 'text']"
    ]
    (shape,) = serving_check.unequal(here, {"text": ["A B"], "score": here["score"]})
    assert shape == "text of shape [1], in process [2]"
