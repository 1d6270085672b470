"""Classify and Regress: signatures that take serialized examples and give classes, or a value, for each.

Classify: `inputs: string [n] -> classes: string [n, c], scores: float [n, c]` (or one of the two). Two examples ->
`[[(b"cat", 0.75), (b"dog", 0.25)], [(b"cat", 0.5), (b"dog", 0.5)]]`.
Regress: `inputs: string [n] -> outputs: float [n]` or `[n, 1]`. Two examples -> `[3.0, 3.5]`.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Generic, TypeVar

import numpy as np
from tensorflow.core.protobuf import meta_graph_pb2
from tensorflow_serving.apis import input_pb2

from serving.errors import ServingError, Status
from serving.examples import serialized_examples
from serving.monitoring import note
from serving.request_json import Array
from serving.saved_model import NO_TIMEOUT, Servable
from serving.signatures import SERVING_DEFAULT
from serving.tensors import BY_NUMPY

INPUTS, OUTPUTS, CLASSES, SCORES = "inputs", "outputs", "classes", "scores"  # the names that the signatures must have

Classifications = list[list[tuple[bytes, float]]]  # of each example, its labels with their scores
Regressions = list[float]
Result = TypeVar("Result")


@dataclasses.dataclass(frozen=True)
class Task:
    """The tensor that a signature feeds with examples and, by their names in the signature, those that it fetches."""

    input: str
    outputs: Mapping[str, str]


@dataclasses.dataclass(frozen=True)
class Method(Generic[Result]):
    """Classify or Regress.

    Attributes:
        name: of the method, as a signature and a MultiInference request have it.
        kind: the word for it in messages.
        outputs: the outputs of a signature that it fetches; raises ServingError if it cannot be one of this method.
        read: the fetched arrays by their names in the signature, and the number of examples -> the result.
    """

    name: str
    kind: str
    outputs: Callable[[meta_graph_pb2.SignatureDef], list[str]]
    read: Callable[[Mapping[str, Array], int], Result]

    def task(self, signature: meta_graph_pb2.SignatureDef, check_method_name: bool) -> Task:
        """Hold a signature against the method; its method name counts only if asked, since TF 2 exports say Predict."""
        if check_method_name and signature.method_name != self.name:
            raise _invalid(
                f"Expected {self.kind} signature method_name to be {self.name}. Was: {signature.method_name}"
            )
        if len(signature.inputs) != 1:
            raise _invalid("Expected one input Tensor.")
        names = self.outputs(signature)
        return Task(signature.inputs[INPUTS].name, {name: signature.outputs[name].name for name in names})

    def result(self, task: Task, tensors: Mapping[str, Array], examples: int) -> Result:
        """The result of a task from the tensors, by their names in the graph, that a run has fetched."""
        return self.read({alias: tensors[name] for alias, name in task.outputs.items()}, examples)


def infer(
    model: Servable,
    method: Method[Result],
    signature_name: str,
    request_input: input_pb2.Input,
    timeout_ms: int = NO_TIMEOUT,
) -> Result:
    """Run one signature on the examples of a request."""
    name = signature_name or SERVING_DEFAULT
    signature = model.signatures.get(name)
    if signature is None:
        raise _invalid(f"No signature was found with the name: {name}")
    note(signature=name)
    task = method.task(signature, model.check_method_names)
    tensors, examples = run(model, [task], request_input, timeout_ms)
    return method.result(task, tensors, examples)


def run(
    model: Servable, tasks: Iterable[Task], request_input: input_pb2.Input, timeout_ms: int
) -> tuple[dict[str, Array], int]:
    """One run for all tasks: the fetched tensors by their names in the graph, and the number of examples."""
    tasks = list(tasks)
    examples = serialized_examples(request_input)
    fetches = sorted({name for task in tasks for name in task.outputs.values()})
    arrays = model.run({task.input: examples for task in tasks}, fetches, timeout_ms)
    return dict(zip(fetches, arrays, strict=True)), len(examples)


def _invalid(message: str) -> ServingError:
    return ServingError(Status.INVALID_ARGUMENT, message)


def _classification_outputs(signature: meta_graph_pb2.SignatureDef) -> list[str]:
    if len(signature.outputs) not in (1, 2):
        raise _invalid(f"Expected one or two output Tensors, found {len(signature.outputs)}")
    if INPUTS not in signature.inputs:
        raise _invalid(f"No classification inputs found in SignatureDef: {signature}")
    names = [name for name in (CLASSES, SCORES) if name in signature.outputs]
    if not names:
        raise _invalid(
            f'Expected classification signature outputs to contain at least one of "{CLASSES}" or "{SCORES}".'
            f" Signature was: {signature}"
        )
    return names


def _regression_outputs(signature: meta_graph_pb2.SignatureDef) -> list[str]:
    if len(signature.outputs) != 1:
        raise _invalid("Expected one output Tensor.")
    if INPUTS not in signature.inputs:
        raise _invalid(f"No regression inputs found in SignatureDef: {signature}")
    if OUTPUTS not in signature.outputs:
        raise _invalid(f"No regression outputs found in SignatureDef: {signature}")
    return [OUTPUTS]


def _read_classifications(arrays: Mapping[str, Array], examples: int) -> Classifications:
    for name, dtype in ((CLASSES, np.dtype(object)), (SCORES, np.dtype(np.float32))):
        if name in arrays:
            _check_classification_output(name, arrays[name], dtype, examples)
    labels, scores = arrays.get(CLASSES), arrays.get(SCORES)
    if labels is not None and scores is not None and labels.shape[1] != scores.shape[1]:
        raise _invalid(
            f"Tensors class and score should match in dim_size(1). Got {labels.shape[1]} vs. {scores.shape[1]}"
        )
    if labels is None:
        labels = np.full_like(scores, b"", dtype=object)
    if scores is None:
        scores = np.zeros(labels.shape, np.float32)
    return [list(zip(*row, strict=True)) for row in zip(labels.tolist(), scores.tolist(), strict=True)]


def _check_classification_output(name: str, array: Array, dtype: np.dtype[Any], examples: int) -> None:
    if array.ndim != 2:
        raise _invalid(f"Expected Tensor shape: [batch_size num_classes] but got {_shape(array)}")
    if array.dtype != dtype:
        raise _invalid(f"Expected {name} Tensor of {_dtype(dtype)}. Got: {_dtype(array.dtype)}")
    if len(array) != examples:
        raise _invalid(f"Expected {name} output batch size of {examples}. Got: {len(array)}")


def _read_regressions(arrays: Mapping[str, Array], examples: int) -> Regressions:
    array = arrays[OUTPUTS]
    if array.ndim != 1 and not (array.ndim == 2 and array.shape[1] == 1):
        shapes = "either [batch_size] or [batch_size, 1]"
        raise _invalid(f"Expected output Tensor shape to be {shapes} but got {_shape(array)}")
    if len(array) != examples:
        raise _invalid(f"Input batch size did not match output batch size: {examples} vs. {len(array)}")
    if array.dtype != np.float32:
        raise _invalid(f"Expected output Tensor of DT_FLOAT.  Got: {_dtype(array.dtype)}")
    values: list[float] = array.ravel().tolist()
    return values


def _shape(array: Array) -> str:
    return "[" + ",".join(map(str, array.shape)) + "]"


def _dtype(dtype: np.dtype[Any]) -> str:
    return f"DT_{BY_NUMPY[dtype].name.upper()}" if dtype in BY_NUMPY else str(dtype)


CLASSIFY: Method[Classifications] = Method(
    "tensorflow/serving/classify", "classification", _classification_outputs, _read_classifications
)
REGRESS: Method[Regressions] = Method(
    "tensorflow/serving/regress", "regression", _regression_outputs, _read_regressions
)
