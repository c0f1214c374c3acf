"""JSON and raw tensors in one body, both ways, and what else a request can ask for."""

import json
import math
import re
from typing import Any

import numpy as np
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from penstock_server.protocol import (
    DTYPES,
    Array,
    BadRequest,
    InferRequest,
    RequestDecoder,
    RequestedOutput,
    ResponseEncoder,
    TensorSpec,
    UnencodableOutput,
)
from penstock_server.protocol.binary import encode_raw

X = TensorSpec(name="x", datatype="FP32", shape=(-1, 2))
W = TensorSpec(name="w", datatype="INT64", shape=(-1,))
TWO = np.array([[1, 2]], np.float32).tobytes()


def decode(message: dict[str, Any], raw: bytes = b"", *inputs: TensorSpec, size: int | None = None) -> InferRequest:
    text = json.dumps(message).encode()
    return RequestDecoder(inputs or (X,), (X, W)).decode(text + raw, len(text) if size is None else size)


def tensor(size: int, **changes: Any) -> dict[str, Any]:
    return {"name": "x", "shape": [1, 2], "datatype": "FP32", "parameters": {"binary_data_size": size}, **changes}


@given(
    data=st.data(),
    datatype=st.sampled_from(sorted(DTYPES)),
    shape=hnp.array_shapes(max_dims=3, min_side=0, max_side=4),
    together_with_json=st.booleans(),
)
def test_what_is_answered_in_binary_is_taken_in_binary(
    data: Any, datatype: str, shape: tuple[int, ...], *, together_with_json: bool
) -> None:
    elements = st.text(max_size=5) if datatype == "BYTES" else hnp.from_dtype(DTYPES[datatype], allow_nan=False)
    values = data.draw(st.lists(elements, min_size=math.prod(shape), max_size=math.prod(shape)))
    array: Array = np.array(values, DTYPES[datatype]).reshape(shape)
    specs = [TensorSpec(name=name, datatype=datatype, shape=(-1,) * len(shape)) for name in ("a", "b")]
    outputs = (RequestedOutput(name="a", binary=True), RequestedOutput(name="b", binary=not together_with_json))
    asked = InferRequest(id="1", inputs={}, outputs=outputs, rows=1)
    encoder = ResponseEncoder(model_name="m", model_version="", outputs=specs)
    try:
        answered, json_bytes = encoder.encode(asked, [array, array])
    except UnencodableOutput:
        assert together_with_json  # an infinity, which raw tensors carry and JSON does not
        return
    assert json_bytes is not None
    answer = orjson.loads(answered[:json_bytes])
    body = orjson.dumps({"inputs": answer["outputs"]})
    raw = answered[json_bytes:]
    back = RequestDecoder(specs, []).decode(body + raw, len(body)).inputs
    for name in ("a", "b"):
        assert back[name].dtype == DTYPES[datatype]
        assert back[name].tolist() == array.tolist()


def test_a_raw_tensor_follows_the_json() -> None:
    assert decode({"inputs": [tensor(8)]}, TWO).inputs["x"].tolist() == [[1, 2]]


def test_raw_tensors_lie_in_the_order_of_the_inputs_and_others_are_in_the_json() -> None:
    v = TensorSpec(name="v", datatype="FP32", shape=(-1, 2))
    inline = {"name": "w", "shape": [1], "datatype": "INT64", "data": [7]}
    message = {"inputs": [tensor(8, name="v"), inline, tensor(8)]}
    decoded = decode(message, TWO + TWO[::-1], X, W, v).inputs
    assert (decoded["v"].tolist(), decoded["w"].tolist()) == ([[1, 2]], [7])
    assert decoded["x"].tobytes() == TWO[::-1]


@pytest.mark.parametrize(("rows", "body"), [(1, TWO), (3, TWO * 3), (0, b"")])
def test_a_body_without_json_is_the_only_input(rows: int, body: bytes) -> None:
    decoded = RequestDecoder((X,), (X,)).decode(body, 0)
    assert decoded.inputs["x"].tolist() == [[1, 2]] * rows
    assert decoded.outputs == (RequestedOutput(name="x", binary=True),)


def test_a_body_without_json_of_a_model_of_text_is_one_text() -> None:
    spec = TensorSpec(name="t", datatype="BYTES", shape=(-1,))
    assert RequestDecoder((spec,), ()).decode("grün".encode(), 0).inputs["t"].tolist() == ["grün"]


