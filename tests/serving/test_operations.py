"""What people who run a server need: counts, health, readiness, TLS, batches; against servers of their own."""

from __future__ import annotations

import concurrent.futures
import contextlib
import datetime
import ipaddress
import os
import re
import shutil
import signal
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from serving import health
from serving.client import Client, ServingError, Status, Tls, connect
from tests.serving.stubs import Served
from tests.serving.test_monitoring import value
from tests.serving.tiny_server import Server, export_tiny_model, running, wait_until

MONITORING = 'prometheus_config { enable: true path: "/counts" }'
BATCHING = "max_batch_size { value: 4 } batch_timeout_micros { value: 50000 }"


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("operations") / "models"
    export_tiny_model(folder / "1", version=1)
    (folder / "1" / "batching_params.pbtxt").write_text("max_batch_size { value: 3 }")
    return folder


@pytest.fixture(scope="module")
def operated(models: Path) -> Iterator[Server]:
    """With counts, health and batches."""
    folder = models.parent
    (folder / "monitoring").write_text(MONITORING)
    (folder / "batching").write_text(BATCHING)
    flags = [f"--monitoring_config_file={folder}/monitoring", "--enable_grpc_healthcheck_service"]
    flags += ["--enable_batching", f"--batching_parameters_file={folder}/batching"]
    flags += ["--grpc_channel_arguments=grpc.max_connection_age_ms=600000"]
    with running(models, folder / "log", *flags) as started:
        started.wait_ready()
        yield started


def test_requests_are_counted(operated: Server) -> None:
    for address in (operated.grpc_address, operated.rest_address):
        with connect(address, "tiny", retry=False) as client:
            client.predict("half", {"x": [3.0]})
            with pytest.raises(ServingError):
                client.predict("nothing", {"x": [3.0]})
    with connect(operated.grpc_address, "tiny", version=77, retry=False) as client, pytest.raises(ServingError):
        client.predict("half", {"x": [3.0]})
    assert operated.predict(b"[")[0] == 400
    status, content = operated.http("GET", "/counts")
    text = content.decode()
    assert status == 200 and value(text, ":tensorflow:serving:request_count", model_name="tiny", status="OK") >= 2
    for entrypoint, method in (("GRPC", "Predict"), ("REST", "predict")):
        name = ":tensorflow:serving:request_latency_count"
        assert value(text, name, model_name="tiny", API=method, entrypoint=entrypoint) >= 1
        ours = {"model": "tiny", "version": "1", "signature": "half", "method": method}
        assert value(text, "fovea_request_seconds_count", status="OK", **ours) >= 1
    assert value(text, "fovea_request_seconds_count", signature="", status="FAILED_PRECONDITION") >= 1
    for error in ("NOT_FOUND", "INVALID_ARGUMENT"):  # of the model, though no version was asked
        assert value(text, "fovea_request_seconds_count", model="tiny", version="", status=error) >= 1
        assert value(text, ":tensorflow:serving:request_count", model_name="tiny", status=error) >= 1
    assert "nothing" not in text  # what clients make up is no label


def test_the_counts_are_where_the_file_says(operated: Server, server: Server) -> None:
    assert operated.http("GET", "/monitoring/prometheus/metrics")[0] == 404
    assert server.http("GET", "/monitoring/prometheus/metrics")[0] == 404


def test_it_is_alive_and_ready(operated: Server) -> None:
    for path in ("/livez", "/readyz"):
        assert operated.http("GET", path) == (200, b"ok\n")


def check(address: str, service: str) -> int:
    with grpc.insecure_channel(address) as channel:
        call = channel.unary_unary(
            "/grpc.health.v1.Health/Check",
            request_serializer=lambda message: message.SerializeToString(),
            response_deserializer=health.Response.FromString,
        )
        return int(call(health.Request(service=service), timeout=30).status)


