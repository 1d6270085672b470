"""A SavedModel in a session, which is TensorFlow Serving's own runtime: its checks, and its error texts."""

from __future__ import annotations

import collections
import concurrent.futures
import contextlib
import dataclasses
import os
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Protocol

import numpy as np
import tensorflow as tf
from tensorflow.core.protobuf import meta_graph_pb2, rewriter_config_pb2
from tensorflow.python.client import pywrap_tf_session

from serving import text_ops
from serving.errors import ServingError, Status

text_ops.register()

NO_TIMEOUT = 0
_SHARED = 0  # the number of the pool for runs that have no thread of their own

Arrays = list[np.ndarray[Any, Any]]
Feeds = Mapping[str, np.ndarray[Any, Any]]


@dataclasses.dataclass(frozen=True)
class Threads:
    """Sizes of a session's thread pools; 0: TensorFlow chooses.

    Attributes:
        intra_op: threads within an operation.
        inter_op: threads for the operations of all runs.
        own: so many runs at a time have a thread each, all for their operations, and only others, and a run that is
            alone, share `inter_op`. What runs beside others is faster so: else each run's operations are handed from
            thread to thread. What is alone is faster on all of them.
    """

    intra_op: int = 0
    inter_op: int = 0
    own: int = 0


def serving_error(error: Exception) -> ServingError:
    """An error of TensorFlow as the status that it is."""
    if isinstance(error, ServingError):
        return error
    if isinstance(error, tf.errors.OpError):
        return ServingError(Status(error.error_code), str(error.message))
    return ServingError(Status.UNKNOWN, f"{type(error).__name__}: {error}")


class Servable(Protocol):
    """A model that answers requests: a `SavedModel`, or one whose runs are batched (`serving/batching.py`)."""

    check_method_names: bool

    @property
    def signatures(self) -> Mapping[str, meta_graph_pb2.SignatureDef]:
        """The signatures by name."""

    def run(self, feeds: Feeds, fetches: Sequence[str], timeout_ms: int = NO_TIMEOUT) -> Arrays:
        """Tensors in, tensors out, by their names in the graph; ServingError where that fails."""

    def start(
        self, feeds: Feeds, fetches: Sequence[str], timeout_ms: int, pool: concurrent.futures.Executor
    ) -> concurrent.futures.Future[Arrays]:
        """The same, without waiting for it: where it needs a thread, it is one of the pool."""

    def close(self) -> None:
        """Free it."""


