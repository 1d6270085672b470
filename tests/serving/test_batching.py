"""Batches of requests: on a real SavedModel, in one process, so that what runs together can be told."""

from __future__ import annotations

import concurrent.futures
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from serving import batching, batching_parameters
from serving.batching import REMEMBERED, BatchedModel
from serving.batching_parameters import Parameters
from serving.errors import ServingError, Status
from serving.predict import predict, prepare
from serving.saved_model import NO_TIMEOUT, Arrays, Feeds, SavedModel, Threads
from tests.serving.tiny_server import DEADLINE_S, export_tiny_model, wait_until

LONG = 10**12  # microseconds: a batch that waits until it is full
TEXTS = ["one", "two", "drei", "four", "five", "six!!"]


class Counting(SavedModel):
    """A SavedModel that remembers the rows of its runs."""

    def run(self, feeds: Feeds, fetches: Sequence[str], timeout_ms: int = NO_TIMEOUT) -> Arrays:
        self.rows = [*getattr(self, "rows", []), len(next(iter(feeds.values())))]
        return super().run(feeds, fetches, timeout_ms)


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tiny") / "1"
    export_tiny_model(folder, version=1)
    return folder


@pytest.fixture
def model(path: Path) -> Iterator[Counting]:
    yield Counting(str(path), ["serve"], Threads())


def ask(model: Any, signature: str, timeout_ms: int = 0, **inputs: Any) -> dict[str, Any]:
    return predict(model, signature, inputs, np.asarray, timeout_ms=timeout_ms)


