"""The protocol's JSON, both ways."""

import json
import math
import re
from collections.abc import Sequence
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
    encode_error,
)

X = TensorSpec(name="x", datatype="FP32", shape=(-1, 2))
Y = TensorSpec(name="y", datatype="FP32", shape=(-1, 2))
Z = TensorSpec(name="z", datatype="INT64", shape=(-1,))


def decode_request(body: bytes, inputs: Sequence[TensorSpec], outputs: Sequence[TensorSpec]) -> InferRequest:
    return RequestDecoder(inputs, outputs).decode(body)


def encode_response(
    *, model_name: str, model_version: str, request_id: str | None, outputs: Sequence[tuple[TensorSpec, Array]]
) -> bytes:
    encoder = ResponseEncoder(model_name=model_name, model_version=model_version, outputs=[spec for spec, _ in outputs])
    wanted = tuple(RequestedOutput(name=spec.name) for spec, _ in outputs)
    asked = InferRequest(id=request_id, inputs={}, outputs=wanted, rows=1)
    return encoder.encode(asked, [array for _, array in outputs])[0]


def request(**changes: Any) -> dict[str, Any]:
    """Return a good request, or one with changes in its only input."""
    return {"inputs": [{"name": "x", "shape": [2, 2], "datatype": "FP32", "data": [1, 2, 3, 4], **changes}]}


def decode(message: Any, *inputs: TensorSpec) -> InferRequest:
    return decode_request(json.dumps(message).encode(), inputs or (X,), (Y, Z))


def one(datatype: str, data: list[Any], shape: list[int] | None = None) -> Array:
    """Decode one tensor of a datatype."""
    spec = TensorSpec(name="x", datatype=datatype, shape=(-1,) * len(shape or [0]))
    given = {"name": "x", "shape": shape or [len(data)], "datatype": datatype, "data": data}
    return decode({"inputs": [given]}, spec).inputs["x"]


def values(datatype: str) -> st.SearchStrategy[Any]:
    if datatype == "BYTES":
        return st.text(max_size=9)
    return hnp.from_dtype(DTYPES[datatype], allow_nan=False, allow_infinity=False).map(lambda value: value.item())


@given(st.data(), st.sampled_from(sorted(DTYPES)), hnp.array_shapes(max_dims=4, min_side=0, max_side=4))
def test_every_array_survives_the_way_there_and_back(data: Any, datatype: str, shape: tuple[int, ...]) -> None:
    count = math.prod(shape)
    array = np.array(data.draw(st.lists(values(datatype), min_size=count, max_size=count)), DTYPES[datatype])
    array = array.reshape(shape)
    spec = TensorSpec(name="x", datatype=datatype, shape=tuple(-1 for _ in shape))
    body = encode_response(model_name="m", model_version="", request_id=None, outputs=[(spec, array)])
    tensors = orjson.loads(body)["outputs"]
    back = decode_request(orjson.dumps({"inputs": tensors}), [spec], [])
    assert back.inputs["x"].dtype == DTYPES[datatype]
    assert back.inputs["x"].shape == shape
    assert back.inputs["x"].tolist() == array.tolist()


@given(hnp.arrays(np.float32, hnp.array_shapes(max_dims=4, max_side=4), elements=st.floats(-9, 9, width=32)))
def test_nested_data_says_the_same_as_flat_data(array: Array) -> None:
    spec = TensorSpec(name="x", datatype="FP32", shape=array.shape)
    tensor = {"name": "x", "shape": list(array.shape), "datatype": "FP32"}
    for data in (array.tolist(), array.ravel().tolist()):
        assert (decode({"inputs": [{**tensor, "data": data}]}, spec).inputs["x"] == array).all()


@given(
    st.binary()
    | st.recursive(st.none() | st.booleans() | st.integers() | st.floats() | st.text(), st.lists).map(
        lambda value: json.dumps(value).encode()
    )
)
def test_no_body_does_more_harm_than_a_bad_request(body: bytes) -> None:
    with pytest.raises(BadRequest):
        decode_request(body, (X,), (Y,))


@given(
    st.dictionaries(
        st.sampled_from(["name", "shape", "datatype", "data", "parameters"]),
        st.recursive(st.none() | st.booleans() | st.integers() | st.text(max_size=3), st.lists, max_leaves=6),
    )
)
def test_a_strange_tensor_is_decoded_or_refused(tensor: dict[str, Any]) -> None:
    try:
        decoded = decode({"inputs": [{"name": "x", "datatype": "FP32", **tensor}]})
    except BadRequest:
        return
    assert decoded.inputs["x"].shape == tuple(tensor["shape"])


