"""Requests of several clients in one run of the model, as TensorFlow Serving's batching session does it.

    three clients with {"text": [a]}, {"text": [b, c]}, {"text": [d]} -> one run of [a, b, c, d], and each gets its rows

A batch waits for a free thread, and then takes requests until it is full or nobody has come for half of its timeout,
for three timeouts at most: with the default timeout of 0 batches grow as large as the load makes them. As many rows as
there were of late may be expected again, and each thread has its share of them. One that takes a batch which is not
full leaves the others theirs, so that all are busy for as long; and a batch that has its share waits no longer, so that
who is alone is answered at once. Texts of different lengths need no padding: our graphs pad them, with a mask.
"""

from __future__ import annotations

import collections
import concurrent.futures
import dataclasses
import itertools
import os
import threading
import time
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from tensorflow.core.protobuf import meta_graph_pb2

from serving.batching_parameters import Parameters
from serving.errors import ServingError, Status
from serving.saved_model import NO_TIMEOUT, Arrays, Feeds, Servable, serving_error

# Names and types of the tensors that are fed, and names of those that are fetched: what may run together.
Key = tuple[tuple[tuple[str, str], ...], tuple[str, ...]]
REMEMBERED = 16  # batches, of which it is known how many rows there were
PATIENCE = 3  # timeouts that are waited where rows keep coming
OF_THE_BATCH = (  # no fault of one of its tasks
    Status.DEADLINE_EXCEEDED,
    Status.RESOURCE_EXHAUSTED,
    Status.CANCELLED,
    Status.FAILED_PRECONDITION,
)


@dataclasses.dataclass(eq=False)  # none is another one, whatever it asks: arrays have no one answer to "equal"
class _Task:
    """A request that waits for its rows."""

    feeds: Feeds
    size: int
    end_s: float | None  # its deadline
    outputs: concurrent.futures.Future[Arrays] = dataclasses.field(default_factory=concurrent.futures.Future)


@dataclasses.dataclass(eq=False)
class _Batch:
    """Tasks that will run together."""

    key: Key
    timeout_s: float
    tasks: list[_Task] = dataclasses.field(default_factory=list)
    began_s: float = dataclasses.field(default_factory=time.monotonic)
    joined_s: float = 0.0  # when the last task came

    def due_s(self, free_s: float) -> float:
        """From when on it runs even if it is not full, on a thread that has been free since then."""
        began_s, joined_s = max(self.began_s, free_s), max(self.joined_s, free_s)
        return min(began_s + PATIENCE * self.timeout_s, joined_s + self.timeout_s / 2)

    def join(self, task: _Task) -> None:
        """Wait with the others."""
        self.tasks.append(task)
        self.joined_s = time.monotonic()

    @property
    def size(self) -> int:
        return sum(task.size for task in self.tasks)

    def split(self, most: int) -> _Batch:
        """Keep tasks of so many rows, one task at least -> the others."""
        ends = itertools.accumulate(task.size for task in self.tasks)
        kept = max(1, sum(end <= most for end in ends))
        others = dataclasses.replace(self, tasks=self.tasks[kept:])
        self.tasks = self.tasks[:kept]
        return others


