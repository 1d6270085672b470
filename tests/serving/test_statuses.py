"""Errors of a model's own ops: the same status over gRPC and over REST."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
import tensorflow as tf

from serving.client import connect
from serving.errors import ServingError, Status, http_status
from tests.serving.tiny_server import MODEL, Server, running

NO_ROOM = 2**44  # numbers, more than a process has addresses for


def after(op: tf.Operation) -> tf.Tensor:
    with tf.control_dependencies([op]):
        return tf.constant(0.0)


def cancelled() -> tf.Tensor:
    queue = tf.raw_ops.FIFOQueueV2(component_types=[tf.float32], shared_name="closed")
    with tf.control_dependencies([tf.raw_ops.QueueCloseV2(handle=queue)]):
        return after(tf.raw_ops.QueueEnqueueV2(handle=queue, components=[1.0]))


def permission_denied() -> tf.Tensor:
    return after(tf.io.write_file("/proc/sys/kernel/ostype", "another"))  # which nobody may, root neither


def not_found() -> tf.Tensor:
    return tf.io.read_file("/there/is/no/such/file")


def already_exists() -> tf.Tensor:
    first = tf.raw_ops.TemporaryVariable(shape=[1], dtype=tf.float32, var_name="one", name="first")
    with tf.control_dependencies([first]):
        return tf.raw_ops.TemporaryVariable(shape=[1], dtype=tf.float32, var_name="one", name="second")


def resource_exhausted() -> tf.Tensor:
    size = tf.random.uniform([], NO_ROOM, NO_ROOM + 1, tf.int64)  # a constant would be folded, with another error
    return tf.fill([size], 0.0)


def unimplemented() -> tf.Tensor:
    return tf.raw_ops.MaxPool(input=tf.zeros([1, 4, 4, 2]), ksize=[1, 2, 2, 2], strides=[1, 2, 2, 2], padding="VALID")


def data_loss() -> tf.Tensor:
    return tf.raw_ops.RestoreV2(prefix=__file__, tensor_names=["w"], shape_and_slices=[""], dtypes=[tf.float32])[0]


FAILING = [cancelled, permission_denied, not_found, already_exists, resource_exhausted, unimplemented, data_loss]


def signature(failing: Callable[[], tf.Tensor]) -> tf.types.experimental.ConcreteFunction:
    def run(x: tf.Tensor) -> dict[str, tf.Tensor]:
        return {"x": x, "y": failing()}

    return tf.function(run).get_concrete_function(tf.TensorSpec([None], tf.float32, "x"))


@pytest.fixture(scope="module")
def fails(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("fails")
    signatures = {failing.__name__: signature(failing) for failing in FAILING}
    tf.saved_model.save(tf.Module(), str(folder / "models" / "1"), signatures=signatures)
    with running(folder / "models", folder / "log") as started:
        started.wait_ready()
        yield started


@pytest.mark.parametrize("name", [failing.__name__ for failing in FAILING])
def test_an_error_of_an_op(name: str, fails: Server) -> None:
    wanted = Status[name.upper()]
    with connect(fails.grpc_address, MODEL, retry=False) as client, pytest.raises(ServingError) as caught:
        client.predict(name, {"x": [1.0]})
    assert caught.value.status is wanted
    status, answer = fails.predict({"signature_name": name, "instances": [1.0]})
    assert (status, list(answer)) == (http_status(wanted), ["error"])
