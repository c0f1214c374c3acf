"""The binary tensor data extension: both directions, mixed, raw, and every way to get it wrong."""

import struct
from collections.abc import Callable
from typing import Any

import pytest
from tests.conformance.exchange import HEADER_LENGTH, Target
from tests.conformance.values import DATATYPES

Served = Callable[[str], Target]
DATATYPE = pytest.mark.parametrize("datatype", DATATYPES)
PAIR = struct.pack("<2f", 1.5, -2.0)


def tensor(datatype: str, shape: list[int], size: Any, name: str = "x", **more: Any) -> dict[str, Any]:
    return {"name": name, "shape": shape, "datatype": datatype, "parameters": {"binary_data_size": size}, **more}


def identity(served: Served, datatype: str) -> Target:
    return served(f"identity_{datatype.lower()}")


@DATATYPE
def test_binary_in_and_binary_out(served: Served, datatype: str) -> None:
    data = DATATYPES[datatype].encode(DATATYPES[datatype].values)
    message = {"inputs": [tensor(datatype, [2, 2], len(data))], "parameters": {"binary_data_output": True}}
    answer, found = identity(served, datatype).infer_binary(message, data).tensors()
    assert found == {"y": data}
    [output] = answer["outputs"]
    assert (output["datatype"], output["shape"]) == (datatype, [2, 2])


@DATATYPE
def test_binary_in_and_json_out(served: Served, datatype: str) -> None:
    wanted = DATATYPES[datatype]
    data = wanted.encode(wanted.values)
    reply = identity(served, datatype).infer_binary({"inputs": [tensor(datatype, [2, 2], len(data))]}, data)
    if datatype == "FP16" and reply.status == 400:
        assert "binary" in reply.error(400)
        return
    assert HEADER_LENGTH.lower() not in reply.headers
    assert reply.answer()["outputs"][0]["data"] == list(wanted.values)


@DATATYPE
def test_json_in_and_binary_out_by_the_output(served: Served, datatype: str) -> None:
    wanted = DATATYPES[datatype]
    message = {
        "inputs": [{"name": "x", "shape": [2, 2], "datatype": datatype, "data": list(wanted.values)}],
        "outputs": [{"name": "y", "parameters": {"binary_data": True}}],
    }
    reply = identity(served, datatype).infer(message)
    if datatype == "FP16" and reply.status == 400:
        assert "binary" in reply.error(400)
        return
    assert reply.tensors()[1] == {"y": wanted.encode(wanted.values)}


@DATATYPE
def test_no_rows_in_binary(served: Served, datatype: str) -> None:
    message = {"inputs": [tensor(datatype, [0, 2], 0)], "parameters": {"binary_data_output": True}}
    answer, found = identity(served, datatype).infer_binary(message, b"").tensors()
    assert (answer["outputs"][0]["shape"], found) == ([0, 2], {"y": b""})


@DATATYPE
def test_a_raw_request_is_the_tensor_alone(served: Served, datatype: str) -> None:
    if datatype == "BYTES":
        # One element, which is the body itself; the answer has its length before it.
        answer, found = served("text").infer_raw(b"one element").tensors()
        assert (answer["outputs"][0]["shape"], found) == ([1], {"y": struct.pack("<I", 11) + b"one element"})
        return
    wanted = DATATYPES[datatype]
    data = wanted.encode(wanted.values[:2])
    answer, found = identity(served, datatype).infer_raw(data).tensors()
    assert (answer["outputs"][0]["shape"], found) == ([1, 2], {"y": data})


@DATATYPE
@pytest.mark.parametrize("change", ["one byte less", "one byte more"])
def test_a_size_that_does_not_fit_the_shape_is_refused(served: Served, datatype: str, change: str) -> None:
    data = DATATYPES[datatype].encode(DATATYPES[datatype].values)
    data = data[:-1] if change == "one byte less" else data + b"\0"
    message = {"inputs": [tensor(datatype, [2, 2], len(data))]}
    identity(served, datatype).infer_binary(message, data).error(400)


@DATATYPE
def test_bytes_after_the_last_tensor_are_refused(served: Served, datatype: str) -> None:
    data = DATATYPES[datatype].encode(DATATYPES[datatype].values)
    message = {"inputs": [tensor(datatype, [2, 2], len(data))]}
    identity(served, datatype).infer_binary(message, data, b"more").error(400)


@DATATYPE
def test_raw_data_of_a_wrong_size_is_refused(served: Served, datatype: str) -> None:
    if datatype == "BYTES":
        # Two elements for each row: a raw request can only say one.
        identity(served, datatype).infer_raw(b"one element").error(400)
        return
    data = DATATYPES[datatype].encode(DATATYPES[datatype].values[:3])
    identity(served, datatype).infer_raw(data).error(400)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf"), -0.0])
@pytest.mark.parametrize("datatype", ["FP16", "FP32", "FP64"])
def test_what_json_cannot_say_passes_in_binary_unchanged(served: Served, datatype: str, value: float) -> None:
    data = struct.pack(f"<2{DATATYPES[datatype].code}", value, 1.0)
    message = {"inputs": [tensor(datatype, [1, 2], len(data))], "parameters": {"binary_data_output": True}}
    assert identity(served, datatype).infer_binary(message, data).tensors()[1] == {"y": data}


