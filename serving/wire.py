"""Predict's protobuf messages without TensorFlow, for a client that starts in a fraction of a second.

`tensorflow_serving.apis` imports `tensorflow.core.framework`, and with it all of TensorFlow (five to ten seconds).
These are the same messages on the wire, the parts that a client of Predict needs, in a descriptor pool of their own, so
that they can live beside TensorFlow's; a test holds them against those.
"""

from __future__ import annotations

from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

Fields = dict[str, list[tuple[int, str, str]]]

_FIELD = descriptor_pb2.FieldDescriptorProto
_SCALARS = {
    "string": _FIELD.TYPE_STRING,
    "bytes": _FIELD.TYPE_BYTES,
    "bool": _FIELD.TYPE_BOOL,
    "int32": _FIELD.TYPE_INT32,
    "int64": _FIELD.TYPE_INT64,
    "uint32": _FIELD.TYPE_UINT32,
    "uint64": _FIELD.TYPE_UINT64,
    "float": _FIELD.TYPE_FLOAT,
    "double": _FIELD.TYPE_DOUBLE,
}

# Message -> (number, type, name) of its fields; `*` repeats, `map` maps a string to a tensor. An enum is an int32 on
# the wire. (tensor.proto, tensor_shape.proto, model.proto, predict.proto, google/protobuf/wrappers.proto)
_MESSAGES: Fields = {
    "Dim": [(1, "int64", "size")],
    "TensorShapeProto": [(2, "*Dim", "dim"), (3, "bool", "unknown_rank")],
    "TensorProto": [
        (1, "int32", "dtype"),
        (2, "TensorShapeProto", "tensor_shape"),
        (4, "bytes", "tensor_content"),
        (5, "*float", "float_val"),
        (6, "*double", "double_val"),
        (7, "*int32", "int_val"),
        (8, "*bytes", "string_val"),
        (9, "*float", "scomplex_val"),
        (10, "*int64", "int64_val"),
        (11, "*bool", "bool_val"),
        (12, "*double", "dcomplex_val"),
        (13, "*int32", "half_val"),
        (16, "*uint32", "uint32_val"),
        (17, "*uint64", "uint64_val"),
    ],
    "Int64Value": [(1, "int64", "value")],
    "ModelSpec": [(1, "string", "name"), (2, "Int64Value", "version"), (3, "string", "signature_name")],
    "PredictRequest": [(1, "ModelSpec", "model_spec"), (2, "map", "inputs"), (3, "*string", "output_filter")],
    "PredictResponse": [(1, "map", "outputs"), (2, "ModelSpec", "model_spec")],
}


def message_classes(package: str, messages: Fields) -> dict[str, Any]:
    """The classes of messages that are written out as in `_MESSAGES`, in a pool of their own."""
    pool = descriptor_pool.DescriptorPool()
    pool.AddSerializedFile(_file(package, messages).SerializeToString())
    return {name: _message_class(pool, f"{package}.{name}") for name in messages}


def _file(package: str, messages: Fields) -> descriptor_pb2.FileDescriptorProto:
    file = descriptor_pb2.FileDescriptorProto(name=f"{package}.proto", package=package, syntax="proto3")
    for name, fields in messages.items():
        message = file.message_type.add(name=name)
        for number, kind, field_name in fields:
            if kind == "map":
                entry = message.nested_type.add(name=f"{field_name.capitalize()}Entry")
                entry.options.map_entry = True
                _add_field(entry, 1, "string", "key", package)
                _add_field(entry, 2, "TensorProto", "value", package)
                _add_field(message, number, f"*{name}.{entry.name}", field_name, package)
            else:
                _add_field(message, number, kind, field_name, package)
    return file


def _add_field(message: descriptor_pb2.DescriptorProto, number: int, kind: str, name: str, package: str) -> None:
    field = message.field.add(name=name, number=number)
    field.label = _FIELD.LABEL_REPEATED if kind.startswith("*") else _FIELD.LABEL_OPTIONAL
    kind = kind.lstrip("*")
    if kind in _SCALARS:
        field.type = _SCALARS[kind]
    else:
        field.type = _FIELD.TYPE_MESSAGE
        field.type_name = f".{package}.{kind}"


def _message_class(pool: descriptor_pool.DescriptorPool, name: str) -> Any:
    descriptor = pool.FindMessageTypeByName(name)
    if hasattr(message_factory, "GetMessageClass"):
        return message_factory.GetMessageClass(descriptor)
    return message_factory.MessageFactory(pool).GetPrototype(descriptor)  # protobuf before 4.22


_classes = message_classes("fovea.wire", _MESSAGES)

TensorProto = _classes["TensorProto"]
PredictRequest = _classes["PredictRequest"]
PredictResponse = _classes["PredictResponse"]
