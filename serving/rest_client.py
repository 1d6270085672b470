"""Predict over REST, with the standard library's HTTP."""

from __future__ import annotations

import base64
import http.client
import json
import threading
import time
import urllib.parse
from collections.abc import Mapping
from typing import Any

from serving.connection import BYTES_SUFFIX, Client, Tls
from serving.errors import ServingError, Status, status_of_http

CHUNK_BYTES = 2**20  # that are read at once
STRING = "DT_STRING"
NUMPY_TYPES = {
    "DT_FLOAT": "float32",
    "DT_DOUBLE": "float64",
    "DT_INT8": "int8",
    "DT_INT16": "int16",
    "DT_INT32": "int32",
    "DT_INT64": "int64",
    "DT_UINT8": "uint8",
    "DT_UINT32": "uint32",
    "DT_UINT64": "uint64",
    "DT_BOOL": "bool",
}


class RestClient(Client):
    """A client of `http://host:port`; it keeps a connection for each thread."""

    def __init__(
        self, address: str, model: str, version: int | None, timeout_s: float, retry: bool, tls: Tls | None
    ) -> None:
        super().__init__(timeout_s, retry)
        self._url = urllib.parse.urlsplit(address)
        if not self._url.hostname:
            raise ValueError(f"{address} names no host; expected http://host:port")
        if tls and (tls.key or tls.certificate):
            raise ValueError("a client's own certificate is for gRPC: over REST only `authorities` is known")
        version_path = "" if version is None else f"/versions/{version}"
        self._path = f"{self._url.path.rstrip('/')}/v1/models/{urllib.parse.quote(model, safe='')}{version_path}"
        self._tls = tls or Tls()
        self._local = threading.local()
        self._connections: list[http.client.HTTPConnection] = []
        self._outputs: dict[str, dict[str, str]] = {}  # signature -> output -> its type, such as DT_FLOAT

    def _predict(self, signature: str, inputs: Mapping[str, Any], timeout_s: float) -> dict[str, Any]:
        self._local.timeout_s, self._local.end_s = timeout_s, time.monotonic() + timeout_s
        values = {name: _to_json(value) for name, value in inputs.items()}
        types = self._output_types(signature)  # before the run, so that its answer is not lost for want of them
        answer = self._call("POST", ":predict", {"signature_name": signature, "inputs": values})["outputs"]
        fits = answer.keys() == types.keys() if isinstance(answer, dict) else len(types) == 1
        if not fits:  # a new version may have brought the signature, or changed it
            self._outputs.pop(signature, None)
            types = self._output_types(signature)
        outputs = answer if isinstance(answer, dict) and len(types) > 1 else {next(iter(types)): answer}
        return {name: _to_python(name, value, types.get(name)) for name, value in outputs.items()}

    def close(self) -> None:
        """Close the connections of all threads."""
        for connection in self._connections:
            connection.close()

    def _output_types(self, signature: str) -> dict[str, str]:
        """From the metadata, asked once: a lone output comes without its name, and JSON has one type of number.

        Nothing for a signature that is not there: Predict will say so.
        """
        if signature not in self._outputs:
            signatures = self._call("GET", "/metadata")["metadata"]["signature_def"]["signature_def"]
            found = signatures.get(signature or "serving_default")
            if found is None:
                return {}
            self._outputs[signature] = {name: info["dtype"] for name, info in found["outputs"].items()}
        return self._outputs[signature]

    def _call(self, method: str, suffix: str, document: Any = None) -> Any:
        body = None if document is None else json.dumps(document).encode()
        try:
            status, content = self._request(method, self._path + suffix, body)
        except TimeoutError as error:
            raise ServingError(Status.DEADLINE_EXCEEDED, f"no answer in {self._local.timeout_s:.3g} s") from error
        except (OSError, http.client.HTTPException) as error:
            raise ServingError(Status.UNAVAILABLE, f"{self._url.netloc}: {error}") from error
        try:
            answer = json.loads(content.decode("utf-8", "surrogateescape"))
        except ValueError as error:
            message = f"{method} {self._path}{suffix} answered {status} and no JSON: {content[:200]!r}"
            raise ServingError(Status.UNKNOWN, message) from error
        if status != http.client.OK:
            raise ServingError(status_of_http(status), answer.get("error", content.decode("utf-8", "replace")))
        return answer

    def _request(self, method: str, path: str, body: bytes | None) -> tuple[int, bytes]:
        connection, is_new = self._connection()
        try:
            try:
                return self._exchange(connection, method, path, body)
            except ConnectionError:  # RemoteDisconnected is one
                connection.close()
                if is_new:
                    raise
                return self._exchange(connection, method, path, body)  # idle for too long: http.client reconnects
        except BaseException:
            connection.close()  # half a conversation is of no use to the next call
            raise

    def _connection(self) -> tuple[http.client.HTTPConnection, bool]:
        if not hasattr(self._local, "connection"):
            self._local.connection = self._new_connection()
            self._connections.append(self._local.connection)
        connection: http.client.HTTPConnection = self._local.connection
        return connection, connection.sock is None

    def _exchange(
        self, connection: http.client.HTTPConnection, method: str, path: str, body: bytes | None
    ) -> tuple[int, bytes]:
        self._limit(connection)
        connection.request(method, path, body, {"Content-Type": "application/json"})
        self._limit(connection)
        response, content = connection.getresponse(), bytearray()
        while chunk := response.read1(CHUNK_BYTES):
            content += chunk
            self._limit(connection)
        left = response.length
        response.close()  # and not the connection
        if left:
            raise http.client.IncompleteRead(bytes(content), left)
        return response.status, bytes(content)

    def _limit(self, connection: http.client.HTTPConnection) -> None:
        """Let the socket's next operation take as long as is left until the deadline; TimeoutError if nothing is."""
        left_s = self._local.end_s - time.monotonic()
        if left_s <= 0:
            raise TimeoutError
        connection.timeout = left_s
        if connection.sock is not None:
            connection.sock.settimeout(left_s)

    def _new_connection(self) -> http.client.HTTPConnection:
        assert self._url.hostname is not None
        if self._url.scheme == "http":
            return http.client.HTTPConnection(self._url.hostname, self._url.port)
        import ssl

        authorities = self._tls.authorities.decode() if self._tls.authorities else None
        context = ssl.create_default_context(cadata=authorities)
        return http.client.HTTPSConnection(self._url.hostname, self._url.port, context=context)


def _to_json(value: Any) -> Any:
    """Lists as they are, arrays (and NumPy's numbers) as lists, bytes as {"b64": ...}."""
    if hasattr(value, "tolist"):
        value = value.tolist()
    if isinstance(value, list | tuple):
        return [_to_json(item) for item in value]
    if isinstance(value, bytes):
        return {"b64": base64.b64encode(value).decode("ascii")}
    return value


def _to_python(name: str, value: Any, kind: str | None) -> Any:
    if kind == STRING:
        return _decoded(value) if name.endswith(BYTES_SUFFIX) else value
    import numpy as np  # not before there are numbers: it takes longer to import than all the rest

    return np.asarray(value, NUMPY_TYPES.get(kind or ""))


def _decoded(value: Any) -> Any:
    if isinstance(value, list):
        return [_decoded(item) for item in value]
    return base64.b64decode(value["b64"])
