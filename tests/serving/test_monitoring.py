"""The counts of a server's requests, as Prometheus reads them."""

from __future__ import annotations

import re
import threading

import pytest

from serving import text_config
from serving.monitoring import Monitor, note


def value(text: str, name: str, **labels: str) -> float:
    """The number behind a line with these labels, whatever other labels it has."""
    for line in text.splitlines():
        match = re.fullmatch(r"([^{]+)\{(.*)\} (\S+)", line)
        if match and match[1] == name and all(f'{label}="{text}"' in match[2] for label, text in labels.items()):
            return float(match[3])
    raise AssertionError(f"no {name} with {labels} in\n{text}")


def test_requests_are_counted_by_what_is_known_of_them() -> None:
    monitor = Monitor()
    for status in ("OK", "OK", "NOT_FOUND"):
        with monitor.request("Predict", "GRPC") as seen:
            note(model="m", version="3", signature="align")
            seen.status = status
    with pytest.raises(KeyError), monitor.request("Predict", "REST"):
        raise KeyError
    with monitor.request("GetModelStatus", "GRPC"):
        note(model="m")
    text = monitor.text()
    assert value(text, ":tensorflow:serving:request_count", model_name="m", status="OK") == 2
    assert value(text, ":tensorflow:serving:request_count", model_name="m", status="NOT_FOUND") == 1
    latency = ":tensorflow:serving:request_latency"
    assert value(text, f"{latency}_count", model_name="m", API="Predict", entrypoint="GRPC") == 2
    assert value(text, f"{latency}_bucket", model_name="m", entrypoint="GRPC", le="708235") == 2
    assert value(text, "fovea_request_seconds_count", method="GetModelStatus", status="OK") == 1
    assert value(text, "fovea_request_seconds_count", version="3", signature="align", status="OK") == 2
    assert value(text, "fovea_request_seconds_bucket", version="3", status="OK", le="+Inf") == 2
    note(model="nobody")  # outside of a request it is said of none
    assert "nobody" not in monitor.text()


def test_what_is_not_enabled_is_not_there() -> None:
    assert text_config.metrics_path("prometheus_config { enable: true }", "f") == "/monitoring/prometheus/metrics"
    for off in ("", 'prometheus_config { path: "/counts" }', 'prometheus_config { enable: false path: "/counts" }'):
        assert text_config.metrics_path(off, "f") == ""


def test_buckets_add_up() -> None:
    monitor = Monitor()
    with monitor.request("Predict", "GRPC"):
        pass
    for name in (":tensorflow:serving:request_latency_bucket", "fovea_request_seconds_bucket"):
        counts = [float(line.rpartition(" ")[2]) for line in monitor.text().splitlines() if line.startswith(name)]
        assert counts == sorted(counts) and counts[-1] == 1


def test_names_are_escaped() -> None:
    monitor = Monitor()
    with monitor.request("Predict", "REST"):
        note(model='a"b\\c\nd')
    assert r'model_name="a\"b\\c\nd"' in monitor.text()


def test_threads_do_not_mix_their_requests() -> None:
    monitor, both = Monitor(), threading.Barrier(2)

    def client(name: str) -> None:
        with monitor.request("Predict", "GRPC"):
            both.wait()
            note(model=name)
            both.wait()

    threads = [threading.Thread(target=client, args=[name]) for name in "ab"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    text = monitor.text()
    assert {value(text, ":tensorflow:serving:request_count", model_name=name) for name in "ab"} == {1}