@pytest.mark.parametrize(
    "message",
    [
        {"inputs": [{"name": "n" * 1_000_000}]},
        {"inputs": [{**request()["inputs"][0], "datatype": "n" * 1_000_000}]},
        {**request(), "outputs": [{"name": "\x01" * 1_000_000}]},
        {**request(), "parameters": {"k" * 1_000_000: None}},
        {**request(), "id": "i" * 1_000_000},
    ],
    ids=["input", "datatype", "output", "parameter", "id"],
)
def test_an_error_does_not_repeat_all_of_a_long_text(message: dict[str, Any]) -> None:
    with pytest.raises(BadRequest) as caught:
        decode(message)
    assert len(str(caught.value)) < 2000
    assert "1000000 characters" in str(caught.value)


def test_a_datatype_in_very_many_lists_is_a_datatype_like_any_other_wrong_one() -> None:
    body = json.dumps(request()).replace('"FP32"', "[" * 1000 + "]" * 1000).encode()
    with pytest.raises(BadRequest, match="has datatype a list; the model expects"):
        decode_request(body, (X,), (Y,))


def test_a_request_is_read_whole() -> None:
    decoded = decode({**request(), "id": "ü-7", "outputs": [{"name": "z"}, {"name": "y"}], "parameters": {"a": 1}})
    assert decoded.id == "ü-7"
    assert decoded.output_names == ("z", "y")
    assert decoded.rows == 2
    assert decoded.inputs["x"].tolist() == [[1, 2], [3, 4]]


@pytest.mark.parametrize("outputs", [None, []])
def test_without_wanted_outputs_all_are_wanted(outputs: Any) -> None:
    assert decode({**request(), "outputs": outputs}).output_names == ("y", "z")


def test_zero_rows_are_a_batch_too() -> None:
    assert decode(request(shape=[0, 2], data=[])).inputs["x"].shape == (0, 2)


@pytest.mark.parametrize("datatype", ["FP32", "FP16", "BYTES"])
def test_nothing_at_all_cannot_be_larger_than_memory(datatype: str) -> None:
    with pytest.raises(BadRequest, match=r"input 'x'.*too large"):
        one(datatype, [], [2**62, 2**62, 0])


def test_a_scalar_is_given_with_or_without_a_list() -> None:
    spec = TensorSpec(name="x", datatype="FP32", shape=())
    for data in (5, [5]):
        decoded = decode({"inputs": [{"name": "x", "shape": [], "datatype": "FP32", "data": data}]}, spec)
        assert decoded.inputs["x"].shape == ()
        assert decoded.rows == 1


@pytest.mark.parametrize(
    ("datatype", "given", "taken"),
    [
        ("BOOL", [True, 0, 1], [True, False, True]),
        ("UINT8", [0, 255], [0, 255]),
        ("INT8", [-128, 127.0], [-128, 127]),
        ("UINT64", [2**64 - 1], [2**64 - 1]),
        ("INT64", [-(2**63), 2**63 - 1], [-(2**63), 2**63 - 1]),
        ("FP64", [0.1, 1, -1e300], [0.1, 1.0, -1e300]),
        ("FP16", [0.5, 65504], [0.5, 65504.0]),
        ("BYTES", ["", "a\x00ü"], ["", "a\x00ü"]),
    ],
)
def test_values_that_fit_are_taken_as_they_are(datatype: str, given: list[Any], taken: list[Any]) -> None:
    assert one(datatype, given).tolist() == taken


