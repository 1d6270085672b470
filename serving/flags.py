"""The server's command line: TensorFlow Serving's flags, spelled the same."""

from __future__ import annotations

import argparse
import dataclasses
import os
from typing import Annotated, Any, ClassVar, get_args, get_type_hints

import annotated_types

Port = Annotated[int, annotated_types.Ge(0), annotated_types.Le(65535)]
Count = Annotated[int, annotated_types.Ge(0)]
AtLeastOne = Annotated[int, annotated_types.Ge(1)]

THREADS = 4 * (os.cpu_count() or 1)
BATCHING_THREADS = 64  # over gRPC a request that waits for its batch keeps a thread: fewer would make small batches


@dataclasses.dataclass(frozen=True)
class Flags:
    """What the flags say; `--name=value` or `--name value`, a bare `--name` is true. 0 turns a port off.

    With `model_config_file`, `model_name` and `model_base_path` count for nothing.
    """

    __pydantic_config__: ClassVar[dict[str, Any]] = {"extra": "forbid"}

    model_base_path: str = ""
    model_name: str = "default"
    model_config_file: str = ""
    model_config_file_poll_wait_seconds: Count = 0
    allow_version_labels_for_unavailable_models: bool = False
    force_allow_any_version_labels_for_unavailable_models: bool = False
    list_models: bool = False
    port: Port = 8500
    grpc_socket_path: str = ""
    grpc_channel_arguments: str = ""
    ssl_config_file: str = ""
    enable_grpc_healthcheck_service: bool = False
    grpc_max_threads: AtLeastOne = THREADS
    rest_api_port: Port = 0
    rest_api_num_threads: AtLeastOne = THREADS
    rest_api_timeout_in_ms: Count = 30_000
    rest_api_enable_cors_support: bool = False
    file_system_poll_wait_seconds: Count = 1
    max_num_load_retries: Count = 5
    load_retry_interval_micros: int = 60_000_000  # below 0: no wait
    monitoring_config_file: str = ""
    enable_batching: bool = False
    batching_parameters_file: str = ""
    enable_per_model_batching_parameters: bool = False
    enable_model_warmup: bool = True
    num_request_iterations_for_warmup: int = 1  # below 1: 1
    saved_model_tags: str = "serve"
    tensorflow_session_parallelism: Count = 0
    tensorflow_intra_op_parallelism: Count = 0
    tensorflow_inter_op_parallelism: Count = 0
    enable_serialization_as_tensor_content: bool = False
    enable_signature_method_name_check: bool = False


# Flags of TensorFlow Serving that change nothing here: a command line that has them still works.
WITHOUT_EFFECT = (
    "enable_profiler",
    "flush_filesystem_caches",
    "mixed_precision",
    "num_load_threads",
    "num_tflite_interpreters_per_pool",
    "num_tflite_pools",
    "num_unload_threads",
    "per_process_gpu_memory_fraction",
    "prefer_tflite_model",
    "remove_unused_fields_from_bundle_metagraph",
    "skip_initialize_tpu",
    "tensorflow_session_config_file",
    "thread_pool_factory_config_file",
    "xla_cpu_compilation_enabled",
    "xla_gpu_compilation_enabled",
)
# Without these the server would not be what was asked for, so they are refused, not ignored.
NOT_SUPPORTED = ("platform_config_file", "use_alts_credentials")


def parse(argv: list[str]) -> tuple[Flags, list[str]]:
    """["--port", "8500", "--model_base_path=/m"] -> the flags, and those that have no effect; else SystemExit(2)."""
    usage = "fovea serve (--model_base_path=DIR | --model_config_file=FILE) [--name=value ...]"
    parser = argparse.ArgumentParser(usage=usage, description=__doc__, allow_abbrev=False)
    hints = get_type_hints(Flags, include_extras=True)
    for field in dataclasses.fields(Flags):
        default: dict[str, Any] = {"default": field.default, "help": f"default: {field.default!r}"}
        if hints[field.name] is bool:
            parser.add_argument(f"--{field.name}", type=_bool, nargs="?", const=True, **default)
        else:
            parser.add_argument(f"--{field.name}", type=_reader(hints[field.name]), **default)
    for name in (*WITHOUT_EFFECT, *NOT_SUPPORTED):
        parser.add_argument(f"--{name}", nargs="?", const="true", help=argparse.SUPPRESS)
    parser.add_argument("--version", action="version", version=_version())
    values = vars(parser.parse_args(argv))
    for name in NOT_SUPPORTED:
        if values.pop(name) not in (None, "", "false", "0"):
            parser.error(f"--{name} is not supported by this server; give --model_name and --model_base_path")
    ignored = [name for name in WITHOUT_EFFECT if values.pop(name) is not None]
    flags = Flags(**values)
    if not (flags.model_base_path or flags.model_config_file):
        parser.error("--model_base_path and --model_config_file are both empty: one of them says what to serve")
    if flags.batching_parameters_file and not flags.enable_batching:
        parser.error("--batching_parameters_file supplied without --enable_batching")
    if not (flags.port or flags.rest_api_port or flags.grpc_socket_path):
        parser.error("--port=0 and --rest_api_port=0: one of them must be a port, or --grpc_socket_path be set")
    if flags.tensorflow_session_parallelism and (
        flags.tensorflow_intra_op_parallelism and flags.tensorflow_inter_op_parallelism
    ):
        parser.error(
            "Either configure --tensorflow_session_parallelism or (--tensorflow_intra_op_parallelism, "
            "--tensorflow_inter_op_parallelism) separately. You cannot configure all."
        )
    if flags.port and flags.port == flags.rest_api_port:
        parser.error(f"--port and --rest_api_port are both {flags.port}, they must differ")
    return _with_threads_for_batches(flags), ignored


def _with_threads_for_batches(flags: Flags) -> Flags:
    """More threads than by default, where batches are made and nothing else was asked for."""
    if not flags.enable_batching:
        return flags

    def more(threads: int) -> int:
        return max(THREADS, BATCHING_THREADS) if threads == THREADS else threads

    return dataclasses.replace(
        flags,
        grpc_max_threads=more(flags.grpc_max_threads),
        rest_api_num_threads=more(flags.rest_api_num_threads),
    )


def _reader(hint: Any) -> Any:
    if hint is str:
        return str

    bounds: tuple[Any, ...] = get_args(hint)[1:]

    def read(text: str) -> int:
        value = int(text)
        for bound in bounds:
            if value < getattr(bound, "ge", value):
                raise argparse.ArgumentTypeError(f"{value} is less than {bound.ge}")
            if value > getattr(bound, "le", value):
                raise argparse.ArgumentTypeError(f"{value} is more than {bound.le}")
        return value

    read.__name__ = "integer"
    return read


def _bool(text: str) -> bool:
    if text.lower() in ("true", "1"):
        return True
    if text.lower() in ("false", "0"):
        return False
    raise argparse.ArgumentTypeError(f"{text!r} is neither true nor false")


def _version() -> str:
    import importlib.metadata  # slow to import, and seldom asked for

    return f"Fovea model server, TensorFlow {importlib.metadata.version('tensorflow')}"
