"""The REST API: routes, bodies and statuses, over a ServerCore. It knows nothing of sockets.

`POST /v1/models/m:predict {"instances": ["a"]}` -> `200 {"predictions": ["A"]}`.
"""

from __future__ import annotations

import dataclasses
import inspect
import json
import re
import traceback
import urllib.parse
import zlib
from collections.abc import Callable, Mapping
from typing import Any

from google.protobuf import json_format
from google.protobuf.message import Message
from tensorflow_serving.apis import get_model_metadata_pb2, get_model_status_pb2, model_pb2

from serving import request_json, response_json
from serving.core import SIGNATURE_DEF, ServerCore
from serving.errors import ServingError, Status, http_status
from serving.examples_json import read_examples
from serving.inference import CLASSIFY, REGRESS, Method, Result, infer
from serving.monitoring import Monitor
from serving.predict import predict
from serving.results_json import write_classifications, write_regressions
from serving.signatures import SERVING_DEFAULT

MAX_UNZIPPED_BYTES = 100 * 2**20
MAX_VERSION = 2**63 - 1

_CHOICE = r"(?:/versions/(?P<version>[0-9]+)|/labels/(?P<label>[^/:]+))?"
_FLAGS = re.IGNORECASE | re.ASCII
API = re.compile(r"/v1/.*", _FLAGS | re.DOTALL)
POST = re.compile(rf"/v1/models/(?P<name>[^/:]+){_CHOICE}:(?P<method>classify|regress|predict)", _FLAGS)
GET = re.compile(rf"/v1/models(?:/(?P<name>[^/:]+))?{_CHOICE}(?:/(?P<part>metadata))?", _FLAGS)
MODELS = "/v1/models"
LIVE, READY = "/livez", "/readyz"
CORS_HEADERS = {
    "Access-Control-Allow-Origin": "*",
    "Access-Control-Allow-Methods": "POST, GET",
    "Access-Control-Allow-Headers": "Content-Type",
}


@dataclasses.dataclass(frozen=True)
class Settings:
    """What flags say of the REST side."""

    timeout_ms: int  # of a run
    cors: bool = False
    list_models: bool = False  # GET /v1/models
    metrics_path: str = ""  # where Prometheus finds the counts; "": nowhere


@dataclasses.dataclass(frozen=True)
class Response:
    """What goes back."""

    status: int
    body: bytes
    headers: Mapping[str, str]