@pytest.mark.parametrize(
    ("message", "raw", "error"),
    [
        ({"inputs": [tensor(8)]}, TWO[:4], "'binary_data_size' is 8, but only 4 bytes are left"),
        ({"inputs": [tensor(4)]}, TWO, "has 4 bytes of binary data; shape [1, 2] of FP32 needs 8"),
        ({"inputs": [tensor(8)]}, TWO + b"x", "1 bytes of the body belong to no input"),
        ({"inputs": [tensor(8, data=[1, 2])]}, TWO, "has both 'data' and 'binary_data_size'"),
        ({"inputs": [tensor(-8)]}, TWO, "'binary_data_size' must be a whole number from 0, not -8"),
        ({"inputs": [tensor(8, shape=[2**62, 2])]}, TWO, "needs 36893488147419103232"),
        ({"inputs": [tensor(8)], "parameters": {"binary_data_output": 1}}, TWO, "must be true or false"),
        ({"inputs": [tensor(8)], "parameters": {"timeout": -1}}, TWO, "microseconds from 0, not -1"),
        ({"inputs": [tensor(8)], "parameters": {"timeout": "1"}}, TWO, "microseconds from 0, not a string"),
        ({"inputs": [tensor(8)], "outputs": [{"name": "x", "parameters": {"binary_data": 0}}]}, TWO, "true or false"),
    ],
)
def test_a_body_that_does_not_add_up_is_told_why(message: dict[str, Any], raw: bytes, error: str) -> None:
    with pytest.raises(BadRequest, match=re.escape(error)):
        decode(message, raw)


def test_a_small_tensor_does_not_keep_the_large_body_that_it_came_in() -> None:
    (array,) = decode({"inputs": [tensor(8)], "more": "x" * 100_000}, TWO).inputs.values()
    kept: Any = array
    while isinstance(kept, np.ndarray):
        kept = kept.base
    holder: Any = memoryview(kept).obj
    assert len(holder) == 8


@pytest.mark.parametrize("size", [-1, 1000])
def test_the_json_cannot_be_longer_than_the_body(size: int) -> None:
    with pytest.raises(BadRequest, match="Inference-Header-Content-Length"):
        decode({"inputs": [tensor(8)]}, TWO, size=size)


def test_a_size_without_the_header_says_what_is_missing() -> None:
    with pytest.raises(BadRequest, match="no header Inference-Header-Content-Length"):
        RequestDecoder((X,), ()).decode(json.dumps({"inputs": [tensor(8)]}).encode())


@pytest.mark.parametrize(
    ("inputs", "error"),
    [
        ((X, W), "one input"),
        ((TensorSpec(name="x", datatype="FP32", shape=(-1, -1)),), "more than one open dimension"),
        ((TensorSpec(name="x", datatype="BYTES", shape=(2,)),), "only a single string"),
    ],
)
def test_a_model_that_needs_json_says_so(inputs: tuple[TensorSpec, ...], error: str) -> None:
    with pytest.raises(BadRequest, match=error):
        RequestDecoder(inputs, ()).decode(TWO, 0)


def test_each_output_can_be_asked_for_in_its_own_way() -> None:
    wanted = [{"name": "w", "parameters": {"binary_data": False}}, {"name": "x"}]
    message = {"inputs": [tensor(8)], "outputs": wanted, "parameters": {"binary_data_output": True}}
    assert [(one.name, one.binary) for one in decode(message, TWO).outputs] == [("w", False), ("x", True)]


@pytest.mark.parametrize(("microseconds", "seconds"), [(250_000, 0.25), (0, None)])
def test_a_client_says_how_long_it_waits(microseconds: int, seconds: float | None) -> None:
    message = {"inputs": [tensor(8)], "parameters": {"timeout": microseconds, "priority": 3, "anything": "else"}}
    assert decode(message, TWO).timeout_seconds == seconds


def test_what_json_cannot_carry_goes_in_binary() -> None:
    asked = InferRequest(id=None, inputs={}, outputs=(RequestedOutput(name="x", binary=True),), rows=1)
    array = np.array([[np.nan, np.inf]], np.float32)
    body, json_bytes = ResponseEncoder(model_name="m", model_version="", outputs=[X]).encode(asked, [array])
    assert body[json_bytes:] == array.tobytes()


@pytest.mark.parametrize(
    ("array", "texts", "shape"),
    [
        ([[0.1, 0.7, 0.2], [0.5, 0.5, 0]], ["0.700000:1", "0.200000:2", "0.500000:0", "0.500000:1"], [2, 2]),
        ([3, 9], ["9.000000:1", "3.000000:0"], [2]),
        ([[1.5]], ["1.500000:0"], [1, 1]),
    ],
)
def test_classes_are_named_largest_first(array: list[Any], texts: list[str], shape: list[int]) -> None:
    asked = InferRequest(id=None, inputs={}, outputs=(RequestedOutput(name="x", classification=2),), rows=1)
    encoder = ResponseEncoder(model_name="m", model_version="", outputs=[X])
    (output,) = orjson.loads(encoder.encode(asked, [np.array(array, np.float32)])[0])["outputs"]
    assert (output["datatype"], output["shape"], output["data"]) == ("BYTES", shape, texts)


def test_no_rows_have_no_classes() -> None:
    asked = InferRequest(id=None, inputs={}, outputs=(RequestedOutput(name="x", classification=2),), rows=0)
    encoder = ResponseEncoder(model_name="m", model_version="", outputs=[X])
    (output,) = orjson.loads(encoder.encode(asked, [np.zeros((0, 3), np.float32)])[0])["outputs"]
    assert (output["shape"], output["data"]) == ([0, 2], [])


