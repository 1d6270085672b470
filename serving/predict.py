"""Predict: which tensors a request feeds and fetches. One place for the rules, whichever API the request came by.

`{"text": [b"ab"]}` on the signature `text:0 -> {text: out:0, score: out:1}` -> `{"text": [b"AB"], "score": [0.5]}`.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, TypeVar

import numpy as np
from tensorflow.core.protobuf import meta_graph_pb2

from serving.errors import ServingError, Status
from serving.monitoring import note
from serving.saved_model import NO_TIMEOUT, Servable
from serving.signatures import SERVING_DEFAULT
from serving.tensors import read_tensor

Array = np.ndarray[Any, Any]
Tensor = TypeVar("Tensor")

METHOD_NAMES = tuple(f"tensorflow/serving/{name}" for name in ("predict", "classify", "regress"))


@dataclasses.dataclass(frozen=True)
class Run:
    """What a request asks of a graph, by the names of tensors.

    Attributes:
        feeds: tensor name -> array.
        tensors: output name -> tensor name.
    """

    feeds: Mapping[str, Array]
    tensors: Mapping[str, str]

    @property
    def fetches(self) -> list[str]:
        """The names of the tensors to fetch, in the order in which `outputs` takes them."""
        return list(self.tensors.values())

    def outputs(self, arrays: Sequence[Array]) -> dict[str, Array]:
        """What was fetched, by the names of the outputs."""
        return dict(zip(self.tensors, arrays, strict=True))


def predict(
    model: Servable,
    signature_name: str,
    inputs: Mapping[str, Tensor],
    read: Callable[[Tensor], Array],
    output_filter: Sequence[str] = (),
    timeout_ms: int = NO_TIMEOUT,
) -> dict[str, Array]:
    """Run a signature; `read` makes an array of an input, or raises ValueError."""
    run = prepare(model, signature_name, inputs, read, output_filter)
    return run.outputs(model.run(run.feeds, run.fetches, timeout_ms))


def prepare(
    model: Servable,
    signature_name: str,
    inputs: Mapping[str, Tensor],
    read: Callable[[Tensor], Array],
    output_filter: Sequence[str] = (),
) -> Run:
    """The run that `predict` makes."""
    signature = _signature(model, signature_name)
    note(signature=signature_name or SERVING_DEFAULT)
    _check_number_of_inputs(signature, inputs)
    feeds = _feeds(signature, inputs, read)
    return Run(feeds, _tensors(signature, output_filter))


def _signature(model: Servable, name: str) -> meta_graph_pb2.SignatureDef:
    signature = model.signatures.get(name or SERVING_DEFAULT)
    if signature is None:
        message = f'Serving signature key "{name or SERVING_DEFAULT}" not found.'
        raise ServingError(Status.FAILED_PRECONDITION, message)
    if model.check_method_names and signature.method_name not in METHOD_NAMES:
        message = (
            f"Expected prediction signature method_name to be one of {{{', '.join(METHOD_NAMES)}}}."
            f" Was: {signature.method_name}"
        )
        raise ServingError(Status.INTERNAL, message)
    return signature


def _check_number_of_inputs(signature: meta_graph_pb2.SignatureDef, inputs: Mapping[str, Any]) -> None:
    sent, known = set(inputs), set(signature.inputs)
    if len(sent) > len(known) or (len(sent) < len(known) and not signature.defaults):
        message = (
            f"input size does not match signature: {len(sent)}!={len(known)}"
            f" len({_braced(sent)}) != len({_braced(known)})."
            f" Sent extra: {_braced(sent - known)}. Missing but required: {_braced(known - sent)}."
        )
        raise ServingError(Status.INVALID_ARGUMENT, message)


def _feeds(
    signature: meta_graph_pb2.SignatureDef, inputs: Mapping[str, Tensor], read: Callable[[Tensor], Array]
) -> dict[str, Array]:
    feeds = {}
    for alias in sorted(signature.inputs):
        feed_name = signature.inputs[alias].name
        if alias not in inputs and alias not in signature.defaults:
            message = (
                f"Signature input alias: {alias}(feed name: {feed_name}) not found in request and no default value"
                f" provided. Inputs expected to be in the request {_braced(inputs)}, or default input alias set:"
                f" {','.join(sorted(signature.defaults))}"
            )
            raise ServingError(Status.INVALID_ARGUMENT, message)
        try:
            feeds[feed_name] = read(inputs[alias]) if alias in inputs else read_tensor(signature.defaults[alias])
        except (ValueError, OverflowError, MemoryError) as error:  # the last two: a shape that nothing can have
            raise ServingError(Status.INVALID_ARGUMENT, f"tensor parsing error: {alias}") from error
    if unused := set(inputs) - set(signature.inputs):
        used = ",".join(sorted(set(inputs) - unused))
        message = (
            f"Inputs contains invalid name. Used request inputs: {used}, request input: {','.join(sorted(inputs))}"
        )
        raise ServingError(Status.INVALID_ARGUMENT, message)
    return feeds


def _tensors(signature: meta_graph_pb2.SignatureDef, output_filter: Sequence[str]) -> dict[str, str]:
    """Output name -> tensor name, of the outputs that are asked for (none: of all)."""
    tensors: dict[str, str] = {}
    for alias in output_filter or sorted(signature.outputs):
        if alias not in signature.outputs:
            message = (
                f"output tensor alias not found in signature: {alias}"
                f" Outputs expected to be in the set {_braced(signature.outputs)}."
            )
            raise ServingError(Status.INVALID_ARGUMENT, message)
        if alias in tensors:
            raise ServingError(Status.INVALID_ARGUMENT, f"duplicate output tensor alias: {alias}")
        tensors[alias] = signature.outputs[alias].name
    return tensors


def _braced(names: Iterable[str]) -> str:
    return "{" + ",".join(sorted(names)) + "}"
