"""TensorProto <-> NumPy, held against TensorFlow."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from tensorflow.core.framework import tensor_pb2

from serving.tensors import DTYPES, object_array, read_tensor, write_tensor

NUMBERS = [dtype for dtype in DTYPES if dtype.name not in ("string", "bfloat16")]
SHAPES = hnp.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=3)
arrays = st.sampled_from(NUMBERS).flatmap(lambda dtype: hnp.arrays(dtype.numpy, SHAPES))
texts = SHAPES.flatmap(
    lambda shape: st.lists(st.binary(max_size=5), min_size=(n := int(np.prod(shape))), max_size=n).map(
        lambda values: object_array(values, shape)
    )
)


@given(arrays | texts, st.booleans())
def test_what_is_written_is_what_tensorflow_reads(array: Any, as_content: bool) -> None:
    proto = tensor_pb2.TensorProto()
    write_tensor(array, proto, as_content)
    np.testing.assert_array_equal(tf.make_ndarray(proto), array)
    np.testing.assert_array_equal(read_tensor(proto), array)


@given(arrays | texts)
def test_what_tensorflow_writes_is_read(array: Any) -> None:
    read = read_tensor(tf.make_tensor_proto(array, shape=array.shape, dtype=tf.as_dtype(array.dtype)))
    np.testing.assert_array_equal(read, array)
    assert read.dtype == array.dtype


def test_types_are_numbered_as_tensorflow_does() -> None:
    for dtype in DTYPES:
        assert np.dtype(tf.as_dtype(dtype.number).as_numpy_dtype) == dtype.numpy


@pytest.mark.parametrize(
    ("values", "expected"),
    [([2, 3], [2, 3, 3, 3, 3]), ([], [0, 0, 0, 0, 0]), ([2, 3, 5, 7, 11, 13], [2, 3, 5, 7, 11])],
)
def test_too_few_or_too_many_values(values: list[int], expected: list[int]) -> None:
    proto = tensor_pb2.TensorProto(dtype=3, int_val=values, tensor_shape={"dim": [{"size": 5}]})
    assert read_tensor(proto).tolist() == expected


def test_strings_in_tensor_content() -> None:
    shape = {"dim": [{"size": 2}]}
    content = bytes([0x81, 0x01, 2]) + b"x" * 129 + b"yz"
    proto = tensor_pb2.TensorProto(dtype=7, tensor_content=content, tensor_shape=shape)
    assert read_tensor(proto).tolist() == [b"x" * 129, b"yz"]
    for bad in (content[:-1], content + b"a", b"\x81"):
        with pytest.raises(ValueError, match="tensor_content"):
            read_tensor(tensor_pb2.TensorProto(dtype=7, tensor_content=bad, tensor_shape=shape))


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"dtype": 0}, "dtype 0 is not one of"),
        ({"dtype": 1, "tensor_shape": {"unknown_rank": True}}, "must be known"),
        ({"dtype": 1, "tensor_shape": {"dim": [{"size": -1}]}}, r"shape \(-1,\) of a value must be known"),
        ({"dtype": 1, "tensor_shape": {"dim": [{"size": 2**31}]}}, "has 2147483648 values, the message 0: too many"),
        ({"dtype": 7, "tensor_shape": {"dim": [{"size": 2**25}]}, "string_val": [b"a"]}, "the message 1: too many"),
        ({"dtype": 1, "tensor_content": b"abc"}, "tensor_content has 3 bytes, 1 x float need 4"),
    ],
)
def test_what_is_no_tensor(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        read_tensor(tensor_pb2.TensorProto(**fields))
