"""Requests that no client should send: made from a seed, each with the statuses that are right for it.

`status_of(Case(...))` is a gRPC status, "INVALID_ARGUMENT", or one of HTTP, "400", or "closed" of a connection that the
server ended without a word.
"""

from __future__ import annotations

import base64
import dataclasses
import gzip
import json
import random
from collections.abc import Callable, Iterator
from typing import Any, Literal

from serving import wire
from serving.grpc_client import PREDICT
from serving.tensors import BY_NUMPY, object_array, write_tensor

Way = Literal["call", "http", "grpc_bytes", "http_bytes"]  # through a client, or as bytes into the port's socket
HUGE = 64 * 2**20
UNDECODED = frozenset({"INTERNAL"})  # what gRPC says of bytes that are no message
INVALID = frozenset({"INVALID_ARGUMENT"})
BAD = frozenset({"400"})
CLOSED = frozenset({"closed"})


@dataclasses.dataclass(frozen=True)
class Case:
    """A request: where it goes, the bytes, and what may come back."""

    kind: str
    way: Way
    body: bytes
    allowed: frozenset[str]
    path: str = ""  # a method of gRPC, or one of REST with its path
    headers: tuple[tuple[str, str], ...] = ()


Make = Callable[[random.Random, str], Case]


def cases(seed: int, count: int, model: str, heavy: int = 0) -> Iterator[Case]:
    """So many of them, in an order of the seed's; `heavy` of each kind that takes tens of megabytes are among them."""
    rng = random.Random(seed)
    makes = [*LIGHT] * (count // len(LIGHT) + 1)
    makes = makes[: count - heavy * len(HEAVY)] + [*HEAVY] * heavy
    rng.shuffle(makes)
    for make in makes:
        yield make(rng, model)


def _request(model: str, texts: list[bytes] | None = None) -> Any:
    request = wire.PredictRequest()
    request.model_spec.name = model
    values = [b"fovea"] if texts is None else texts
    write_tensor(object_array(values, (len(values),)), request.inputs["text"])
    return request


def _call(kind: str, request: Any, *allowed: str, method: str = PREDICT) -> Case:
    body = request if isinstance(request, bytes) else request.SerializeToString()
    return Case(kind, "call", body, frozenset(allowed) or INVALID, method)


def _post(kind: str, model: str, body: Any, *allowed: str, path: str = "", headers: Any = ()) -> Case:
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    path = path or f"POST /v1/models/{model}:predict"
    return Case(kind, "http", content, frozenset(allowed) or BAD, path, headers)


def random_message(rng: random.Random, model: str) -> Case:
    # A few bytes may be a message of unknown fields: it then lacks its ModelSpec.
    return _call("random bytes", rng.randbytes(rng.randrange(1, 200)), *UNDECODED, *INVALID)


def truncated_message(rng: random.Random, model: str) -> Case:
    whole = _request(model).SerializeToString()
    return _call("truncated message", whole[: rng.randrange(len(whole))], *UNDECODED, *INVALID)


def changed_message(rng: random.Random, model: str) -> Case:
    message = bytearray(_request(model).SerializeToString())
    for _ in range(rng.randrange(1, 4)):
        message[rng.randrange(len(message))] = rng.randrange(256)
    # Another letter of the text is a good request, and another one of a name an unknown name.
    allowed = ("OK", "NOT_FOUND", "FAILED_PRECONDITION", *UNDECODED, *INVALID)
    return _call("changed bytes", bytes(message), *allowed)


def wrong_dtype(rng: random.Random, model: str) -> Case:
    request = _request(model)
    dtype = rng.choice([dtype for dtype in BY_NUMPY if dtype.kind != "O"])
    write_tensor(object_array([0], (1,)).astype(dtype), _emptied(request.inputs["text"]))
    return _call("wrong type", request)


def unknown_dtype(rng: random.Random, model: str) -> Case:
    request = _request(model)
    request.inputs["text"].dtype = rng.choice([0, 11, 20, 21, 99, 107, -1, 2**31 - 1])
    return _call("unknown type", request)


def impossible_shape(rng: random.Random, model: str) -> Case:
    request = _request(model)
    tensor = _emptied(request.inputs["text"])
    tensor.dtype = rng.choice([1, 7, 9])
    for size in rng.choice([(-1,), (2**62,), (2**31,), (2**40, 2**40), (1,) * 200, (3, -7), (2**63 - 1, 0, -1)]):
        tensor.tensor_shape.dim.add().size = size
    tensor.tensor_content = rng.choice([b"", b"", rng.randbytes(5)])
    return _call("impossible shape", request)


def _emptied(tensor: Any) -> Any:
    tensor.Clear()
    return tensor


def unknown_name(rng: random.Random, model: str) -> Case:
    request, name = _request(model), "".join(rng.choices("abcxyz/:_ \N{SNOWMAN}", k=rng.randrange(7, 99)))
    what = rng.randrange(6)
    if what == 0:
        request.model_spec.name = name
    elif what == 1:
        request.model_spec.version.value = rng.randrange(10**6, 2**63)
    elif what == 2:
        request.model_spec.signature_name = name
    elif what == 3:
        request.output_filter.append(name)
    elif what == 4:
        request.inputs[name].CopyFrom(request.inputs["text"])
    else:
        return _call("unknown name", request, "UNIMPLEMENTED", method=f"/tensorflow.serving.PredictionService/{what}x")
    status = ("NOT_FOUND", "NOT_FOUND", "FAILED_PRECONDITION", "INVALID_ARGUMENT", "INVALID_ARGUMENT")[what]
    return _call("unknown name", request, status)


def bad_text(rng: random.Random, model: str) -> Case:
    # Bytes that are no UTF-8 are a text, if an odd one. With batching it may meet a tensor of another rank in its
    # batch: both are refused then, as TensorFlow Serving does it.
    texts = [rng.randbytes(rng.randrange(40)) for _ in range(rng.randrange(1, 4))]
    return _call("text that is not UTF-8", _request(model, texts), "OK", "FAILED_PRECONDITION", *INVALID)


def random_body(rng: random.Random, model: str) -> Case:
    return _post("random bytes", model, rng.randbytes(rng.randrange(200)))


def truncated_json(rng: random.Random, model: str) -> Case:
    whole = b'{"signature_name": "serving_default", "instances": [{"text": "fovea"}, {"text": "attention"}]}'
    return _post("truncated JSON", model, whole[: rng.randrange(len(whole))])


def deep_json(rng: random.Random, model: str) -> Case:
    depth = rng.choice([40, 200, 330, 500, 900, 990, 5_000, 100_000])
    opened, closed = rng.choice([("[", "]"), ('{"a":', "}"), ('[{"a":', "}]")])
    inner = opened * depth + "1" + closed * rng.choice([depth, depth - 1])
    text = rng.choice(['{"instances": %s}', '{"inputs": %s}', '{"inputs": {"text": %s}}', "%s", '{"examples": [%s]}'])
    return _post("deep JSON", model, (text % inner).encode())


def wrong_json(rng: random.Random, model: str) -> Case:
    value = rng.choice([None, True, 1, 1.5, float("nan"), {}, {"a": 1}, {"b64": 3}, {"b64": "!"}, [], [[]], [[1], 2]])
    key = rng.choice(["instances", "inputs", "examples"])
    body = rng.choice(
        [{key: value}, {key: [value]}, {key: [{"text": value}]}, {key: ["a", value, "b"]}, value, [value]]
    )
    # An empty list, and lists of text in lists, are tensors; what the graph says of them is its own matter.
    return _post("wrong JSON", model, body, "400", "200")


def unknown_path(rng: random.Random, model: str) -> Case:
    name = "".join(rng.choices("abcxyz%25.~-", k=rng.randrange(1, 40)))
    path, status = rng.choice(
        [
            (f"POST /v1/models/no{name}:predict", "404"),
            (f"POST /v1/models/{model}/versions/{rng.randrange(10**6, 10**9)}:predict", "404"),
            (f"POST /v1/models/{model}/versions/{10**30}:predict", "400"),
            (f"POST /v1/models/{model}/labels/{name}:predict", "400"),
            (f"POST /v1/models/{model}:predict{name}", "400"),
            (f"POST /v1/{name}", "400"),
            (f"POST /{name}", "404"),
            (f"{rng.choice(['PUT', 'DELETE', 'HEAD', 'FOO'])} /v1/models/{model}:predict", "400"),
            (f"GET /v1/models/no{name}", "404"),
            (f"GET /v1/models/no{name}/metadata", "404"),
        ]
    )
    return _post("unknown name", model, {"instances": ["fovea"]}, status, path=path)


def bad_gzip(rng: random.Random, model: str) -> Case:
    whole = gzip.compress(b'{"instances": ["fovea"]}')
    body = rng.choice([whole[: rng.randrange(len(whole) - 8)], b"plain", rng.randbytes(50)])
    return _post("bad gzip", model, body, headers=(("Content-Encoding", "gzip"),))


def bytes_to_grpc(rng: random.Random, model: str) -> Case:
    preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
    body = rng.choice(
        [
            rng.randbytes(rng.randrange(1, 300)),
            b"GET / HTTP/1.1\r\nHost: a\r\n\r\n",
            preface[: rng.randrange(1, len(preface))],
            preface + rng.randbytes(rng.randrange(1, 100)),
            preface + b"\0\0\0\4\0\0\0\0\0" + b"\0\xff\xff\1\4\0\0\0\1" + rng.randbytes(20),  # settings, cut headers
        ]
    )
    return Case("bytes into the gRPC port", "grpc_bytes", body, CLOSED)


def bytes_to_rest(rng: random.Random, model: str) -> Case:
    head = f"POST /v1/models/{model}:predict HTTP/1.1\r\nHost: a\r\n".encode()
    body = rng.choice(
        [
            rng.randbytes(rng.randrange(1, 300)),
            head[: rng.randrange(1, len(head))],
            head + b"Content-Length: 100\r\n\r\n{",
            head + b"Content-Length: -1\r\n\r\n{}",
            head + b"Content-Length: many\r\n\r\n{}",
            head + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n{}\r\n0\r\n\r\n",
            head + b"X: " + b"x" * 100_000,
            head + b"\0: \0\r\n\r\n",
            b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        ]
    )
    allowed = BAD | CLOSED | ({"404"} if body.startswith(b"PRI *") else set())  # which is a method, and a path
    return Case("bytes into the REST port", "http_bytes", body, allowed)


def huge_text(rng: random.Random, model: str) -> Case:
    # A model that limits its texts refuses it; one that does not has an answer.
    return _call("64 MiB of text", _request(model, [b"a" * HUGE]), "OK", *INVALID)


def huge_name(rng: random.Random, model: str) -> Case:
    request = _request(model)
    request.model_spec.signature_name = "s" * HUGE
    return _call("64 MiB of a name", request, "FAILED_PRECONDITION")


def huge_random_message(rng: random.Random, model: str) -> Case:
    return _call("64 MiB of random bytes", rng.randbytes(HUGE), *UNDECODED, *INVALID)  # as of a few bytes


def huge_json_text(rng: random.Random, model: str) -> Case:
    return _post("64 MiB of text", model, b'{"instances": ["' + b"a" * HUGE + b'"]}', "200", "400")


def huge_json_name(rng: random.Random, model: str) -> Case:
    return _post("64 MiB of a name", model, b'{"signature_name": "' + b"s" * HUGE + b'", "instances": ["a"]}')


def huge_json_list(rng: random.Random, model: str) -> Case:
    key = rng.choice([b"instances", b"inputs", b"nothing"])
    return _post("huge JSON", model, b'{"' + key + b'": [' + b"1, " * 2_000_000 + b"1]}")


def huge_base64(rng: random.Random, model: str) -> Case:
    text = base64.b64encode(b"\xff" * (HUGE // 4 * 3))
    return _post("64 MiB of base64", model, b'{"inputs": [{"b64": "' + text + b'"}]}', "200", "400")


LIGHT: tuple[Make, ...] = (
    random_message,
    truncated_message,
    changed_message,
    wrong_dtype,
    unknown_dtype,
    impossible_shape,
    unknown_name,
    bad_text,
    bytes_to_grpc,
    random_body,
    truncated_json,
    deep_json,
    wrong_json,
    unknown_path,
    bad_gzip,
    bytes_to_rest,
)
HEAVY: tuple[Make, ...] = (
    huge_text,
    huge_name,
    huge_random_message,
    huge_json_text,
    huge_json_name,
    huge_json_list,
    huge_base64,
)