def test_health(operated: Server, server: Server) -> None:
    assert check(operated.grpc_address, "") == health.SERVING
    for address, service, code in (
        (operated.grpc_address, "other", grpc.StatusCode.NOT_FOUND),
        (server.grpc_address, "", grpc.StatusCode.UNIMPLEMENTED),  # without the flag
    ):
        with pytest.raises(grpc.RpcError) as caught:
            check(address, service)
        assert caught.value.code() is code


def giving_way(server: Server) -> int:
    """Threads that interrupt nobody when they wake up."""
    threads = os.listdir(f"/proc/{server.process.pid}/task")
    return [os.sched_getscheduler(int(thread)) for thread in threads].count(os.SCHED_BATCH)


def test_threads_of_grpc_give_way_to_runs(operated: Server) -> None:
    with connect(operated.grpc_address, "tiny") as client:
        client.predict("half", {"x": [3.0]})
    assert giving_way(operated) > 2 and os.sched_getscheduler(operated.process.pid) == os.SCHED_OTHER


def test_threads_of_a_model_that_a_reload_brings_do_not(models: Path, tmp_path: Path) -> None:
    (tmp_path / "config").write_text("")
    flags = f"--model_config_file={tmp_path}/config", "--enable_batching"
    with running(models, tmp_path / "log", *flags) as started:
        started.wait_ready()
        served = Served(started, models)
        assert served.predict("tiny") == ("NOT_FOUND", "Servable not found for request: Latest(tiny)")
        before = giving_way(started)
        assert served.reload(tiny=f'base_path: "{models}"') is None and served.predict("tiny") == 1
        assert giving_way(started) <= before + 1  # another one of gRPC's