class SavedModel:
    """The meta graph with the given tags, its variables restored and its tables initialised.

    Attributes:
        check_method_names: whether a request may only run a signature whose method name is that of the request.
    """

    def __init__(self, path: str, tags: Sequence[str], threads: Threads, check_method_names: bool = False) -> None:
        self.check_method_names = check_method_names
        if not any(os.path.exists(os.path.join(path, name)) for name in ("saved_model.pb", "saved_model.pbtxt")):
            message = f"Could not find SavedModel .pb or .pbtxt at supplied export directory path: {path}."
            raise ServingError(Status.NOT_FOUND, message)
        self._free = collections.deque(range(_SHARED + 1, _SHARED + 1 + threads.own))  # numbers of pools of one thread
        self._own = threads.own
        self._graph = tf.Graph()
        self._session = tf.compat.v1.Session(graph=self._graph, config=_config(threads))
        self._outputs_by_name: dict[str, Any] = {}
        try:
            self._meta_graph = self._load(path, tags)
        except Exception as error:
            self._session.close()
            raise serving_error(error) from error

    def _load(self, path: str, tags: Sequence[str]) -> meta_graph_pb2.MetaGraphDef:
        with self._graph.as_default():
            try:
                return tf.compat.v1.saved_model.load(self._session, list(tags), path)
            except RuntimeError as error:  # what the loader raises for tags that the model does not have
                message = f"Could not find meta graph def matching supplied tags: {{ {' '.join(tags)} }}. {error}"
                raise ServingError(Status.NOT_FOUND, message) from error

    @property
    def signatures(self) -> Mapping[str, meta_graph_pb2.SignatureDef]:
        """The signatures by name, with TensorFlow's own `__saved_model_init_op`, as TensorFlow Serving lists them."""
        signatures: Mapping[str, meta_graph_pb2.SignatureDef] = self._meta_graph.signature_def
        return signatures

    def run(self, feeds: Feeds, fetches: Sequence[str], timeout_ms: int = NO_TIMEOUT) -> Arrays:
        """{"text:0": [b"a"]}, ["upper:0"] -> [[b"A"]].

        This is the call below `Session.run`, which casts inputs to the placeholder's type where a server must refuse
        them, rewrites the messages of errors, and takes 0.1 ms more. A callable has other messages and no deadline.
        """
        session = self._session._session
        with self._options(timeout_ms) as options:
            try:
                feed = {self._output(name): array for name, array in feeds.items()}
                fetch = [self._output(name) for name in fetches]
                outputs = pywrap_tf_session.TF_SessionRun_wrapper(session, options, feed, fetch, [], None)
            except Exception as error:
                raise serving_error(error) from error
        return [_array(output) for output in outputs]

    @contextlib.contextmanager
    def _options(self, timeout_ms: int) -> Iterator[Any]:
        """RunOptions for a run within the block: it holds a thread while one is free, and uses it unless alone."""
        try:
            held = self._free.pop()
        except IndexError:
            held = _SHARED
        alone = len(self._free) + 1 == self._own
        options = tf.compat.v1.RunOptions(timeout_in_ms=timeout_ms, inter_op_thread_pool=_SHARED if alone else held)
        buffer = pywrap_tf_session.TF_NewBufferFromString(options.SerializeToString())
        try:
            yield buffer
        finally:
            pywrap_tf_session.TF_DeleteBuffer(buffer)
            if held != _SHARED:
                self._free.append(held)

    def start(
        self, feeds: Feeds, fetches: Sequence[str], timeout_ms: int, pool: concurrent.futures.Executor
    ) -> concurrent.futures.Future[Arrays]:
        """`run` on a thread of the pool."""
        return pool.submit(self.run, feeds, fetches, timeout_ms)

    def _output(self, name: str) -> Any:
        if name not in self._outputs_by_name:
            try:
                self._outputs_by_name[name] = self._graph.get_tensor_by_name(name)._as_tf_output()
            except (KeyError, ValueError) as error:
                message = f"Tensor {name}, specified in either feed_devices or fetch_devices was not found in the Graph"
                raise ServingError(Status.INVALID_ARGUMENT, message) from error
        return self._outputs_by_name[name]

    def close(self) -> None:
        """Free the session and its variables."""
        self._session.close()


def _config(threads: Threads) -> tf.compat.v1.ConfigProto:
    """How a session runs, and how it prepares graphs: without what takes long and made ours no faster."""
    config = tf.compat.v1.ConfigProto(
        intra_op_parallelism_threads=threads.intra_op,
        inter_op_parallelism_threads=threads.inter_op,
        allow_soft_placement=True,
    )
    if threads.own:
        config.session_inter_op_thread_pool.add(num_threads=threads.inter_op, global_name="shared")
        for _ in range(threads.own):
            config.session_inter_op_thread_pool.add(num_threads=1)
    rewriting, rewrite = config.graph_options.rewrite_options, rewriter_config_pb2.RewriterConfig
    # It saves memory of accelerators; on a CPU all it does is to complain of shapes that it does not know.
    rewriting.memory_optimization = rewrite.NO_MEM_OPT
    rewriting.layout_optimizer = rewrite.OFF  # of use for accelerators, too
    rewriting.disable_tfg_optimizer = True
    rewriting.meta_optimizer_iterations = rewrite.ONE  # of two
    return config


def _array(output: Any) -> np.ndarray[Any, Any]:
    """Of a scalar string the call below Session.run gives the bytes alone: b"a" -> an array without axes."""
    return np.array(output, dtype=object) if isinstance(output, bytes) else output