NUMBERS = st.integers(-(2**70), 2**70) | st.floats(allow_nan=False, allow_infinity=False)
ANYTHING = NUMBERS | st.booleans() | st.none() | st.text(max_size=2)


@given(
    st.sampled_from(sorted(set(DTYPES) - {"FP16"})),
    st.lists(NUMBERS, max_size=4) | st.lists(ANYTHING, max_size=4) | st.lists(st.lists(ANYTHING, max_size=2)),
    st.lists(st.integers(0, 4), max_size=3) | st.lists(st.booleans() | st.integers(-1, 2), max_size=2),
)
def test_the_short_way_takes_what_the_long_way_takes_and_makes_the_same_of_it(
    datatype: str, data: list[Any], shape: list[int]
) -> None:
    spec = TensorSpec(name="x", datatype=datatype, shape=(-1,) * len(shape))
    body = json.dumps({"inputs": [{"name": "x", "shape": shape, "datatype": datatype, "data": data}]}).encode()
    both = RequestDecoder((spec,), ())
    long = RequestDecoder((spec,), ())
    long._plain._tensors = {}
    try:
        expected = long.decode(body).inputs["x"]
    except BadRequest as error:
        with pytest.raises(BadRequest, match=re.escape(str(error))):
            both.decode(body)
        return
    taken = both.decode(body).inputs["x"]
    assert (taken.dtype, taken.shape) == (expected.dtype, expected.shape)
    assert encode_raw(taken, datatype) == encode_raw(expected, datatype)


def test_classes_may_have_any_letters_in_their_names() -> None:
    spec = TensorSpec(name="p", datatype="FP32", shape=(-1, 2), classes=("benign", "malignant"))
    asked = InferRequest(id=None, inputs={}, outputs=(RequestedOutput(name="p", classification=2),), rows=1)
    body, _ = ResponseEncoder(model_name="m", model_version="", outputs=[spec]).encode(
        asked, [np.array([[0.25, 0.75]], np.float32)]
    )
    assert orjson.loads(body)["outputs"][0]["data"] == ["0.750000:1:malignant", "0.250000:0:benign"]


@pytest.mark.parametrize("datatype", sorted(set(DTYPES) - {"BYTES"}))
def test_json_that_was_understood_once_means_the_same_again(datatype: str) -> None:
    specs = [TensorSpec(name=name, datatype=datatype, shape=(-1, 2)) for name in ("a", "b")]
    size = 2 * DTYPES[datatype].itemsize
    tensors = [
        {"name": name, "shape": [1, 2], "datatype": datatype, "parameters": {"binary_data_size": size}}
        for name in ("b", "a")
    ]
    text = orjson.dumps({"inputs": tensors, "parameters": {"binary_data_output": True, "timeout": 5_000_000}})
    decoder = RequestDecoder(specs, [TensorSpec(name="y", datatype="FP32", shape=(-1,))])
    for values in ([0, 1, 1, 0], [1, 1, 0, 0], [0, 0, 0, 1]):
        raw = np.array(values, DTYPES[datatype]).tobytes()
        request = decoder.decode(text + raw, len(text))
        assert request.inputs["b"].tolist() == [values[:2]]
        assert request.inputs["a"].tolist() == [values[2:]]
        assert (request.rows, request.id, request.timeout_seconds) == (1, None, 5.0)
        assert request.outputs == (RequestedOutput(name="y", binary=True),)
        for wrong in (raw[:-1], raw + b"\0"):
            with pytest.raises(BadRequest) as again:
                decoder.decode(text + wrong, len(text))
            with pytest.raises(BadRequest) as at_first:
                RequestDecoder(specs, []).decode(text + wrong, len(text))
            assert str(again.value) == str(at_first.value)
    assert list(decoder._known) == [text]


def test_json_with_an_id_or_with_data_in_it_is_not_remembered() -> None:
    decoder = RequestDecoder([X], [])
    raw = np.zeros(2, np.float32).tobytes()
    tensor = {"name": "x", "shape": [1, 2], "datatype": "FP32"}
    named = {"id": "7", "inputs": [{**tensor, "parameters": {"binary_data_size": len(raw)}}]}
    for message, more in ((named, raw), ({"inputs": [{**tensor, "data": [1, 2]}]}, b"")):
        text = orjson.dumps(message)
        for _ in range(2):
            assert decoder.decode(text + more, len(text)).inputs["x"].shape == (1, 2)
    assert decoder._known == {}


def test_json_that_is_remembered_takes_a_bounded_amount_of_memory() -> None:
    decoder = RequestDecoder([TensorSpec(name="x", datatype="FP32", shape=(-1,))], [])
    for rows in range(1000):
        tensor = {"name": "x", "shape": [rows], "datatype": "FP32", "parameters": {"binary_data_size": 4 * rows}}
        text = orjson.dumps({"inputs": [tensor]})
        assert decoder.decode(text + bytes(4 * rows), len(text)).rows == rows
    assert len(decoder._known) <= 256
