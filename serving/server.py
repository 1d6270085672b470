"""The model server: TensorFlow Serving's APIs and flags where there is no container engine.

`python -m serving.server --port 8500 --rest_api_port 8501 --model_name m --model_base_path /models/m` serves the
highest version under `/models/m`; `--model_config_file` lists several models. Exit 0: told to stop (SIGTERM, SIGINT);
1: a model does not load, the configuration is wrong, or a port is taken; 2: wrong flags.
"""

from __future__ import annotations

import dataclasses
import gc
import os
import signal
import sys
import threading
import time
import warnings
from collections.abc import Callable
from typing import TYPE_CHECKING, NoReturn

from serving.errors import ServingError
from serving.flags import Flags, parse
from serving.life import ModelVersions, Retries, log
from serving.quiet import without_stderr

if TYPE_CHECKING:
    from serving.configured import ConfiguredModels
    from serving.core import ServerCore
    from serving.model_config import Config
    from serving.saved_model import SavedModel, Servable, Threads

DRAIN_TIMEOUT_S = 30  # how long requests in flight may take after SIGTERM
CLOSE_TIMEOUT_S = 5  # how long models may take after that: what one still does then ends with the process


def run(argv: list[str]) -> NoReturn:
    """`main`, and the end of the process."""
    status = main(argv)
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)  # what had to be closed is: TensorFlow's own clean-up takes seconds, and is known to crash


def main(argv: list[str]) -> int:
    """Serve until a signal; `argv` are the flags, without the program's name.

    It is to be called before there are other threads, of NumPy's for instance, which would take the signal themselves.
    """
    try:
        flags, ignored = parse(argv)
    except SystemExit as exit_:
        return int(exit_.code or 0)
    return serve(flags, ignored, _stop_signal())


def _stop_signal() -> threading.Event:
    """What is set by the first SIGTERM or SIGINT, for which a thread waits.

    A handler would run between two steps of the main thread, when this is about to wait for the event (then nobody
    wakes it) or holds its lock (then `set` waits for ever).
    """
    stop, signals = threading.Event(), {signal.SIGTERM, signal.SIGINT}

    def wait() -> None:
        signal.sigwait(signals)
        stop.set()

    signal.pthread_sigmask(signal.SIG_BLOCK, signals)  # of the threads to come, too, so that the one below has them
    threading.Thread(target=wait, name="signals", daemon=True).start()
    return stop


def serve(flags: Flags, ignored: list[str], stop: threading.Event) -> int:
    """Load, listen, and drain when `stop` is set."""
    _import_tensorflow()
    import tensorflow as tf

    from serving import memory
    from serving.core import ServerCore
    from serving.pollers import ConfigFilePoller

    tf.get_logger().setLevel("ERROR")  # the loader of sessions is deprecated, and what TensorFlow Serving does
    for name in ignored:
        log(f"--{name} has no effect on this server")
    memory.keep_little()
    started = time.monotonic()
    wait_s = flags.model_config_file_poll_wait_seconds
    try:
        models = _models(flags, stop)
    except ServingError as error:
        log(f"failed to start: {error}")
        return 1
    try:
        if not models.start(_first_config(flags)):
            return 0
        with ConfigFilePoller(flags.model_config_file, wait_s, models.reload):
            return _listen_and_drain(flags, ServerCore(models), stop, started)
    except (ServingError, OSError) as error:
        log(f"failed to start: {error}")
        return 1
    finally:
        closing = threading.Thread(target=models.close, daemon=True)
        closing.start()
        closing.join(CLOSE_TIMEOUT_S)
        if closing.is_alive():
            log("stopped while a model was still loading or running a request")


