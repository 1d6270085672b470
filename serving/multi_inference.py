"""MultiInference: several signatures of one model on the same examples, in one run.

[(regress, "regress_x_to_y"), (classify, "classify_x_to_y")] -> [[3.0], [[(b"", 3.0)]]]
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tensorflow_serving.apis import inference_pb2, input_pb2

from serving.errors import ServingError, Status
from serving.inference import CLASSIFY, REGRESS, Method, Task, run
from serving.monitoring import note
from serving.saved_model import NO_TIMEOUT, Servable
from serving.signatures import SERVING_DEFAULT

METHODS: dict[str, Method[Any]] = {method.name: method for method in (CLASSIFY, REGRESS)}


def multi_infer(
    model: Servable,
    tasks: Sequence[inference_pb2.InferenceTask],
    request_input: input_pb2.Input,
    timeout_ms: int = NO_TIMEOUT,
) -> list[Any]:
    """The result of each task, as its method gives it; the examples feed the input of every signature."""
    signatures: set[str] = set()
    prepared: list[tuple[Method[Any], Task]] = []
    for task in tasks:
        if not task.model_spec.name:
            raise _invalid("Found ModelSpec with an empty model name.")
        if task.model_spec.name != tasks[0].model_spec.name:
            raise _invalid("All ModelSpecs in a MultiInferenceRequest must access the same model name.")
        signature_name = task.model_spec.signature_name or SERVING_DEFAULT
        if signature_name in signatures:
            raise _invalid(f"Duplicate evaluation of signature: {signature_name}")
        signatures.add(signature_name)
        prepared.append(_prepared(model, signature_name, task.method_name))
    note(signature=",".join(sorted(signatures)))
    tensors, examples = run(model, [task for _, task in prepared], request_input, timeout_ms)
    return [method.result(task, tensors, examples) for method, task in prepared]


def _prepared(model: Servable, signature_name: str, method_name: str) -> tuple[Method[Any], Task]:
    signature = model.signatures.get(signature_name)
    if signature is None:
        raise _invalid(f"Requested signature not found in model graph: {signature_name}")
    method = METHODS.get(method_name)
    if method is None:
        raise ServingError(Status.UNIMPLEMENTED, f"Unsupported signature method_name: {method_name}")
    return method, method.task(signature, model.check_method_names)


def _invalid(message: str) -> ServingError:
    return ServingError(Status.INVALID_ARGUMENT, message)
