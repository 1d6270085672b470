"""The input of Classify, Regress and MultiInference: examples, to the tensor of strings that a graph parses.

`example_list {x: 1}, {x: 2}` -> [b"<{x: 1}>", b"<{x: 2}>"]; with a context {c: 0} -> [b"<{c: 0}><{x: 1}>", ...].
"""

from __future__ import annotations

from tensorflow_serving.apis import input_pb2

from serving.errors import ServingError, Status
from serving.request_json import Array
from serving.tensors import object_array


def serialized_examples(request_input: input_pb2.Input) -> Array:
    """One serialized tf.Example a row; INVALID_ARGUMENT if there is none.

    The context goes before each example as bytes: protobuf merges messages that follow each other, and a feature that
    both have is the example's.
    """
    context = b""
    if request_input.WhichOneof("kind") == "example_list_with_context":
        context = request_input.example_list_with_context.context.SerializeToString()
        examples = request_input.example_list_with_context.examples
    else:
        examples = request_input.example_list.examples
    if not examples:
        raise ServingError(Status.INVALID_ARGUMENT, "Input is empty.")
    return object_array([context + example.SerializeToString() for example in examples], (len(examples),))
