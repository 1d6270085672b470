"""TensorProto to NumPy and back, without TensorFlow: the server and the light client share it.

`{dtype: DT_FLOAT, tensor_shape: [2], float_val: [0.5, 1.0]}` <-> `np.array([0.5, 1.0], np.float32)`; strings are object
arrays of bytes. It works on any message class with TensorProto's fields: TensorFlow's own, or `serving.wire`'s.
"""

from __future__ import annotations

import dataclasses
import itertools
import math
from typing import Any

import ml_dtypes
import numpy as np


@dataclasses.dataclass(frozen=True)
class DType:
    """How TensorFlow numbers, names and stores a type."""

    number: int  # tensorflow.DataType
    name: str  # as error messages have it
    numpy: np.dtype[Any]
    field: str  # of TensorProto


DTYPES = (
    DType(1, "float", np.dtype(np.float32), "float_val"),
    DType(2, "double", np.dtype(np.float64), "double_val"),
    DType(3, "int32", np.dtype(np.int32), "int_val"),
    DType(4, "uint8", np.dtype(np.uint8), "int_val"),
    DType(5, "int16", np.dtype(np.int16), "int_val"),
    DType(6, "int8", np.dtype(np.int8), "int_val"),
    DType(7, "string", np.dtype(object), "string_val"),
    DType(8, "complex64", np.dtype(np.complex64), "scomplex_val"),
    DType(9, "int64", np.dtype(np.int64), "int64_val"),
    DType(10, "bool", np.dtype(np.bool_), "bool_val"),
    DType(14, "bfloat16", np.dtype(ml_dtypes.bfloat16), "half_val"),
    DType(17, "uint16", np.dtype(np.uint16), "int_val"),
    DType(18, "complex128", np.dtype(np.complex128), "dcomplex_val"),
    DType(19, "half", np.dtype(np.float16), "half_val"),
    DType(22, "uint32", np.dtype(np.uint32), "uint32_val"),
    DType(23, "uint64", np.dtype(np.uint64), "uint64_val"),
)
BY_NUMBER = {dtype.number: dtype for dtype in DTYPES}
BY_NUMPY = {dtype.numpy: dtype for dtype in DTYPES}
STRING, BOOL, UINT64 = 7, 10, 23
STRING_BYTES = 32  # of an empty string, in NumPy and in TensorFlow
MOST_MADE_UP = 2**29  # bytes of values that a message does not hold
MAX_RANK = 32  # of an array in NumPy 1


def dtype_name(number: int) -> str:
    """1 -> "float"."""
    return BY_NUMBER[number].name if number in BY_NUMBER else f"unknown dtype enum ({number})"


def object_array(values: list[Any], shape: tuple[int, ...]) -> np.ndarray[Any, Any]:
    """An array of Python objects (NumPy alone would guess a fixed width, and drop trailing zero bytes)."""
    array = np.empty(len(values), dtype=object)
    array[:] = values
    return array.reshape(shape)


def read_tensor(proto: Any) -> np.ndarray[Any, Any]:
    """TensorProto -> array, by the rules of `tensorflow::Tensor::FromProto`; ValueError if it is not a tensor.

    Fewer values than the shape has repeat the last one (none at all: zeros); those that are too many are dropped. That
    far the rules: here a message of twenty bytes does not get a tensor of gigabytes for it (`MOST_MADE_UP`).
    """
    dtype = BY_NUMBER.get(proto.dtype)
    if dtype is None:
        raise ValueError(f"dtype {proto.dtype} is not one of {sorted(BY_NUMBER)}")
    shape = tuple(int(dim.size) for dim in proto.tensor_shape.dim)
    if proto.tensor_shape.unknown_rank or any(size < 0 for size in shape):
        raise ValueError(f"shape {shape} of a value must be known")
    size = math.prod(shape)
    if proto.tensor_content:
        return _from_content(proto.tensor_content, dtype, size).reshape(shape)
    values = _flat(getattr(proto, dtype.field), dtype)[:size]
    if len(values) < size:
        if (size - len(values)) * (dtype.numpy.itemsize if dtype.number != STRING else STRING_BYTES) > MOST_MADE_UP:
            raise ValueError(f"shape {shape} has {size} values, the message {len(values)}: too many to make up")
        last = values[-1:] if len(values) else _zeros(dtype)
        values = np.concatenate([values, np.repeat(last, size - len(values))])
    return values.reshape(shape)


def _flat(values: Any, dtype: DType) -> np.ndarray[Any, Any]:
    if dtype.field == "string_val":
        return object_array(list(values), (len(values),))
    if dtype.field == "half_val":  # the bits of the 16, in the low half of an int32
        return np.array(values, np.int32).astype(np.uint16).view(dtype.numpy)
    if dtype.field in ("scomplex_val", "dcomplex_val"):
        part = np.float32 if dtype.field == "scomplex_val" else np.float64
        return np.array(values[: len(values) // 2 * 2], part).view(dtype.numpy)  # real, imaginary, real, ...
    if dtype.field == "int_val":
        return np.array(values, np.int32).astype(dtype.numpy)
    return np.array(values, dtype.numpy)


def _zeros(dtype: DType) -> np.ndarray[Any, Any]:
    return object_array([b""], (1,)) if dtype.number == STRING else np.zeros(1, dtype.numpy)


def _from_content(content: bytes, dtype: DType, size: int) -> np.ndarray[Any, Any]:
    if dtype.number == STRING:
        return object_array(_split_strings(content, size), (size,))
    if len(content) != size * dtype.numpy.itemsize:
        needed = size * dtype.numpy.itemsize
        raise ValueError(f"tensor_content has {len(content)} bytes, {size} x {dtype.name} need {needed}")
    return np.frombuffer(content, dtype.numpy)


def _split_strings(content: bytes, count: int) -> list[bytes]:
    """Strings in tensor_content: their lengths as varints, then their bytes one after another."""
    lengths, offset = [], 0
    for _ in range(count):
        length = shift = 0
        while True:
            if offset >= len(content):
                raise ValueError(f"tensor_content ends inside the lengths of {count} strings")
            byte = content[offset]
            offset += 1
            length |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:
                break
            if shift > 63:
                raise ValueError("a length in tensor_content has more than 64 bits")
        lengths.append(length)
    if sum(lengths) != len(content) - offset:
        raise ValueError(f"tensor_content has {len(content) - offset} bytes, its lengths say {sum(lengths)}")
    ends = itertools.islice(itertools.accumulate(lengths, initial=offset), 1, None)
    return [content[end - length : end] for end, length in zip(ends, lengths, strict=True)]


def write_tensor(array: np.ndarray[Any, Any], proto: Any, as_content: bool = False) -> None:
    """Fill an empty TensorProto: values go to the field of their type, or (but strings) to tensor_content."""
    dtype = BY_NUMPY.get(array.dtype)
    if dtype is None:
        raise ValueError(
            f"an array of {array.dtype} has no tensor type; the types are {[str(d.numpy) for d in DTYPES]}"
        )
    proto.dtype = dtype.number
    proto.tensor_shape.SetInParent()  # a scalar has a shape too, an empty one
    for size in array.shape:
        proto.tensor_shape.dim.add().size = size
    if as_content and dtype.number != STRING:
        proto.tensor_content = np.ascontiguousarray(array).tobytes()
        return
    flat = np.ascontiguousarray(array).ravel()
    if dtype.field == "half_val":
        flat = flat.view(np.uint16)
    elif dtype.field in ("scomplex_val", "dcomplex_val"):
        flat = np.stack([flat.real, flat.imag], axis=-1).ravel()
    getattr(proto, dtype.field).extend(flat.tolist())
