"""The REST API: routes, bodies and statuses, over a ServerCore. It knows nothing of sockets.

`POST /v1/models/m:predict {"instances": ["a"]}` -> `200 {"predictions": ["A"]}`.

Work of a moment is done where requests are awaited, one after the other; what may take longer, on threads of a pool.
So a small request to a model whose runs are batched needs no thread to wait in.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextvars
import dataclasses
import functools
import inspect
import json
import re
import traceback
import urllib.parse
import zlib
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, TypeVar

from google.protobuf import json_format
from google.protobuf.message import Message
from tensorflow_serving.apis import get_model_metadata_pb2, get_model_status_pb2, model_pb2

from serving import request_json, response_json
from serving.core import SIGNATURE_DEF, ServerCore
from serving.errors import ServingError, Status, http_status
from serving.examples_json import read_examples
from serving.inference import CLASSIFY, REGRESS, Method, Result, infer
from serving.monitoring import Monitor
from serving.predict import Run, prepare
from serving.results_json import write_classifications, write_regressions
from serving.saved_model import Servable
from serving.signatures import SERVING_DEFAULT

MAX_UNZIPPED_BYTES = 100 * 2**20
MAX_VERSION = 2**63 - 1
SMALL = 4096  # bytes of JSON, or elements of arrays: to read so many takes 0.2 ms of texts, 1 ms of numbers

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

T = TypeVar("T")


@dataclasses.dataclass(frozen=True)
class Settings:
    """What flags say of the REST side."""

    timeout_ms: int  # of a run
    threads: int
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
        self._pool = concurrent.futures.ThreadPoolExecutor(settings.threads, thread_name_prefix="rest")

    def close(self) -> None:
        """End its threads."""
        self._pool.shutdown()

    async def answer(self, method: str, path: str, headers: Mapping[str, str], body: bytes) -> Response:
        """`path` is the raw path with its query, `headers` have lower-case names."""
        plain = self._plain(path) if method == "GET" else None
        if plain is not None:
            return plain
        cors = CORS_HEADERS if self._settings.cors or method == "OPTIONS" else {}
        try:
            if not API.fullmatch(path):
                raise ServingError(Status.NOT_FOUND, f"No such path: {path}")
            if "gzip" in headers.get("content-encoding", ""):
                body = await self._in_thread(_unzipped, body)
            text = "" if method == "OPTIONS" else await self._route(method, path, body)
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

    async def _route(self, method: str, path: str, body: bytes) -> str:
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
            "classify": lambda: self._in_thread(self._infer, spec, body, CLASSIFY, write_classifications),
            "regress": lambda: self._in_thread(self._infer, spec, body, REGRESS, write_regressions),
        }
        if match["method"] not in runs:  # the route may be in capitals, its method may not
            raise ServingError(Status.INVALID_ARGUMENT, f"Malformed request: {method} {path}")
        return await self._run(match["method"], spec, runs[match["method"]])

    async def _run(self, method: str, spec: model_pb2.ModelSpec, run: Callable[[], Awaitable[str]]) -> str:
        with self._monitor.request(method, "REST") as seen:
            self._core.note(spec)  # before its body is read: that may be the error
            try:
                return await run()
            except Exception as error:
                seen.status = error.status.name if isinstance(error, ServingError) else Status.INTERNAL.name
                raise

    async def _predict(self, spec: model_pb2.ModelSpec, body: bytes) -> str:
        document = await self._do(len(body), request_json.parse, body)
        with self._core.handle(spec) as handle:
            run, form = await self._do(len(body), _prepared, handle.servable, document)
            running = handle.servable.start(run.feeds, run.fetches, self._settings.timeout_ms, self._pool)
            arrays = await asyncio.wrap_future(running)
        size = sum(array.size for array in arrays)
        return await self._do(size, response_json.write_outputs, run.outputs(arrays), form)

    async def _do(self, size: int, function: Callable[..., T], *arguments: Any) -> T:
        """Call a function whose work grows with `size`: here if that is small."""
        return function(*arguments) if size <= SMALL else await self._in_thread(function, *arguments)

    async def _in_thread(self, function: Callable[..., T], *arguments: Any) -> T:
        call = functools.partial(contextvars.copy_context().run, function, *arguments)  # it may note what it learns
        return await asyncio.get_running_loop().run_in_executor(self._pool, call)

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


def _prepared(model: Servable, document: request_json.Document) -> tuple[Run, request_json.Format]:
    """What a document asks of a model, and the form that the answer shall have."""
    name = document.signature_name or SERVING_DEFAULT
    signature = model.signatures.get(name)
    if signature is None:
        message = f'Serving signature name: "{name}" not found in signature def'
        raise ServingError(Status.INVALID_ARGUMENT, message)
    dtypes = {alias: info.dtype for alias, info in sorted(signature.inputs.items())}
    inputs, form = request_json.read_inputs(document, dtypes)
    return prepare(model, name, inputs, lambda array: array), form


def _unzipped(body: bytes) -> bytes:
    """The body, unzipped; nothing if that fails: the parser will say that it is empty."""
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