def _import_tensorflow() -> None:
    """Without greetings on which no one can act, and without Keras, which takes as long as the rest: it is not needed.

    At its end TensorFlow imports Keras if it is there, and goes on if that fails. All that it brings stays: Python does
    not look for garbage in it, which would take a tenth of the time.
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # its errors are raised, not only logged
    warnings.filterwarnings("ignore", category=FutureWarning, module="google")
    absent = "keras" not in sys.modules
    if absent:
        sys.modules["keras"] = None  # type: ignore[assignment]  # as if not installed
    gc.disable()
    try:
        with without_stderr():
            import tensorflow  # noqa: F401
    finally:
        gc.enable()
        if absent:
            del sys.modules["keras"]


def _models(flags: Flags, stop: threading.Event) -> ConfiguredModels:
    from serving.configured import ConfiguredModels, LabelRule

    load = _loader(flags)
    retries = Retries(flags.max_num_load_retries, max(0, flags.load_retry_interval_micros) / 1e6)
    rule = LabelRule(
        new=flags.allow_version_labels_for_unavailable_models,
        any=flags.force_allow_any_version_labels_for_unavailable_models,
    )
    return ConfiguredModels(
        lambda name: ModelVersions(name, load, retries), flags.file_system_poll_wait_seconds, rule, stop.is_set
    )


def _first_config(flags: Flags) -> Config:
    from serving.model_config import parse, read_text, single_model

    if not flags.model_config_file:
        return single_model(flags.model_name, flags.model_base_path)
    return parse(read_text(flags.model_config_file), flags.model_config_file)


def _loader(flags: Flags) -> Callable[[str], Servable]:
    from serving.saved_model import SavedModel, serving_error
    from serving.warmup import warm_up

    of_session, batching = threads(flags), _batching(flags)

    def load(path: str) -> Servable:
        tags = flags.saved_model_tags.split(",")
        model = SavedModel(path, tags, of_session, flags.enable_signature_method_name_check)
        try:
            if flags.enable_model_warmup:
                warm_up(model, path, max(1, flags.num_request_iterations_for_warmup))
        except Exception as error:
            model.close()
            raise serving_error(error) from error
        return batching(model, path)

    return load


def threads(flags: Flags) -> Threads:
    """Those of the session of each version."""
    from serving.saved_model import Threads

    intra_op, inter_op = flags.tensorflow_intra_op_parallelism, flags.tensorflow_inter_op_parallelism
    if not (intra_op or inter_op):
        intra_op = inter_op = flags.tensorflow_session_parallelism
    if not flags.enable_batching:
        return Threads(intra_op, inter_op)
    # Batches run side by side, one a processor: what is shared among processors within each only makes them wait.
    return Threads(intra_op or 1, inter_op, 0 if inter_op else os.cpu_count() or 1)


def _batching(flags: Flags) -> Callable[[SavedModel, str], Servable]:
    """What makes a model, of the version at a path, one whose runs are batched, where flags ask for it."""
    from serving import batching_parameters, text_config
    from serving.batching import BatchedModel

    if not flags.enable_batching:
        return lambda model, path: model
    file = flags.batching_parameters_file
    common = batching_parameters.read(text_config.read_file(file), file) if file else batching_parameters.Parameters()

    def batched(model: SavedModel, path: str) -> Servable:
        if not flags.enable_per_model_batching_parameters:
            return BatchedModel(model, common)
        own = os.path.join(path, batching_parameters.FILE)
        if not os.path.exists(own):
            return model
        parameters = batching_parameters.read(text_config.read_file(own), own)
        runs = parameters.num_batch_threads or common.num_batch_threads  # all else is the version's own matter
        return BatchedModel(model, dataclasses.replace(parameters, num_batch_threads=runs))

    return batched


def _listen_and_drain(flags: Flags, core: ServerCore, stop: threading.Event, started: float) -> int:
    from serving import grpc_server as grpc_side
    from serving import rest, text_config
    from serving.monitoring import Monitor
    from serving.rest_server import RestServer

    addresses = [f"0.0.0.0:{flags.port}"] if flags.port else []
    addresses += [f"unix:{flags.grpc_socket_path}"] if flags.grpc_socket_path else []
    monitor = Monitor()
    ssl, monitoring = flags.ssl_config_file, flags.monitoring_config_file
    settings = grpc_side.Settings(
        flags.grpc_max_threads,
        flags.enable_serialization_as_tensor_content,
        flags.enable_grpc_healthcheck_service,
        text_config.tls(text_config.read_file(ssl), ssl) if ssl else None,
        grpc_side.channel_arguments(flags.grpc_channel_arguments),
    )
    grpc_server = grpc_side.GrpcServer(core, settings, monitor)
    metrics_path = text_config.metrics_path(text_config.read_file(monitoring), monitoring) if monitoring else ""
    rest_settings = rest.Settings(
        flags.rest_api_timeout_in_ms,
        flags.rest_api_num_threads,
        flags.rest_api_enable_cors_support,
        flags.list_models,
        metrics_path,
    )
    rest_server = RestServer(rest.RestApi(core, rest_settings, monitor), DRAIN_TIMEOUT_S)
    try:
        grpc_server.start(addresses)
        if flags.rest_api_port:
            rest_server.start(flags.rest_api_port)
            addresses.append(f"http://0.0.0.0:{flags.rest_api_port}")
        log(f"ready on {', '.join(addresses)} after {time.monotonic() - started:.1f} s")
        stop.wait()
        log("stopping: requests in flight finish first")
    finally:
        draining = threading.Thread(target=rest_server.stop)  # both sides at once
        draining.start()
        grpc_server.stop(DRAIN_TIMEOUT_S)
        draining.join()
    return 0


if __name__ == "__main__":
    run(sys.argv[1:])
