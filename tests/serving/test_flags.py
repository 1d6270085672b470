"""The command line of the server."""

from __future__ import annotations

import os

import pytest

from serving.flags import BATCHING_THREADS, THREADS, Flags, parse
from serving.saved_model import Threads
from serving.server import main, threads


def test_both_spellings() -> None:
    argv = ["--port=8501", "--rest_api_port", "8502", "--model_base_path", "/m", "--enable_model_warmup=false"]
    flags, ignored = parse([*argv, "--rest_api_enable_cors_support"])
    assert flags == Flags(
        "/m", port=8501, rest_api_port=8502, enable_model_warmup=False, rest_api_enable_cors_support=True
    )
    assert ignored == []


def test_defaults_are_tensorflow_servings() -> None:
    flags, _ = parse(["--model_base_path=/m"])
    assert (flags.model_name, flags.port, flags.rest_api_port) == ("default", 8500, 0)
    assert (flags.max_num_load_retries, flags.load_retry_interval_micros) == (5, 60_000_000)
    assert (flags.file_system_poll_wait_seconds, flags.rest_api_timeout_in_ms) == (1, 30_000)


def test_batches_have_threads_to_wait_in() -> None:
    flags, _ = parse(["--model_base_path=/m"])
    assert (flags.grpc_max_threads, flags.rest_api_num_threads) == (THREADS, THREADS)
    flags, _ = parse(["--model_base_path=/m", "--enable_batching", "--rest_api_num_threads=7"])
    assert flags.grpc_max_threads >= BATCHING_THREADS and flags.rest_api_num_threads == 7


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ([], Threads()),
        (["--tensorflow_session_parallelism=3"], Threads(intra_op=3, inter_op=3)),
        (["--tensorflow_intra_op_parallelism=2", "--tensorflow_inter_op_parallelism=5"], Threads(2, 5)),
        (["--tensorflow_inter_op_parallelism=5", "--tensorflow_session_parallelism=3"], Threads(inter_op=5)),
        (["--tensorflow_intra_op_parallelism=2", "--enable_batching"], Threads(2, own=os.cpu_count() or 1)),
        (["--tensorflow_inter_op_parallelism=5", "--enable_batching"], Threads(1, 5)),
    ],
)
def test_threads_of_a_session(given: list[str], expected: Threads) -> None:
    flags, _ = parse(["--model_base_path=/m", *given])
    assert threads(flags) == expected


def test_flags_without_effect_are_accepted() -> None:
    _, ignored = parse(["--model_base_path=/m", "--enable_profiler", "--num_load_threads=2", "--port=1"])
    assert ignored == ["enable_profiler", "num_load_threads"]
    _, ignored = parse(["--model_base_path=/m", "--use_alts_credentials=false", "--xla_gpu_compilation_enabled=1"])
    assert ignored == ["xla_gpu_compilation_enabled"]


def test_numbers_below_what_counts_are_accepted() -> None:
    flags, _ = parse(
        ["--model_base_path=/m", "--load_retry_interval_micros=-1", "--num_request_iterations_for_warmup=0"]
    )
    assert (flags.load_retry_interval_micros, flags.num_request_iterations_for_warmup) == (-1, 0)


def test_a_configuration_file_takes_the_place_of_the_base_path() -> None:
    flags, ignored = parse(["--model_config_file=/c", "--model_config_file_poll_wait_seconds=7", "--list_models"])
    assert flags == Flags(model_config_file="/c", model_config_file_poll_wait_seconds=7, list_models=True)
    assert ignored == []


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        ([], "--model_base_path and --model_config_file are both empty"),
        (["--model_base_path=/m", "--prt=1"], "unrecognized arguments: --prt=1"),
        (["--model_base_path=/m", "--port=x"], "argument --port: invalid integer value: 'x'"),
        (["--model_base_path=/m", "--port=65536"], "argument --port: 65536 is more than 65535"),
        (["--model_base_path=/m", "--grpc_max_threads=0"], "argument --grpc_max_threads: 0 is less than 1"),
        (["--model_base_path=/m", "--enable_model_warmup=yes"], "'yes' is neither true nor false"),
        (["--model_base_path=/m", "--port=0"], "--port=0 and --rest_api_port=0: one of them must be a port"),
        (["--model_base_path=/m", "--rest_api_port=8500"], "--port and --rest_api_port are both 8500"),
        (["--model_base_path=/m", "--batching_parameters_file=/b"], "supplied without --enable_batching"),
        (
            [f"--tensorflow_{kind}_parallelism=2" for kind in ("session", "intra_op", "inter_op")]
            + ["--model_base_path=/m"],
            "You cannot configure all.",
        ),
        (["--model_base_path=/m", "--platform_config_file=/c"], "--platform_config_file is not supported"),
    ],
)
def test_wrong_flags(argv: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(argv) == 2
    assert message in capsys.readouterr().err