@pytest.mark.parametrize("text", [b"\xff\xfe", b"\x80", b"ok\x00\xc3"], ids=ascii)
def test_bytes_that_are_no_text_are_never_changed(served: Served, text: bytes) -> None:
    data = struct.pack("<I", len(text)) + text
    message = {"inputs": [tensor("BYTES", [1], len(data))], "parameters": {"binary_data_output": True}}
    reply = served("text").infer_binary(message, data)
    if reply.status == 400:
        assert "UTF-8" in reply.error(400)  # ONNX says that strings are text, and ONNX Runtime holds it to that
    else:
        assert reply.tensors()[1] == {"y": data}


def test_bytes_that_are_no_text_are_no_json_either(served: Served) -> None:
    data = struct.pack("<I", 2) + b"\xff\xfe"
    served("text").infer_binary({"inputs": [tensor("BYTES", [1], len(data))]}, data).error(400, 500)


def test_an_infinity_in_binary_is_not_changed_on_its_way_into_json(fp32: Target) -> None:
    data = struct.pack("<2f", float("inf"), 1.0)
    reply = fp32.infer_binary({"inputs": [tensor("FP32", [1, 2], len(data))]}, data)
    if reply.status == 200:
        assert reply.json()["outputs"][0]["data"][0] == float("inf")
    else:
        reply.error(400, 500)


@pytest.mark.parametrize("parameters", [{"binary_data": False}, {}], ids=["overridden", "not overridden"])
def test_an_outputs_own_wish_goes_before_that_of_the_request(fp32: Target, parameters: dict[str, bool]) -> None:
    message = {
        "inputs": [tensor("FP32", [1, 2], 8)],
        "parameters": {"binary_data_output": True},
        "outputs": [{"name": "y", "parameters": parameters}],
    }
    reply = fp32.infer_binary(message, PAIR)
    if parameters:
        assert reply.answer()["outputs"][0]["data"] == [1.5, -2.0]
    else:
        assert reply.tensors()[1] == {"y": PAIR}


def test_json_and_binary_inputs_may_be_mixed(served: Served) -> None:
    message = {
        "inputs": [
            {"name": "a", "shape": [1, 2], "datatype": "FP32", "data": [1, 2]},
            tensor("FP32", [1, 2], 8, name="b"),
        ]
    }
    found = {
        one["name"]: one["data"] for one in served("sum_and_difference").infer_binary(message, PAIR).answer()["outputs"]
    }
    assert found == {"sum": [2.5, 0.0], "difference": [-0.5, 4.0]}


def test_json_and_binary_outputs_may_be_mixed(served: Served) -> None:
    message = {
        "inputs": [tensor("FP32", [1, 2], 8, name="a"), tensor("FP32", [1, 2], 8, name="b")],
        "outputs": [{"name": "difference", "parameters": {"binary_data": True}}, {"name": "sum"}],
    }
    answer, found = served("sum_and_difference").infer_binary(message, PAIR, PAIR).tensors()
    assert found == {"difference": struct.pack("<2f", 0, 0)}
    assert answer["outputs"][1]["data"] == [3.0, -4.0]


@pytest.mark.parametrize("first", ["a", "b"])
def test_binary_inputs_follow_in_the_order_of_the_request(served: Served, first: str) -> None:
    second = "b" if first == "a" else "a"
    message = {"inputs": [tensor("FP32", [1, 2], 8, name=first), tensor("FP32", [1, 2], 8, name=second)]}
    one, two = struct.pack("<2f", 1, 2), struct.pack("<2f", 10, 20)
    found = {
        x["name"]: x["data"] for x in served("sum_and_difference").infer_binary(message, one, two).answer()["outputs"]
    }
    assert found["difference"] == ([-9.0, -18.0] if first == "a" else [9.0, 18.0])


def test_binary_outputs_follow_in_the_order_of_the_request(served: Served) -> None:
    message = {
        "inputs": [tensor("FP32", [1, 2], 8, name="a"), tensor("FP32", [1, 2], 8, name="b")],
        "parameters": {"binary_data_output": True},
        "outputs": [{"name": "difference"}, {"name": "sum"}],
    }
    answer, found = served("sum_and_difference").infer_binary(message, PAIR, PAIR).tensors()
    assert [one["name"] for one in answer["outputs"]] == ["difference", "sum"]
    assert found == {"difference": struct.pack("<2f", 0, 0), "sum": struct.pack("<2f", 3, -4)}


def test_an_id_and_the_models_name_are_in_a_binary_answer(fp32: Target) -> None:
    message = {"id": "42", "inputs": [tensor("FP32", [1, 2], 8)], "parameters": {"binary_data_output": True}}
    answer, _ = fp32.infer_binary(message, PAIR).tensors()
    assert (answer["id"], answer["model_name"], answer["model_version"]) == ("42", fp32.model, fp32.version)


