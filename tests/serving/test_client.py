"""The clients: against a running server, and of the light protobuf messages against TensorFlow's own."""

from __future__ import annotations

import contextlib
import http.server
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from serving import wire
from serving.client import Client, ServingError, Status, Tls, connect
from serving.tensors import write_tensor
from tests.serving.tiny_server import Gate, Server


@pytest.fixture(params=["gRPC", "REST"])
def client(server: Server, request: Any) -> Any:
    address = server.grpc_address if request.param == "gRPC" else server.rest_address
    with connect(address, model="tiny") as opened:
        yield opened


def test_text_and_numbers(client: Client) -> None:
    outputs = client.predict("serving_default", {"text": ["one", "sieben"]})
    assert outputs["text"] == ["eins", "?"]
    assert (outputs["score"].dtype, outputs["version"].dtype) == (np.float32, np.int64)
    np.testing.assert_array_equal(outputs["score"], np.float32([3 / 4, 6 / 4]))


def test_two_inputs_of_text(client: Client) -> None:
    outputs = client.predict("pair", {"text": ["one", "deux"], "target": ["one", "two"]})
    assert outputs["pieces"] == [["one", "one"], ["deux", "two"]]
    np.testing.assert_array_equal(outputs["score"], np.float32([1, 0]))
    with pytest.raises(ServingError, match=r"len\(\{text\}\) != len\(\{target,text\}\)|Missing .*target"):
        client.predict("pair", {"text": ["one"]})


def test_one_output_has_its_name(client: Client) -> None:
    outputs = client.predict("half", {"x": [3.0, np.float32(5)]})
    assert (list(outputs), outputs["y"].dtype, outputs["y"].tolist()) == (["y"], np.float32, [1.5, 2.5])
    outputs = client.predict("half", {"x": np.array([[3, 5]], np.float32)})
    assert outputs["y"].tolist() == [[1.5, 2.5]]


def test_bytes(client: Client) -> None:
    assert client.predict("echo", {"raw": [b"\xff\0", "ß"]}) == {"raw_bytes": [b"\xff\0", "ß".encode()]}


def test_more_than_grpcs_4_mb(client: Client) -> None:
    raw = b"fovea" * 10**6
    assert client.predict("echo", {"raw": [raw]}) == {"raw_bytes": [raw]}


def test_the_servers_refusal(client: Client) -> None:
    with pytest.raises(ServingError) as caught:
        client.predict("pick", {"index": np.array([5], np.int32)})
    assert caught.value.status is Status.INVALID_ARGUMENT
    assert caught.value.message.startswith("indices[0] = 5 is not in [0, 3)")


def test_a_signature_that_is_not_there(client: Client) -> None:
    with pytest.raises(ServingError, match='"s" not found'):
        client.predict("s", {"x": [1.0]})


def test_a_version_that_is_not_there(server: Server) -> None:
    for address in (server.grpc_address, server.rest_address):
        with pytest.raises(ServingError) as caught:
            connect(address, "tiny", version=983).predict("half", {"x": [1.0]})
        assert (caught.value.status, caught.value.message) == (
            Status.NOT_FOUND,
            "Servable not found for request: Specific(tiny, 983)",
        )


def test_threads_share_a_client(client: Client) -> None:
    answers: dict[int, float] = {}

    def call(number: int) -> None:
        for _ in range(5):
            answers[number] = float(client.predict("half", {"x": [float(number)]})["y"][0])

    threads = [threading.Thread(target=call, args=[number]) for number in range(7)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert answers == {number: number / 2 for number in range(7)}


@pytest.mark.parametrize("address", ["localhost:1", "http://localhost:1"])
def test_no_server(address: str) -> None:
    with pytest.raises(ServingError) as caught:
        connect(address, timeout_s=0.5).predict("serving_default", {"text": ["a"]})
    assert caught.value.status is Status.UNAVAILABLE
    with pytest.raises(ServingError, match="UNAVAILABLE"):
        connect(address, timeout_s=1e9, retry=False).predict("serving_default", {"text": ["a"]})


def test_a_clients_own_certificate_is_not_for_rest() -> None:
    with pytest.raises(ValueError, match="over REST only `authorities` is known"):
        connect("https://localhost:1", tls=Tls(key=b"k", certificate=b"c"))


def test_the_deadline(server: Server, tmp_path: Path) -> None:
    for address in (server.grpc_address, server.rest_address):
        gate = Gate(tmp_path / address.rpartition(":")[2])
        with connect(address, "tiny", timeout_s=0.3) as client, pytest.raises(ServingError) as caught:
            client.predict("wait", {"path": gate.path})
        gate.open()
        assert caught.value.status is Status.DEADLINE_EXCEEDED


def test_an_answer_that_trickles_over_rest_has_a_deadline() -> None:
    over = threading.Event()

    class Trickle(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Length", "1000000")
            self.end_headers()
            with contextlib.suppress(OSError):  # the client has gone
                while not over.wait(0.05):
                    self.wfile.write(b" ")

        def log_message(self, *_: Any) -> None:
            pass

    with http.server.ThreadingHTTPServer(("localhost", 0), Trickle) as trickling:
        threading.Thread(target=trickling.serve_forever).start()
        try:
            address = f"http://localhost:{trickling.server_port}"
            with connect(address, timeout_s=0.5) as client, pytest.raises(ServingError) as caught:
                client.predict("half", {"x": [1.0]})
        finally:
            over.set()
            trickling.shutdown()
    assert caught.value.status is Status.DEADLINE_EXCEEDED


def test_neither_client_loads_tensorflow() -> None:
    code = (
        "import sys; from serving.client import connect; connect('http://localhost:1'); heavy = set(sys.modules);"
        "assert not heavy & {'tensorflow', 'grpc', 'google.protobuf'}, heavy;"
        "connect('localhost:1').close(); assert 'tensorflow' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=Path(__file__).parents[2])


def test_the_light_messages_are_tensorflows_on_the_wire() -> None:
    from tensorflow_serving.apis import predict_pb2

    arrays = {
        "float": np.float32([[1, 2, 3], [5, 7, 11]]),
        "text": np.array([b"a", b"\xff"], object),
        "scalar": np.array(13, np.int64),
        "none": np.zeros((0, 5), np.float32),
    }
    light, full = wire.PredictRequest(), predict_pb2.PredictRequest()
    for message in (light, full):
        message.model_spec.name, message.model_spec.signature_name = "m", "s"
        message.model_spec.version.value = 17
        message.output_filter.append("y")
        for name, array in arrays.items():
            write_tensor(array, message.inputs[name])
    assert predict_pb2.PredictRequest.FromString(light.SerializeToString()) == full
    assert wire.PredictRequest.FromString(full.SerializeToString()) == light
    for name, message in [("PredictRequest", light), ("PredictResponse", wire.PredictResponse())]:
        official = {f.name: f.number for f in getattr(predict_pb2, name).DESCRIPTOR.fields}
        assert {f.name: f.number for f in message.DESCRIPTOR.fields}.items() <= official.items()
