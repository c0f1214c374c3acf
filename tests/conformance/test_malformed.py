"""Requests that nobody should send: each is refused with a reason, and the server serves on."""

import json
from typing import Any

import pytest
from tests.conformance.exchange import Target

X: dict[str, Any] = {"name": "x", "shape": [1, 2], "datatype": "FP32", "data": [1, 2]}
GOOD = json.dumps({"inputs": [X]}).encode()


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b" ",
        b"\0",
        b"x",
        b"{",
        b"}",
        b'{"inputs":',
        b'{"inputs":[}',
        b"{'inputs':[]}",
        GOOD[:-1],
        GOOD + b"x",
        GOOD + GOOD,
        b"\xef\xbb\xbf" + GOOD,
        GOOD.decode().encode("utf-16"),
        b'{"inputs":"\xff"}',
        b"<xml/>",
        b"inputs=1",
        b"[" * 100_000,
        b'{"a":' * 100_000,
        b"[" * 2000 + b"]" * 2000,
        b"// comment\n" + GOOD,
        GOOD.replace(b"]}", b",]}", 1),
        b"\x1f\x8b" + GOOD,
    ],
    ids=lambda body: ascii(body[:24])[2:-1] + (f"… of {len(body)} bytes" if len(body) > 24 else ""),
)
def test_a_body_that_is_no_json_is_refused(fp32: Target, body: bytes) -> None:
    fp32.infer(body).error(400)


@pytest.mark.parametrize("body", ["null", "[]", "1", '"inputs"', "true", "{}", '{"input":[]}', '{"INPUTS":[]}'])
def test_json_that_is_no_request_is_refused(fp32: Target, body: str) -> None:
    fp32.infer(body.encode()).error(400)


@pytest.mark.parametrize("inputs", [None, {}, "x", 1, True, [None], [1], ["x"], [[]], [[X]]], ids=str)
def test_inputs_that_are_no_list_of_objects_are_refused(fp32: Target, inputs: Any) -> None:
    assert "inputs" in fp32.infer({"inputs": inputs}).error(400)


@pytest.mark.parametrize("field", ["name", "shape", "datatype", "data"])
def test_an_input_without_a_required_field_is_refused(fp32: Target, field: str) -> None:
    tensor = {name: value for name, value in X.items() if name != field}
    assert field in fp32.infer({"inputs": [tensor]}).error(400)


@pytest.mark.parametrize("value", [None, 1, True, [], {}, ""], ids=str)
@pytest.mark.parametrize("field", ["name", "datatype"])
def test_a_field_that_should_be_a_word_and_is_not_is_refused(fp32: Target, field: str, value: Any) -> None:
    fp32.infer({"inputs": [{**X, field: value}]}).error(400)


@pytest.mark.parametrize("datatype", ["fp32", "float", "FLOAT32", "FP8", "BF16", "TYPE_FP32", "FP32 "])
def test_a_datatype_that_is_none_of_the_protocols_is_refused(fp32: Target, datatype: str) -> None:
    fp32.infer({"inputs": [{**X, "datatype": datatype}]}).error(400)


@pytest.mark.parametrize("data", [None, 1, "12", {}, True, [[1], 2], ["1", "2"], [True, "x"], [[[]]]], ids=str)
def test_data_that_is_no_array_of_numbers_is_refused(fp32: Target, data: Any) -> None:
    fp32.infer({"inputs": [{**X, "data": data}]}).error(400)


def test_data_nested_deeper_than_anything_is_refused(fp32: Target) -> None:
    body = GOOD.replace(b"[1, 2]}", b"[" * 900 + b"1" + b"]" * 900 + b"}")
    fp32.infer(body).error(400)


@pytest.mark.parametrize("count", [100, 10_000])
def test_more_tensors_than_the_model_has_are_refused(fp32: Target, count: int) -> None:
    fp32.infer({"inputs": [{**X, "name": f"x{number}"} for number in range(count)]}).error(400)


def test_a_number_of_a_million_digits_is_refused(fp32: Target) -> None:
    fp32.infer(GOOD.replace(b"[1, 2]}", b"[" + b"9" * 1_000_000 + b", 2]}")).error(400)


def test_a_key_given_twice_does_not_confuse_the_server(fp32: Target) -> None:
    body = GOOD[:-1] + b', "inputs": []}'
    reply = fp32.infer(body)
    if reply.status != 200:
        reply.error(400)


def test_after_all_that_the_server_serves_on(fp32: Target) -> None:
    assert fp32.infer(GOOD).answer()["outputs"][0]["data"] == [1.0, 2.0]
