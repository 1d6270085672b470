"""Warm-up: a new version answers the requests that its export brought along before it answers anybody else's."""

from __future__ import annotations

import concurrent.futures
import functools
import itertools
import os
from collections.abc import Callable
from typing import Any

import tensorflow as tf
from tensorflow_serving.apis import predict_pb2, prediction_log_pb2

from serving.errors import ServingError, Status
from serving.inference import CLASSIFY, REGRESS, infer
from serving.life import log
from serving.multi_inference import multi_infer
from serving.predict import predict
from serving.saved_model import Servable, serving_error
from serving.tensors import read_tensor

REQUESTS = os.path.join("assets.extra", "tf_serving_warmup_requests")  # a TFRecord of PredictionLog
MAX_RECORDS = 1000


def warm_up(model: Servable, path: str, iterations: int = 1) -> None:
    """Replay the requests of the version at `path`, if it has any, side by side; any failure fails the load.

    TensorFlow prepares a graph for each signature when it is first run, and uses one processor for it.
    """
    requests_path = os.path.join(path, REQUESTS)
    if not os.path.exists(requests_path):
        return
    try:
        records = list(itertools.islice(tf.compat.v1.io.tf_record_iterator(requests_path), MAX_RECORDS + 1))
        if len(records) > MAX_RECORDS:
            message = f"Number of warmup records exceeds the maximum ({MAX_RECORDS}) at {requests_path}"
            raise ServingError(Status.INVALID_ARGUMENT, message)
        replay = functools.partial(_replay, model, requests_path, iterations)
        with concurrent.futures.ThreadPoolExecutor(os.cpu_count(), thread_name_prefix="warm-up") as pool:
            list(pool.map(replay, records))  # what has not begun when one fails does not begin
    except tf.errors.DataLossError as error:
        message = f"{error.message}. Please verify your warmup data is in TFRecord format."
        raise ServingError(Status.DATA_LOSS, message) from error
    except tf.errors.OpError as error:
        raise serving_error(error) from error


def _replay(model: Servable, requests_path: str, iterations: int, record: bytes) -> None:
    try:
        logged = prediction_log_pb2.PredictionLog.FromString(record)
    except Exception as error:  # DecodeError, whose class depends on protobuf's implementation
        message = f"Failed to parse warmup record: {record!r} from {requests_path}"
        raise ServingError(Status.INVALID_ARGUMENT, message) from error
    kind = logged.WhichOneof("log_type")
    if kind in REPLAYS:
        for _ in range(iterations):
            REPLAYS[kind](model, getattr(logged, kind).request)
    elif kind == "session_run_log":
        raise ServingError(Status.UNIMPLEMENTED, f"Unsupported log_type for warmup: {kind}")
    else:
        log(f"a warm-up request of {requests_path} is of a kind ({kind}) that this server does not know: skipped")


def _predict(model: Servable, request: predict_pb2.PredictRequest) -> None:
    predict(model, request.model_spec.signature_name, request.inputs, read_tensor, list(request.output_filter))


REPLAYS: dict[str, Callable[[Servable, Any], object]] = {
    "predict_log": _predict,
    "classify_log": lambda model, request: infer(model, CLASSIFY, request.model_spec.signature_name, request.input),
    "regress_log": lambda model, request: infer(model, REGRESS, request.model_spec.signature_name, request.input),
    "multi_inference_log": lambda model, request: multi_infer(model, request.tasks, request.input),
}