def test_batches(operated: Server) -> None:
    answers: dict[int, list[float]] = {}

    def client(number: int) -> None:
        with connect(operated.grpc_address, "tiny") as opened:
            answers[number] = opened.predict("half", {"x": [float(number), number + 1.0]})["y"].tolist()

    threads = [threading.Thread(target=client, args=[number]) for number in range(9)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert answers == {number: [number / 2, number / 2 + 0.5] for number in range(9)}
    with connect(operated.grpc_address, "tiny") as opened, pytest.raises(ServingError) as caught:
        opened.predict("half", {"x": [1.0] * 5})
    assert caught.value.message == "Task size 5 is larger than maximum input batch size 4"


def test_a_small_rest_request_waits_for_its_batch_without_a_thread(models: Path, tmp_path: Path) -> None:
    """Only all four make the batch full, whose timeout is ten minutes, and there is one thread."""
    (tmp_path / "batching").write_text("max_batch_size { value: 4 } batch_timeout_micros { value: 600000000 }")
    flags = ["--enable_batching", f"--batching_parameters_file={tmp_path}/batching", "--rest_api_num_threads=1"]
    answers: dict[int, list[float]] = {}
    with running(models, tmp_path / "log", *flags) as started:
        started.wait_ready()

        def client(number: int) -> None:
            with connect(started.rest_address, "tiny", timeout_s=60) as opened:
                answers[number] = opened.predict("half", {"x": [float(number)]})["y"].tolist()

        threads = [threading.Thread(target=client, args=[number]) for number in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert answers == {number: [number / 2] for number in range(4)}


@pytest.mark.parametrize("pad", [True, False])
def test_parameters_of_batches_reach_them(pad: bool, models: Path, tmp_path: Path) -> None:
    """Two rows are a run, whose timeout is ten minutes; four come in parts."""
    (tmp_path / "batching").write_text(
        "max_batch_size { value: 4 } batch_timeout_micros { value: 600000000 } allowed_batch_sizes: 2"
        " enable_large_batch_splitting { value: true } max_execution_batch_size { value: 2 }"
        f" num_batch_threads {{ value: 1 }} pad_variable_length_inputs: {str(pad).lower()}"
    )
    flags = ["--enable_batching", f"--batching_parameters_file={tmp_path}/batching"]
    with running(models, tmp_path / "log", *flags) as started, concurrent.futures.ThreadPoolExecutor() as pool:
        started.wait_ready()
        rows = ([[2.0]], [[4.0, 6.0, 8.0]])
        bodies = [{"signature_name": "half", "inputs": {"x": x}} for x in (*rows, [[1.0]] * 4)]
        (status, short), (_, long) = pool.map(started.predict, bodies[:2])
        if pad:
            assert (short, long) == ({"outputs": [[1.0, 1.0, 1.0]]}, {"outputs": [[2.0, 3.0, 4.0]]})
        else:
            assert status == 400 and short == long and "padding is turned off" in short["error"]
        assert started.predict(bodies[2]) == (200, {"outputs": [[0.5]] * 4})


def test_a_queue_that_is_full(models: Path, tmp_path: Path) -> None:
    """One batch may wait, for as long as nobody fills it: there is no room for another one then."""
    (tmp_path / "batching").write_text(
        "max_batch_size { value: 2 } batch_timeout_micros { value: 600000000 } max_enqueued_batches { value: 1 }"
    )
    flags = ["--enable_batching", f"--batching_parameters_file={tmp_path}/batching"]
    with running(models, tmp_path / "log", *flags) as started, contextlib.ExitStack() as ended:
        started.wait_ready()
        addresses = started.grpc_address, started.rest_address
        patient = [ended.enter_context(connect(address, "tiny", timeout_s=120)) for address in addresses]
        hasty = [ended.enter_context(connect(address, "tiny", retry=False)) for address in addresses]
        with concurrent.futures.ThreadPoolExecutor() as pool:

            def ask(client: Client, *x: float) -> concurrent.futures.Future[Any]:
                return pool.submit(client.predict, "half", {"x": x})

            first = ask(patient[0], 1.0)
            for client in hasty:
                refusal = wait_until(lambda client=client: ask(client, 2.0, 3.0).exception(), "the queue to be full")
                assert isinstance(refusal, ServingError) and refusal.status is Status.UNAVAILABLE
                assert refusal.message.startswith("The batch scheduling queue to which this task was submitted is full")
            later = [ask(client, 4.0, 5.0) for client in patient]
            assert ask(hasty[0], 6.0).result()["y"].tolist() == [3.0]  # and now it is not
            assert first.result()["y"].tolist() == [0.5]
            assert [answer.result()["y"].tolist() for answer in later] == [[2.0, 2.5]] * 2


def test_a_version_may_have_batching_parameters_of_its_own(models: Path, tmp_path: Path) -> None:
    flags = ["--enable_batching", "--enable_per_model_batching_parameters"]
    with running(models, tmp_path / "log", *flags) as started:
        started.wait_ready()
        with connect(started.rest_address, "tiny") as opened, pytest.raises(ServingError, match="batch size 3"):
            opened.predict("half", {"x": [1.0] * 4})


def test_a_version_without_parameters_of_its_own_has_no_batches(models: Path, tmp_path: Path) -> None:
    shutil.copytree(models / "1", tmp_path / "models" / "1", ignore=lambda *_: ["batching_params.pbtxt"])
    (tmp_path / "batching").write_text("max_batch_size { value: 3 }")
    flags = ["--enable_batching", "--enable_per_model_batching_parameters"]
    flags += [f"--batching_parameters_file={tmp_path}/batching"]
    with running(tmp_path / "models", tmp_path / "log", *flags) as started:
        started.wait_ready()
        with connect(started.grpc_address, "tiny") as opened:
            assert opened.predict("half", {"x": [1.0] * 4})["y"].tolist() == [0.5] * 4


def test_those_who_watch_health_hold_no_thread(models: Path, tmp_path: Path) -> None:
    flags = ["--enable_grpc_healthcheck_service", "--grpc_max_threads=1"]
    with running(models, tmp_path / "log", *flags) as started, grpc.insecure_channel(started.grpc_address) as channel:
        started.wait_ready()
        watch = channel.unary_stream(
            "/grpc.health.v1.Health/Watch",
            request_serializer=lambda message: message.SerializeToString(),
            response_deserializer=health.Response.FromString,
        )
        known = [watch(health.Request(), timeout=60) for _ in range(3)]
        unknown = watch(health.Request(service="other"), timeout=60)
        assert [next(stream).status for stream in known] == [health.SERVING] * 3
        assert next(unknown).status == health.SERVICE_UNKNOWN  # and the stream stays open
        known.pop().cancel()
        assert check(started.grpc_address, "") == health.SERVING
        started.process.send_signal(signal.SIGTERM)
        assert [[response.status for response in stream] for stream in known] == [[health.NOT_SERVING]] * 2
        assert started.process.wait(30) == 0


def self_signed() -> tuple[bytes, bytes]:
    """(Key, certificate) of localhost."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "localhost")])
    names = x509.SubjectAlternativeName([x509.DNSName("localhost"), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))])
    now = datetime.datetime.now(datetime.timezone.utc)
    builder = x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
    builder = builder.not_valid_before(now - datetime.timedelta(hours=1)).not_valid_after(
        now + datetime.timedelta(days=1)
    )
    signed = builder.add_extension(names, critical=False).sign(key, hashes.SHA256())
    pem = serialization.Encoding.PEM
    plain = serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    return key.private_bytes(pem, *plain), signed.public_bytes(pem)


def quoted(pem: bytes) -> str:
    return '"' + pem.decode().replace("\n", "\\n") + '"'


def test_tls(models: Path, tmp_path: Path) -> None:
    (key, certificate), (own_key, own) = self_signed(), self_signed()
    (tmp_path / "ssl").write_text(
        f"server_key: {quoted(key)} server_cert: {quoted(certificate)} custom_ca: {quoted(own)} client_verify: true"
    )
    with running(models, tmp_path / "log", f"--ssl_config_file={tmp_path}/ssl") as started:
        started.wait_ready()
        known = Tls(certificate, own_key, own)
        with connect(started.grpc_address, "tiny", tls=known) as opened:
            np.testing.assert_array_equal(opened.predict("half", {"x": [3.0]})["y"], np.float32([1.5]))
        for stranger in (None, Tls(certificate), Tls(own, own_key, own)):
            with connect(started.grpc_address, "tiny", tls=stranger, retry=False, timeout_s=10) as opened:
                with pytest.raises(ServingError) as caught:
                    opened.predict("half", {"x": [3.0]})
                assert caught.value.status is Status.UNAVAILABLE
        with connect(started.rest_address, "tiny") as opened:  # REST has no TLS there either
            assert opened.predict("half", {"x": [3.0]})["y"].tolist() == [1.5]


def test_tls_for_whom_nobody_asks(models: Path, tmp_path: Path) -> None:
    key, certificate = self_signed()
    (tmp_path / "ssl").write_text(f"server_key: {quoted(key)} server_cert: {quoted(certificate)}")
    with running(models, tmp_path / "log", f"--ssl_config_file={tmp_path}/ssl") as started:
        started.wait_ready()
        with connect(started.grpc_address, "tiny", tls=Tls(certificate)) as opened:
            assert opened.predict("half", {"x": [3.0]})["y"].tolist() == [1.5]
        plain = connect(started.grpc_address, "tiny", retry=False, timeout_s=10)
        with plain, pytest.raises(ServingError, match="UNAVAILABLE"):
            plain.predict("half", {"x": [3.0]})


@pytest.mark.parametrize(
    ("flag", "content", "error"),
    [
        ("--ssl_config_file", "server_key: 'a'", "server_key: expected PEM"),
        ("--monitoring_config_file", "prometheus { }", r":1:1 : .*prometheus"),
        ("--batching_parameters_file", "max_batch_size { value: -1 }", "max_batch_size must be positive; was -1"),
        ("--batching_parameters_file", None, "cannot be read"),
    ],
)
def test_files_that_cannot_be_used_stop_the_start(
    models: Path, tmp_path: Path, flag: str, content: str | None, error: str
) -> None:
    if content is not None:
        (tmp_path / "file").write_text(content)
    with running(models, tmp_path / "log", f"{flag}={tmp_path}/file", "--enable_batching") as started:
        assert started.process.wait(60) == 1
        assert re.search(rf"failed to start: .*{error}", started.log())