class RestApi:
    """Answers requests."""

    def __init__(self, core: ServerCore, settings: Settings, monitor: Monitor) -> None:
        self._core, self._settings, self._monitor = core, settings, monitor

    def answer(self, method: str, path: str, headers: Mapping[str, str], body: bytes) -> Response:
        """`path` is the raw path with its query, `headers` have lower-case names."""
        plain = self._plain(path) if method == "GET" else None
        if plain is not None:
            return plain
        cors = CORS_HEADERS if self._settings.cors or method == "OPTIONS" else {}
        try:
            if not API.fullmatch(path):
                raise ServingError(Status.NOT_FOUND, f"No such path: {path}")
            text = "" if method == "OPTIONS" else self._route(method, path, _unzipped(headers, body))
            status = Status.OK
        except ServingError as error:
            status, text = error.status, _error_json(error.message)
        except Exception as error:  # a fault of the server: the caller hears of it, the log has the place
            traceback.print_exc()
            status, text = Status.INTERNAL, _error_json(f"{type(error).__name__}: {error}")
        content = text.encode("utf-8", "surrogateescape")
        return Response(http_status(status), content, {"Content-Type": "application/json", **cors})

    def _plain(self, path: str) -> Response | None:
        """What orchestrators and Prometheus ask for, beside the API; None where it is something else."""
        if path == LIVE:
            return _text(200, "ok\n")
        if path == READY:
            missing = self._core.unavailable()
            return _text(503, f"no version of {', '.join(missing)} serves\n") if missing else _text(200, "ok\n")
        if self._settings.metrics_path and path == self._settings.metrics_path:
            return _text(200, self._monitor.text())
        return None

    def _route(self, method: str, path: str, body: bytes) -> str:
        pattern = {"POST": POST, "GET": GET}.get(method)
        match = pattern.fullmatch(path) if pattern else None
        if match is None:
            raise ServingError(Status.INVALID_ARGUMENT, f"Malformed request: {method} {path}")
        spec = _model_spec(match)
        if method == "GET":
            if self._settings.list_models and path.lower() == MODELS:
                return self._list()
            if not spec.name:
                raise ServingError(Status.INVALID_ARGUMENT, "Missing model name in request.")
            return self._metadata(spec) if match["part"] == "metadata" else self._status(spec)
        runs = {
            "predict": lambda: self._predict(spec, body),
            "classify": lambda: self._infer(spec, body, CLASSIFY, write_classifications),
            "regress": lambda: self._infer(spec, body, REGRESS, write_regressions),
        }
        if match["method"] not in runs:  # the route may be in capitals, its method may not
            raise ServingError(Status.INVALID_ARGUMENT, f"Malformed request: {method} {path}")
        return self._run(match["method"], runs[match["method"]])

    def _run(self, method: str, run: Callable[[], str]) -> str:
        with self._monitor.request(method, "REST") as seen:
            try:
                return run()
            except Exception as error:
                seen.status = error.status.name if isinstance(error, ServingError) else Status.INTERNAL.name
                raise

    def _predict(self, spec: model_pb2.ModelSpec, body: bytes) -> str:
        document = request_json.parse(body)
        with self._core.handle(spec) as handle:
            name = document.signature_name or SERVING_DEFAULT
            signature = handle.servable.signatures.get(name)
            if signature is None:
                message = f'Serving signature name: "{name}" not found in signature def'
                raise ServingError(Status.INVALID_ARGUMENT, message)
            dtypes = {alias: info.dtype for alias, info in sorted(signature.inputs.items())}
            inputs, form = request_json.read_inputs(document, dtypes)
            outputs = predict(handle.servable, name, inputs, lambda array: array, timeout_ms=self._settings.timeout_ms)
        return response_json.write_outputs(outputs, form)

    def _infer(
        self, spec: model_pb2.ModelSpec, body: bytes, method: Method[Result], write: Callable[[Result], str]
    ) -> str:
        document = request_json.parse(body)
        examples = read_examples(document)
        with self._core.handle(spec) as handle:
            result = infer(handle.servable, method, document.signature_name, examples, self._settings.timeout_ms)
        return write(result)

    def _status(self, spec: model_pb2.ModelSpec) -> str:
        request = get_model_status_pb2.GetModelStatusRequest(model_spec=spec)
        return json.dumps(_with_defaults(self._core.status(request)), indent=1, ensure_ascii=False) + "\n"

    def _list(self) -> str:
        """{"models": [{"name": "m", "version_labels": {"stable": "7"}, "model_version_status": [...]}]}."""
        models = [
            {
                "name": name,
                "version_labels": {label: str(number) for label, number in self._core.labels(name).items()},
                **_with_defaults(status),
            }
            for name, status in self._core.statuses().items()
        ]
        return json.dumps({"models": models}, indent=1, ensure_ascii=False) + "\n"

    def _metadata(self, spec: model_pb2.ModelSpec) -> str:
        fields = [SIGNATURE_DEF]
        request = get_model_metadata_pb2.GetModelMetadataRequest(model_spec=spec, metadata_field=fields)
        response = self._core.metadata(request)
        signatures = get_model_metadata_pb2.SignatureDefMap()
        response.metadata[SIGNATURE_DEF].Unpack(signatures)
        values = {
            "model_spec": _with_defaults(response.model_spec),
            "metadata": {SIGNATURE_DEF: _with_defaults(signatures)},
        }
        return json.dumps(values, indent=1, ensure_ascii=False) + "\n"


def _model_spec(match: re.Match[str]) -> model_pb2.ModelSpec:
    spec = model_pb2.ModelSpec(name=urllib.parse.unquote(match["name"] or ""))
    if match["version"]:
        digits = match["version"].lstrip("0") or "0"
        if len(digits) > len(str(MAX_VERSION)) or int(digits) > MAX_VERSION:
            message = f"Failed to convert version: {match['version']} to numeric."
            raise ServingError(Status.INVALID_ARGUMENT, message)
        spec.version.value = int(digits)
    if match["label"]:
        spec.version_label = urllib.parse.unquote(match["label"])
    return spec


def _unzipped(headers: Mapping[str, str], body: bytes) -> bytes:
    """The body, unzipped if its header says so; nothing if that fails: the parser will say that it is empty."""
    if "gzip" not in headers.get("content-encoding", ""):
        return body
    unzip = zlib.decompressobj(wbits=16 + zlib.MAX_WBITS)
    try:
        content = unzip.decompress(body, MAX_UNZIPPED_BYTES)
    except zlib.error:
        return b""
    return content if unzip.eof else b""


def _text(status: int, text: str) -> Response:
    return Response(status, text.encode(), {"Content-Type": "text/plain; version=0.0.4; charset=utf-8"})


def _error_json(message: str) -> str:
    return json.dumps({"error": message}, indent=4, ensure_ascii=False)


def _with_defaults(message: Message) -> dict[str, Any]:
    """A message as JSON has it, default values printed; protobuf 5 renamed the option."""
    parameters = inspect.signature(json_format.MessageToDict).parameters
    names = ("always_print_fields_with_no_presence", "including_default_value_fields")
    option = next(name for name in names if name in parameters)
    values: dict[str, Any] = json_format.MessageToDict(message, preserving_proto_field_name=True, **{option: True})
    return values
