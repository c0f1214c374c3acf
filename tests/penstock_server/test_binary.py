"""Raw tensors: what goes out comes back, and nothing else gets in."""

import re
import tracemalloc
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from penstock_server.protocol import DTYPES, Array, BadRequest
from penstock_server.protocol.binary import decode_raw, encode_raw

SHAPES = arrays.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=5)
NUMBERS = st.sampled_from(sorted(set(DTYPES) - {"BYTES"}))
TEXTS = st.text(st.characters(codec="utf-8"), max_size=20)


@given(NUMBERS, SHAPES, st.data())
def test_numbers_come_back_bit_for_bit(datatype: str, shape: tuple[int, ...], data: Any) -> None:
    array: Array = data.draw(arrays.arrays(DTYPES[datatype], shape))
    raw = encode_raw(array, datatype)
    assert len(raw) == array.size * array.itemsize
    back = decode_raw(raw, datatype, shape, "input 'x'")
    assert back.dtype == array.dtype
    assert back.shape == array.shape
    assert back.tobytes() == array.tobytes()  # NaN has many forms and equals none of them


@given(SHAPES, st.data())
def test_texts_come_back(shape: tuple[int, ...], data: Any) -> None:
    array: Array = data.draw(arrays.arrays(np.object_, shape, elements=TEXTS, fill=st.nothing()))
    back = decode_raw(encode_raw(array, "BYTES"), "BYTES", shape, "input 'x'")
    assert back.dtype == np.object_
    assert back.shape == array.shape
    assert back.tolist() == array.tolist()


@given(st.binary(max_size=64), st.sampled_from(sorted(DTYPES)), SHAPES)
@example(b"\xff\xff\xff\xff", "BYTES", (1,))
@example(b"", "FP32", (0, 2**62, 2**62))
def test_any_bytes_are_a_tensor_of_that_shape_or_a_bad_request(
    raw: bytes, datatype: str, shape: tuple[int, ...]
) -> None:
    try:
        array = decode_raw(raw, datatype, shape, "input 'x'")
    except BadRequest:
        return
    assert array.shape == shape
    assert encode_raw(array, datatype) == raw


@pytest.mark.parametrize(
    ("datatype", "value", "raw"),
    [
        ("BOOL", [True, False], "0100"),
        ("UINT16", [1, 258], "01000201"),
        ("INT8", [-1], "ff"),
        ("INT64", [-2], "feffffffffffffff"),
        ("FP16", [1.0], "003c"),
        ("FP32", [1.0], "0000803f"),
        ("FP64", [1.0], "000000000000f03f"),
        ("BYTES", ["ab", ""], "02000000616200000000"),
    ],
)
def test_the_wire_is_little_endian(datatype: str, value: list[Any], raw: str) -> None:
    array = np.array(value, dtype=DTYPES[datatype])
    assert encode_raw(array, datatype).hex() == raw
    assert decode_raw(bytes.fromhex(raw), datatype, (len(value),), "x").tolist() == value


@pytest.mark.parametrize(
    ("datatype", "shape", "raw", "message"),
    [
        ("FP32", (2,), "0000803f", "input 'x' has 4 bytes of binary data; shape [2] of FP32 needs 8"),
        ("FP32", (1,), "0000803f00", "input 'x' has 5 bytes of binary data; shape [1] of FP32 needs 4"),
        (
            "BOOL",
            (2,),
            "0002",
            "input 'x': binary data of BOOL must be one byte 0 or 1 per element, but element 1 is 2",
        ),
        ("BYTES", (2,), "0000", "shape [2] of BYTES needs at least 8: 4 bytes of length"),
        ("BYTES", (2,), "04000000616263640000", "ends before element 1 of 2"),
        ("BYTES", (1,), "0500000061626364", "element 0 of BYTES claims 5 bytes, but 4 follow"),
        ("BYTES", (1,), "0000000000", "1 bytes follow the last of the 1 elements that shape [1] of BYTES needs"),
        ("BYTES", (1,), "01000000ff", "element 0 of BYTES is not UTF-8"),
        ("FP64", (0, 2**62, 2**62), "", "shape [0, 4611686018427387904, 4611686018427387904] is too large"),
    ],
)
def test_what_is_wrong_is_told_with_what_would_be_right(
    datatype: str, shape: tuple[int, ...], raw: str, message: str
) -> None:
    with pytest.raises(BadRequest, match=re.escape(message)):
        decode_raw(bytes.fromhex(raw), datatype, shape, "input 'x'")


def test_numbers_are_not_copied_where_they_lie_well() -> None:
    raw = np.arange(4, dtype=np.float32).tobytes()
    assert not decode_raw(raw, "FP32", (2, 2), "x").flags.owndata
    assert np.shares_memory(decode_raw(raw, "FP32", (4,), "x"), np.frombuffer(raw, np.uint8))


def test_numbers_that_lie_badly_are_moved() -> None:
    raw = memoryview(b"?" + np.arange(4, dtype=np.float64).tobytes())[1:]
    array = decode_raw(raw, "FP64", (4,), "x")
    assert array.flags.aligned
    assert array.tolist() == [0, 1, 2, 3]


@pytest.mark.parametrize("datatype", ["FP32", "BOOL", "BYTES"])
def test_a_shape_alone_allocates_nothing(datatype: str) -> None:
    tracemalloc.start()
    try:
        with pytest.raises(BadRequest):
            decode_raw(b"\0" * 64, datatype, (2**40,), "x")
        assert tracemalloc.get_traced_memory()[1] < 100_000
    finally:
        tracemalloc.stop()


def test_outputs_in_any_memory_order_are_written_row_by_row() -> None:
    array = np.arange(6, dtype=np.int32).reshape(2, 3)
    assert encode_raw(np.asfortranarray(array), "INT32") == array.tobytes()
    assert encode_raw(array[:, ::-1], "INT32") == array[:, ::-1].copy().tobytes()