def test_the_header_is_of_no_harm_where_nothing_is_binary(fp32: Target) -> None:
    message = {"inputs": [{"name": "x", "shape": [1, 2], "datatype": "FP32", "data": [1, 2]}]}
    assert fp32.infer_binary(message).answer()["outputs"][0]["data"] == [1.0, 2.0]


def test_a_large_tensor_passes_in_binary(served: Served) -> None:
    data = bytes(range(256)) * (2 * 8 * 1024)
    message = {"inputs": [tensor("UINT8", [len(data) // 2, 2], len(data))], "parameters": {"binary_data_output": True}}
    assert served("identity_uint8").infer_binary(message, data).tensors()[1] == {"y": data}


@pytest.mark.parametrize("length", [-1, 10_000, "x", "", "1.5", " ", "0x10", "9" * 30, "\uff11"], ids=ascii)
def test_a_header_length_that_cannot_be_is_refused(fp32: Target, length: int | str) -> None:
    message = {"inputs": [tensor("FP32", [1, 2], 8)]}
    head = str(length).encode("utf-8").decode("latin-1")
    fp32.infer_binary(message, PAIR, length=head).error(400)


@pytest.mark.parametrize("length", [1, 40])
def test_a_header_length_that_cuts_the_json_is_refused(fp32: Target, length: int) -> None:
    fp32.infer_binary({"inputs": [tensor("FP32", [1, 2], 8)]}, PAIR, length=length).error(400)


@pytest.mark.parametrize("size", [-1, 0, 4, 7, 9, 16, 2**40, 2**70, 8.5, "8", None, True, [8], {}], ids=str)
def test_a_binary_size_that_cannot_be_is_refused(fp32: Target, size: Any) -> None:
    fp32.infer_binary({"inputs": [tensor("FP32", [1, 2], size)]}, PAIR).error(400)


def test_data_and_binary_data_for_one_tensor_are_refused(fp32: Target) -> None:
    fp32.infer_binary({"inputs": [tensor("FP32", [1, 2], 8, data=[1, 2])]}, PAIR).error(400)


def test_a_binary_tensor_without_the_header_is_refused(fp32: Target) -> None:
    fp32.infer({"inputs": [tensor("FP32", [1, 2], 8)]}).error(400)


def test_a_body_of_octets_without_the_header_is_refused(fp32: Target) -> None:
    fp32.infer(PAIR, headers={"Content-Type": "application/octet-stream"}).error(400)


def test_tensors_that_did_not_all_arrive_are_refused(served: Served) -> None:
    message = {"inputs": [tensor("FP32", [1, 2], 8, name="a"), tensor("FP32", [1, 2], 8, name="b")]}
    served("sum_and_difference").infer_binary(message, PAIR).error(400)


@pytest.mark.parametrize("byte", [2, 255])
def test_a_boolean_byte_is_one_or_nought(served: Served, byte: int) -> None:
    served("identity_bool").infer_binary({"inputs": [tensor("BOOL", [1, 2], 2)]}, bytes([byte, 1])).error(400)


@pytest.mark.parametrize(
    "data",
    [
        struct.pack("<I", 5) + b"four",
        struct.pack("<I", 2**32 - 1) + b"four",
        struct.pack("<I", 3) + b"four",
        struct.pack("<I", 4) + b"four" + struct.pack("<I", 0),
        b"abc",
        b"",
    ],
    ids=["longer than it is", "4 GB that are not there", "shorter than it is", "two for one", "half a length", "none"],
)
def test_bytes_elements_whose_lengths_lie_are_refused(served: Served, data: bytes) -> None:
    served("text").infer_binary({"inputs": [tensor("BYTES", [1], len(data))]}, data).error(400)


@pytest.mark.parametrize("elements", [10**9, 2**62])
def test_more_elements_than_the_body_can_hold_are_refused(served: Served, elements: int) -> None:
    data = struct.pack("<I", 4) + b"four"
    served("text").infer_binary({"inputs": [tensor("BYTES", [elements], len(data))]}, data).error(400)


def test_a_raw_request_to_a_model_with_two_inputs_is_refused(served: Served) -> None:
    served("sum_and_difference").infer_raw(PAIR).error(400)


def test_a_raw_request_fills_a_fixed_shape(served: Served) -> None:
    data = struct.pack("<6f", 1, 2, 3, 4, 5, 6)
    answer, found = served("fixed").infer_raw(data).tensors()
    assert (answer["outputs"][0]["shape"], found) == ([2, 3], {"y": data})


@pytest.mark.parametrize("value", ["yes", 1, None, []], ids=str)
@pytest.mark.parametrize("where", ["binary_data", "binary_data_output"])
def test_a_wish_for_binary_data_is_true_or_false(fp32: Target, where: str, value: Any) -> None:
    message: dict[str, Any] = {"inputs": [{"name": "x", "shape": [1, 2], "datatype": "FP32", "data": [1, 2]}]}
    if where == "binary_data":
        message["outputs"] = [{"name": "y", "parameters": {where: value}}]
    else:
        message["parameters"] = {where: value}
    fp32.infer(message).error(400)