class BatchedModel:
    """A SavedModel whose runs are batched; to be used in its place."""

    def __init__(self, model: Servable, parameters: Parameters) -> None:
        self._model, self._parameters = model, parameters
        self.check_method_names = model.check_method_names
        self._changed = threading.Condition()
        self._batches: collections.deque[_Batch] = collections.deque()  # the oldest first
        self._running = 0  # rows
        self._there: collections.deque[int] = collections.deque(maxlen=REMEMBERED)  # rows, when each began
        self._closed = False
        threads = parameters.num_batch_threads or os.cpu_count() or 1
        self._threads = [threading.Thread(target=self._work, name="batches", daemon=True) for _ in range(threads)]
        for thread in self._threads:
            thread.start()

    @property
    def signatures(self) -> Mapping[str, meta_graph_pb2.SignatureDef]:
        """See `SavedModel.signatures`."""
        return self._model.signatures

    def run(self, feeds: Feeds, fetches: Sequence[str], timeout_ms: int = NO_TIMEOUT) -> Arrays:
        """See `SavedModel.run`: every input and every output must have its rows on the first axis.

        Raises:
            ServingError: INVALID_ARGUMENT: an input is a scalar, inputs differ in rows, or there are too many of them;
                UNAVAILABLE: too much is waiting; RESOURCE_EXHAUSTED: the deadline was over before the run.
        """
        tasks = self._submit(feeds, fetches, timeout_ms)
        parts = [task.outputs.result() for task in tasks]
        return parts[0] if len(parts) == 1 else [np.concatenate(outputs) for outputs in zip(*parts, strict=True)]

    def start(
        self, feeds: Feeds, fetches: Sequence[str], timeout_ms: int, pool: concurrent.futures.Executor
    ) -> concurrent.futures.Future[Arrays]:
        """See `Servable.start`: what fits into a batch needs no thread of its own."""
        if _rows(feeds) > self._parameters.execution_limit:
            return pool.submit(self.run, feeds, fetches, timeout_ms)
        (task,) = self._submit(feeds, fetches, timeout_ms)
        return task.outputs

    def _submit(self, feeds: Feeds, fetches: Sequence[str], timeout_ms: int) -> list[_Task]:
        """Put a request into batches: as one task, or as several where large requests are split."""
        size = _rows(feeds)
        key = (tuple(sorted((name, str(array.dtype)) for name, array in feeds.items())), tuple(fetches))
        limit = self._parameters.execution_limit
        if size > self._parameters.max_batch_size:
            largest = self._parameters.max_batch_size
            message = f"Task size {size} is larger than maximum input batch size {largest}"
            raise ServingError(Status.INVALID_ARGUMENT, message)
        end_s = None if timeout_ms == NO_TIMEOUT else time.monotonic() + timeout_ms / 1000
        starts = range(0, max(size, 1), limit)
        tasks = [
            _Task(
                {name: array[start : start + limit] for name, array in feeds.items()}, min(limit, size - start), end_s
            )
            for start in starts
        ]
        self._enqueue(key, tasks)
        return tasks

    def close(self) -> None:
        """Let what waits run, and free the model."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        for thread in self._threads:
            thread.join()
        self._model.close()

    def _enqueue(self, key: Key, tasks: Sequence[_Task]) -> None:
        with self._changed:
            own = [batch for batch in self._batches if batch.key == key]
            most = self._parameters.max_enqueued_batches
            fits = bool(own) and own[-1].size + tasks[0].size <= self._parameters.execution_limit
            if len(own) + len(tasks) - fits > most:
                message = (
                    "The batch scheduling queue to which this task was submitted is full; currently "
                    f"{len(own)} batches enqueued and max_enqueued_batches is {most}"
                )
                raise ServingError(Status.UNAVAILABLE, message)
            news = self._closed
            for task in tasks:
                if not own or own[-1].size + task.size > self._parameters.execution_limit:
                    own.append(_Batch(key, self._parameters.batch_timeout_micros / 1e6))
                    self._batches.append(own[-1])
                    news = True
                own[-1].join(task)
                news |= own[-1].size >= self._enough()
            if news:  # or else the threads know when to look
                self._changed.notify_all()

    def _work(self) -> None:
        while self._run_next():  # a thread that waits holds nothing of what it ran
            pass

    def _run_next(self) -> bool:
        """Wait for a batch and run it; False when there will be none."""
        batch = self._next()
        if batch is None:
            return False
        rows = batch.size
        batch.tasks = [task for task in batch.tasks if task.outputs.set_running_or_notify_cancel()]
        try:
            self._run(batch)
        except Exception as error:  # whatever it is, every task hears of it, and the thread lives on
            for task in batch.tasks:
                if not task.outputs.done():
                    task.outputs.set_exception(serving_error(error))
        with self._changed:
            self._running -= rows
        return True

    def _next(self) -> _Batch | None:
        """The oldest batch that may run; None when the model is closed and nothing waits."""
        free_s = time.monotonic()
        with self._changed:
            while True:
                now_s = time.monotonic()
                for batch in self._batches:
                    if self._closed or batch.due_s(free_s) <= now_s or batch.size >= self._enough():
                        return self._share_of(batch)
                if self._closed:
                    return None
                due_s = min((batch.due_s(free_s) for batch in self._batches), default=now_s + 3600)
                self._changed.wait(due_s - now_s)

    def _enough(self) -> int:
        """So many rows wait for no others: a full batch, or a thread's share of as many as there were of late."""
        limit = self._parameters.execution_limit
        return limit if len(self._there) < REMEMBERED else min(limit, self._share())

    def _share(self) -> int:
        """A thread's part of the most rows that were there when one of the last batches began."""
        return -(-max(self._there) // len(self._threads))

    def _share_of(self, batch: _Batch) -> _Batch:
        """Take a batch out: whole if it is full, else only a thread's share."""
        rows = sum(each.size for each in self._batches) + self._running
        self._there.append(rows)
        self._batches.remove(batch)
        if batch.size < self._parameters.execution_limit:
            others = batch.split(self._share())
            if others.tasks:
                self._batches.appendleft(others)
                self._changed.notify()
        self._running += batch.size
        return batch

    def _run(self, batch: _Batch) -> None:
        if not batch.tasks:  # nobody waits any more
            return
        now_s = time.monotonic()
        ends = [task.end_s for task in batch.tasks]
        if all(end_s is not None and end_s <= now_s for end_s in ends):
            message = "Run() timeout exceeded while waiting in batching queue"
            raise ServingError(Status.RESOURCE_EXHAUSTED, message)
        known = [end_s for end_s in ends if end_s is not None]
        timeout_ms = NO_TIMEOUT if len(known) < len(ends) else max(1, int(1000 * (max(known) - now_s)))
        rows = self._parameters.allowed(batch.size) if batch.size else 0  # no row to fill it up with
        try:
            feeds = {name: self._merge(name, batch, rows) for name, _ in batch.key[0]}
            outputs = self._model.run(feeds, batch.key[1], timeout_ms)
        except ServingError as error:
            if len(batch.tasks) == 1 or error.status in OF_THE_BATCH:
                raise
            self._run_each(batch)
            return
        for output in outputs:
            if output.ndim == 0:
                raise ServingError(Status.FAILED_PRECONDITION, "Batched output tensor has 0 dimensions")
            if len(output) != rows:
                message = (
                    "Batched output tensor's 0th dimension does not equal the sum of the 0th dimension sizes of the "
                    "input tensors"
                )
                raise ServingError(Status.FAILED_PRECONDITION, message)
        first = 0
        for task in batch.tasks:
            task.outputs.set_result([output[first : first + task.size] for output in outputs])
            first += task.size

    def _run_each(self, batch: _Batch) -> None:
        """Its tasks one by one: what is wrong with one of them is not told the others."""
        for task in batch.tasks:
            try:
                self._run(_Batch(batch.key, batch.timeout_s, [task]))
            except Exception as error:
                task.outputs.set_exception(serving_error(error))

    def _merge(self, name: str, batch: _Batch, rows: int) -> np.ndarray[Any, Any]:
        """An input of all tasks, and copies of a row up to a size that is allowed."""
        arrays = [task.feeds[name] for task in batch.tasks]
        if self._parameters.pad_variable_length_inputs:
            arrays = _padded(arrays)
        elif len({array.shape[1:] for array in arrays}) > 1:
            message = (
                f"Tensors with name '{name}' from different tasks have different shapes and padding is turned off. "
                "Set pad_variable_length_inputs to true, or ensure that all tensors with the same name have equal "
                "dimensions starting with the first dim."
            )
            raise ServingError(Status.FAILED_PRECONDITION, message)
        filling = next((array[:1] for array in arrays if len(array)), arrays[0])
        return np.concatenate([*arrays, *[filling] * (rows - batch.size)])


def _rows(feeds: Feeds) -> int:
    """How many rows a request has: {"a:0": [3, 5], "b:0": [3]} -> 3, of shapes."""
    if not feeds:
        raise ServingError(Status.INVALID_ARGUMENT, "Batching Run() must have at least one input tensor")
    if any(array.ndim == 0 for array in feeds.values()):
        raise ServingError(Status.INVALID_ARGUMENT, "Batching Run() input tensors must have at least one dimension")
    sizes = {len(array) for array in feeds.values()}
    if len(sizes) > 1:
        raise ServingError(Status.INVALID_ARGUMENT, "Batching Run() input tensors must have equal 0th-dimension size")
    return sizes.pop()


def _padded(arrays: Arrays) -> Arrays:
    """All axes but the first as long as the longest, filled with an array's first element, as the real server does."""
    if len({array.ndim for array in arrays}) > 1:
        ranks = ", ".join(str(array.ndim) for array in arrays)
        message = f"Tensors of different ranks cannot be padded to one shape: {ranks}"
        raise ServingError(Status.INVALID_ARGUMENT, message)
    shape = tuple(np.max([array.shape[1:] for array in arrays], axis=0))
    return [_padded_to(shape, array) for array in arrays]


def _padded_to(shape: tuple[int, ...], array: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    if array.shape[1:] == shape:
        return array
    if not array.size:
        raise ServingError(Status.INVALID_ARGUMENT, "Got empty tensor in batch of non-empty tensors.")
    room = [(0, 0), *((0, most - size) for size, most in zip(array.shape[1:], shape, strict=True))]
    return np.pad(array, room, constant_values=array.flat[0])