def together(batched: BatchedModel, requests: Sequence[Sequence[str]]) -> list[list[float]]:
    """The scores of requests that are made at once."""
    scores: dict[int, list[float]] = {}

    def client(number: int, texts: Sequence[str]) -> None:
        inputs = np.array([text.encode() for text in texts], dtype=object)
        scores[number] = ask(batched, "serving_default", text=inputs)["score"].tolist()

    threads = [threading.Thread(target=client, args=item) for item in enumerate(requests)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(DEADLINE_S)
    return [scores[number] for number in range(len(requests))]


def test_requests_run_together_and_each_gets_its_rows(model: Counting) -> None:
    batched = BatchedModel(model, Parameters(max_batch_size=6, batch_timeout_micros=LONG))
    scores = together(batched, [TEXTS[:1], TEXTS[1:3], TEXTS[3:]])
    assert scores == [[0.75], [0.75, 1.0], [1.0, 1.0, 1.25]]
    assert model.rows == [6]
    batched.close()


def test_a_full_batch_does_not_wait_for_one_before_it_that_is_not(model: Counting) -> None:
    batched = BatchedModel(model, Parameters(max_batch_size=4, batch_timeout_micros=LONG))
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        inputs = [np.array([text.encode() for text in texts], dtype=object) for texts in (TEXTS[:3], TEXTS[:4])]
        runs = [prepare(batched, "serving_default", {"text": texts}, np.asarray) for texts in inputs]
        few, four = (batched.start(run.feeds, run.fetches, NO_TIMEOUT, pool) for run in runs)
        assert len(four.result(DEADLINE_S)[0]) == 4
        assert not few.done()
        batched.close()
        assert len(few.result(DEADLINE_S)[0]) == 3
    assert model.rows == [4, 3]


def test_threads_share_what_waits(model: Counting, monkeypatch: pytest.MonkeyPatch) -> None:
    both, run = threading.Barrier(2), model.run

    def run_with_the_other(*arguments: Any) -> Arrays:
        both.wait(DEADLINE_S)
        return run(*arguments)

    monkeypatch.setattr(model, "run", run_with_the_other)
    batched = BatchedModel(model, Parameters(max_batch_size=32, num_batch_threads=2, batch_timeout_micros=LONG))
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        runs = [prepare(batched, "half", {"x": np.float32([n])}, np.asarray) for n in range(9)]
        answers = [batched.start(run.feeds, run.fetches, NO_TIMEOUT, pool) for run in runs]
        batched.close()  # what waits runs now
        assert [answer.result()[0].tolist() for answer in answers] == [[n / 2] for n in range(9)]
    assert sorted(model.rows) == [4, 5]


def test_nobody_waits_for_more_rows_than_there_were_of_late(model: Counting) -> None:
    batched = BatchedModel(model, Parameters(max_batch_size=4, num_batch_threads=2, batch_timeout_micros=LONG))
    for _ in range(REMEMBERED):
        together(batched, [TEXTS[:4]])  # full, so that it does not wait either
    assert together(batched, [TEXTS[:2]]) == [[0.75, 0.75]]  # a thread's share of four
    batched.close()
    assert model.rows == [*[4] * REMEMBERED, 2]


def test_a_timeout_runs_while_a_thread_is_free() -> None:
    batch = batching._Batch(((), ()), timeout_s=10, began_s=100, joined_s=103)
    assert [batch.due_s(free_s) for free_s in (50, 104, 140)] == [108, 109, 145]
    late = batching._Batch(((), ()), timeout_s=10, began_s=100, joined_s=128)
    assert [late.due_s(free_s) for free_s in (50, 99, 104, 140)] == [130, 130, 133, 145]


def test_a_thread_takes_its_share_of_what_there_was_of_late(model: Counting) -> None:
    batched = BatchedModel(model, Parameters(max_batch_size=8, num_batch_threads=2, batch_timeout_micros=LONG))
    together(batched, [["one"] * 8])
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        run = prepare(batched, "half", {"x": np.float32([1])}, np.asarray)
        answers = [batched.start(run.feeds, run.fetches, NO_TIMEOUT, pool) for _ in range(4)]
        batched.close()  # what waits runs now
        assert all(answer.result()[0].tolist() == [0.5] for answer in answers)
    assert model.rows == [8, 4]  # and not two of two


def test_a_batch_is_filled_up_to_a_size_that_is_allowed(model: Counting) -> None:
    batched = BatchedModel(model, Parameters(max_batch_size=8, allowed_batch_sizes=(2, 4, 8)))
    assert together(batched, [TEXTS[:3]]) == [[0.75, 0.75, 1.0]]
    assert model.rows == [4]
    batched.close()


def test_a_large_request_runs_in_parts(model: Counting) -> None:
    parameters = Parameters(max_batch_size=6, enable_large_batch_splitting=True, max_execution_batch_size=4)
    batched = BatchedModel(model, parameters)
    assert together(batched, [TEXTS]) == [[0.75, 0.75, 1.0, 1.0, 1.0, 1.25]]
    assert sorted(model.rows) == [2, 4]
    batched.close()


def test_what_is_too_large_for_a_batch_waits_on_a_thread(model: Counting) -> None:
    parameters = Parameters(max_batch_size=6, enable_large_batch_splitting=True, max_execution_batch_size=4)
    batched = BatchedModel(model, parameters)
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        for size in (3, 6):
            run = prepare(batched, "half", {"x": np.arange(size, dtype=np.float32)}, np.asarray)
            (y,) = batched.start(run.feeds, run.fetches, NO_TIMEOUT, pool).result(DEADLINE_S)
            assert y.tolist() == (np.arange(size) / 2).tolist()
    assert sorted(model.rows) == [2, 3, 4]
    batched.close()


def test_nobody_suffers_from_one_who_gave_up(model: Counting) -> None:
    batched = BatchedModel(model, Parameters(max_batch_size=2, batch_timeout_micros=LONG))
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        for given_up in (True, False):
            runs = [prepare(batched, "half", {"x": np.float32([n])}, np.asarray) for n in range(2)]
            first = batched.start(runs[0].feeds, runs[0].fetches, NO_TIMEOUT, pool)
            if given_up:
                assert first.cancel()
            second = batched.start(runs[1].feeds, runs[1].fetches, NO_TIMEOUT, pool)
            answers = [future.result(DEADLINE_S)[0].tolist() for future in (first, second) if not future.cancelled()]
            assert answers == ([[0.5]] if given_up else [[0.0], [0.5]])
    batched.close()


def test_what_waits_when_the_model_is_closed_is_answered(model: Counting) -> None:
    batched = BatchedModel(model, Parameters(max_batch_size=2, batch_timeout_micros=LONG, max_enqueued_batches=1))
    answers: list[Any] = []
    waiting = threading.Thread(target=lambda: answers.append(ask(batched, "half", x=np.float32([3]))["y"].tolist()))
    waiting.start()
    while not batched._batches:
        pass
    with pytest.raises(
        ServingError, match="is full; currently 1 batches enqueued and max_enqueued_batches is 1"
    ) as caught:
        ask(batched, "half", x=np.float32([1, 2]))
    assert caught.value.status is Status.UNAVAILABLE
    batched.close()
    waiting.join(DEADLINE_S)
    assert answers == [[1.5]]


def test_a_deadline_that_is_over_before_the_run(model: Counting) -> None:
    batched = BatchedModel(model, Parameters(batch_timeout_micros=50_000))
    with pytest.raises(ServingError, match="timeout exceeded while waiting in batching queue") as caught:
        ask(batched, "half", timeout_ms=1, x=np.float32([3]))
    assert caught.value.status is Status.RESOURCE_EXHAUSTED
    batched.close()


@pytest.mark.parametrize(
    ("signature", "inputs", "status", "text"),
    [
        ("half", {"x": np.float32(3)}, Status.INVALID_ARGUMENT, "must have at least one dimension"),
        ("add", {"a": np.float32([1]), "b": np.float32([1, 2])}, Status.INVALID_ARGUMENT, "equal 0th-dimension size"),
        ("half", {"x": np.ones(9, np.float32)}, Status.INVALID_ARGUMENT, "Task size 9 is larger than maximum"),
        ("add", {"a": np.ones(2, np.float32), "b": np.ones(2, np.float32)}, Status.FAILED_PRECONDITION, "0 dimensions"),
        ("pick", {"index": np.int32([1, 7])}, Status.INVALID_ARGUMENT, "indices"),
    ],
)
def test_what_cannot_be_batched(model: Counting, signature: str, inputs: Any, status: Status, text: str) -> None:
    batched = BatchedModel(model, Parameters(max_batch_size=8))
    with pytest.raises(ServingError, match=text) as caught:
        ask(batched, signature, **inputs)
    assert caught.value.status is status
    assert ask(batched, "half", x=np.float32([3]))["y"].tolist() == [1.5]  # and life goes on
    batched.close()


def test_what_is_wrong_with_one_request_is_not_told_the_others(model: Counting) -> None:
    batched = BatchedModel(model, Parameters(max_batch_size=2, batch_timeout_micros=LONG))
    found: dict[str, Any] = {}

    def client(signature: str, values: Any) -> None:
        try:
            (output,) = ask(batched, signature, **{"index" if signature == "pick" else "x": values}).values()
            found[f"{signature} {values}"] = output.tolist()
        except ServingError as error:
            found[f"{signature} {values}"] = error.message.partition(",")[0].partition(" but")[0]

    asked = [("pick", np.int32([1])), ("pick", np.int32([7])), ("half", np.float32([3])), ("half", np.int64([5]))]
    threads = [threading.Thread(target=client, args=pair) for pair in asked]
    for thread in threads:
        thread.start()
    threads[0].join(DEADLINE_S), threads[1].join(DEADLINE_S)  # together, and then one by one
    wait_until(lambda: len(batched._batches) == 2, "requests of two types to wait apart")
    batched.close()
    threads[2].join(DEADLINE_S), threads[3].join(DEADLINE_S)
    assert found == {
        "pick [1]": [3.0],
        "pick [7]": "indices[0] = 7 is not in [0",
        "half [3.]": [1.5],
        "half [5]": "Expects arg[0] to be float",
    }


@pytest.mark.parametrize("pad", [False, True])
def test_inputs_of_different_shapes(model: Counting, pad: bool) -> None:
    batched = BatchedModel(
        model, Parameters(max_batch_size=2, batch_timeout_micros=LONG, pad_variable_length_inputs=pad)
    )
    found: dict[int, Any] = {}

    def client(length: int) -> None:
        try:
            found[length] = ask(batched, "half", x=np.arange(2, 2 + length, dtype=np.float32)[None])["y"].tolist()
        except ServingError as error:
            found[length] = error.status

    threads = [threading.Thread(target=client, args=[length]) for length in (1, 3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(DEADLINE_S)
    failed = Status.FAILED_PRECONDITION
    assert found == ({1: [[1.0, 1.0, 1.0]], 3: [[1.0, 1.5, 2.0]]} if pad else {1: failed, 3: failed})


@pytest.mark.parametrize("shape", [(1, 0), (1, 2, 1)])
def test_what_cannot_be_padded_runs_alone(model: Counting, shape: tuple[int, ...]) -> None:
    """An empty row has no element to fill it with, and one of another rank no room."""
    batched = BatchedModel(
        model, Parameters(max_batch_size=2, batch_timeout_micros=LONG, pad_variable_length_inputs=True)
    )
    found: dict[tuple[int, ...], Any] = {}

    def client(shape: tuple[int, ...]) -> None:
        found[shape] = ask(batched, "half", x=np.ones(shape, np.float32))["y"].shape

    threads = [threading.Thread(target=client, args=[each]) for each in (shape, (1, 3))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(DEADLINE_S)
    assert found == {shape: shape, (1, 3): (1, 3)}


def test_a_batch_is_filled_up_with_a_row_that_somebody_sent(model: Counting) -> None:
    parameters = Parameters(4, LONG, num_batch_threads=1, allowed_batch_sizes=(4,))
    batched = BatchedModel(model, parameters)
    found: list[Any] = []
    threads = [
        threading.Thread(target=lambda rows=rows: found.append(ask(batched, "half", x=np.ones(rows, np.float32))["y"]))
        for rows in (3, 0)
    ]
    for number, thread in enumerate(threads, start=1):
        thread.start()
        wait_until(lambda n=number: sum(len(batch.tasks) for batch in batched._batches) == n, "a request to wait")
    batched.close()
    for thread in threads:
        thread.join(DEADLINE_S)
    assert sorted(len(values) for values in found) == [0, 3] and model.rows == [4]
    batched.close()


def test_parameters_are_a_text_protobuf() -> None:
    text = "max_batch_size { value: 8 } allowed_batch_sizes: 2 allowed_batch_sizes: 8 thread_pool_name { value: 'a' }"
    assert batching_parameters.read(text, "a.txt") == Parameters(max_batch_size=8, allowed_batch_sizes=(2, 8))
    none = batching_parameters.read("", "a.txt")
    assert (none.max_batch_size, none.batch_timeout_micros, none.max_enqueued_batches) == (1000, 0, 10)
    assert none.num_batch_threads is None  # as many as there are processors


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("max_batch_siz { value: 8 }", r"a.txt:1:1 : .*max_batch_siz"),
        ("max_batch_size { value: 0 }", "max_batch_size must be positive; was 0"),
        ("batch_timeout_micros { value: -1 }", "batch_timeout_micros must be non-negative; was -1"),
        ("allowed_batch_sizes: 4 allowed_batch_sizes: 2", "must be monotonically increasing"),
        ("max_batch_size { value: 8 } allowed_batch_sizes: 4", "must match the largest batch: 4 and 8"),
        ("num_batch_threads { value: -1 }", "num_batch_threads must be positive; was -1"),
        ("num_batch_threads { value: 0 }", "num_batch_threads must be positive; was 0"),
        ("max_execution_batch_size { value: -5 }", "max_execution_batch_size must be positive; was -5"),
        (
            "max_batch_size { value: 8 } max_execution_batch_size { value: 9 }"
            " enable_large_batch_splitting { value: true }",
            "max_execution_batch_size must be at most max_batch_size; were 9 and 8",
        ),
    ],
)
def test_parameters_that_cannot_be(text: str, error: str) -> None:
    with pytest.raises(ServingError, match=error):
        batching_parameters.read(text, "a.txt")