@pytest.mark.parametrize(
    ("datatype", "data"),
    [
        ("BOOL", [2]),
        ("BOOL", [0.5]),
        ("BOOL", ["true"]),
        ("UINT8", [256]),
        ("UINT8", [-1]),
        ("INT8", [1.5]),
        ("INT64", [2**63]),
        ("INT64", [float(2**60)]),
        ("INT32", [True]),
        ("INT32", [None]),
        ("INT32", ["1"]),
        ("FP32", ["1.5"]),
        ("FP32", [True, 1.5]),
        ("FP32", [1e39]),
        ("FP16", [70000]),
        ("FP32", [None]),
        ("FP32", [{}]),
        ("BYTES", [1]),
        ("BYTES", ["a", None]),
    ],
)
def test_a_value_that_would_change_is_refused(datatype: str, data: list[Any]) -> None:
    with pytest.raises(BadRequest, match="input 'x'"):
        one(datatype, data)


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("", "the body is empty"),
        ("{", "the body is not JSON"),
        ("[]", "the body must be a JSON object, not a list"),
        ('{"inputs": [{"name": "x", "data": [NaN]}]}', "the body is not JSON"),
        ("{}", "'inputs' is missing"),
        ('{"inputs": {}}', "'inputs' must be a list, not an object"),
        ('{"inputs": [3]}', "inputs[0] must be an object"),
        ('{"inputs": [{}]}', "inputs[0] has no 'name'"),
        ('{"inputs": []}', "input 'x' is missing; the model needs 'x' (FP32 [-1, 2])"),
        ('{"inputs": [{"name": "w"}]}', "the model has no input 'w'; it has 'x' (FP32 [-1, 2])"),
        ('{"inputs": [], "id": 7}', "'id' must be a string, not an integer"),
        ('{"inputs": [], "parameters": []}', "'parameters' of the request must be an object"),
        ('{"inputs": [], "parameters": {"a": {}}}', "parameter 'a' of the request must be a string, number or boolean"),
    ],
)
def test_a_bad_body_is_told_where_it_is_bad(body: str, message: str) -> None:
    with pytest.raises(BadRequest, match=re.escape(message)):
        decode_request(body.encode(), (X,), (Y,))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"datatype": "FP64"}, "input 'x' has datatype 'FP64'; the model expects FP32 [-1, 2]"),
        ({"datatype": None}, "input 'x' has no datatype"),
        ({"shape": [2, 3]}, "input 'x' has shape [2, 3]; the model expects [-1, 2] (-1: any size)"),
        ({"shape": [4]}, "input 'x' has shape [4]; the model expects [-1, 2]"),
        ({"shape": [-1, 2]}, "'shape' must hold whole numbers from 0, not -1"),
        ({"shape": [True, 2]}, "'shape' must hold whole numbers from 0, not a boolean"),
        ({"shape": [1.0, 2]}, "'shape' must hold whole numbers from 0, not 1.0"),
        ({"shape": "2"}, "'shape' must be a list"),
        ({"shape": [1] * 33}, "'shape' must be a list of at most 32"),
        ({"shape": [10**18, 2]}, "'data' has 4 elements; shape [1000000000000000000, 2] needs 2000000000000000000"),
        ({"data": [1, 2, 3]}, "'data' has 3 elements; shape [2, 2] needs 4"),
        ({"data": [[1, 2], [3]]}, "'data' nests 1 elements at depth 1; shape [2, 2] says 2 elements"),
        ({"data": [[1, 2], 3]}, "'data' nests an integer at depth 1"),
        ({"data": [[1, 2]]}, "'data' has 1 rows; shape [2, 2] says 2"),
        ({"data": [[[1], [2]], [[3], [4]]]}, "must be numbers, but holds a list"),
        ({"data": 5}, "'data' must be an array, not an integer"),
        ({"parameters": {"binary_data_size": 16}}, "has both 'data' and 'binary_data_size'"),
    ],
)
def test_a_tensor_that_does_not_fit_is_told_why(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(BadRequest, match=re.escape(message)):
        decode(request(**changes))


@pytest.mark.parametrize(
    ("outputs", "message"),
    [
        ({}, "'outputs' must be a list"),
        ([{}], "outputs[0] has no 'name'"),
        (["y"], "outputs[0] has no 'name'"),
        ([{"name": "w"}], "the model has no output 'w'; it has 'y' (FP32 [-1, 2]), 'z' (INT64 [-1])"),
        ([{"name": "y"}, {"name": "y"}], "output 'y' is asked for twice"),
        (
            [{"name": "y", "parameters": {"classification": 0.5}}],
            "'classification' must be a whole number from 1, not 0.5",
        ),
    ],
)
def test_wanted_outputs_are_checked(outputs: Any, message: str) -> None:
    with pytest.raises(BadRequest, match=re.escape(message)):
        decode({**request(), "outputs": outputs})


def test_an_input_given_twice_is_refused() -> None:
    tensor = request()["inputs"][0]
    with pytest.raises(BadRequest, match="input 'x' is given twice"):
        decode({"inputs": [tensor, tensor]})


def test_an_answer_says_only_what_is_there() -> None:
    outputs = [(Z, np.array([3], np.int64))]
    tensor = {"name": "z", "datatype": "INT64", "shape": [1], "data": [3]}
    full = orjson.loads(encode_response(model_name="m", model_version="2", request_id="", outputs=outputs))
    assert full == {"model_name": "m", "model_version": "2", "id": "", "outputs": [tensor]}
    bare = orjson.loads(encode_response(model_name="m", model_version="", request_id=None, outputs=outputs))
    assert bare == {"model_name": "m", "outputs": [tensor]}


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_what_json_cannot_carry_is_not_turned_into_null(bad: float) -> None:
    with pytest.raises(UnencodableOutput, match="output 'y' holds NaN or an infinity"):
        encode_response(
            model_name="m", model_version="", request_id=None, outputs=[(Y, np.array([[1, bad]], np.float32))]
        )


def test_bytes_that_are_no_text_are_not_guessed() -> None:
    spec = TensorSpec(name="y", datatype="BYTES", shape=(-1,))
    with pytest.raises(UnencodableOutput, match="not UTF-8"):
        encode_response(
            model_name="m", model_version="", request_id=None, outputs=[(spec, np.array([b"\xff"], object))]
        )


def test_an_error_is_json_whatever_it_says() -> None:
    assert orjson.loads(encode_error('a "b" \ud800'))["error"] == 'a "b" ?'
