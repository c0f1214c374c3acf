import json
import struct

import numpy as np
import pytest
from benchmarks.serving import wire
from benchmarks.serving.wire import WrongAnswer, check

ROWS = np.array([[1.5, -2.25], [0.1, 3.0]], dtype=np.float32)
EXPECTED = {"y": [0.25, 0.75]}


def body_of(request: bytes) -> bytes:
    head, _, body = request.partition(b"\r\n\r\n")
    assert f"Content-Length: {len(body)}".encode() in head.split(b"\r\n")
    return body


def test_json_holds_the_rows_flat_with_the_digits_that_give_the_same_floats_back() -> None:
    (tensor,) = json.loads(body_of(wire.V2_JSON.ask("x", ROWS)))["inputs"]
    assert (tensor["name"], tensor["shape"], tensor["datatype"]) == ("x", [2, 2], "FP32")
    assert np.array_equal(np.array(tensor["data"], dtype=np.float32), ROWS.ravel())
    assert tensor["data"][2] == 0.1


def test_a_binary_request_says_how_long_its_json_is_and_appends_the_bytes() -> None:
    request = wire.V2_BINARY.ask("x", ROWS)
    head = request.partition(b"\r\n\r\n")[0].decode()
    length = int(head.split("Inference-Header-Content-Length: ")[1].split("\r\n")[0])
    body = body_of(request)
    assert json.loads(body[:length])["inputs"][0]["parameters"] == {"binary_data_size": 16}
    assert body[length:] == ROWS.tobytes()


def test_a_binary_answer_is_read_past_its_json() -> None:
    head = {"outputs": [{"name": "y", "shape": [2], "datatype": "FP32", "parameters": {"binary_data_size": 8}}]}
    check(wire.V2_BINARY, json.dumps(head).encode() + struct.pack("<2f", 0.25, 0.75), EXPECTED)


def test_an_answer_with_the_expected_numbers_passes_nested_or_flat() -> None:
    for data in ([0.25, 0.7500001], [[0.25], [0.75]]):
        check(wire.V2_JSON, json.dumps({"outputs": [{"name": "y", "data": data}]}).encode(), EXPECTED)
    check(wire.LITSERVE, json.dumps({"y": [[0.25], [0.75]]}).encode(), EXPECTED)


@pytest.mark.parametrize(
    "outputs",
    [
        [{"name": "y", "data": [0.25, 0.76]}],
        [{"name": "y", "data": [0.25]}],
        [{"name": "z", "data": [0.25, 0.75]}],
        [],
        [{"name": "y"}],
    ],
    ids=["another number", "too few", "another name", "no output", "no data"],
)
def test_any_other_answer_is_wrong(outputs: list[dict[str, object]]) -> None:
    with pytest.raises(WrongAnswer):
        check(wire.V2_JSON, json.dumps({"outputs": outputs}).encode(), EXPECTED)


def test_what_is_no_json_at_all_is_wrong() -> None:
    with pytest.raises(WrongAnswer, match="not an answer in json"):
        check(wire.V2_JSON, b"<html>", EXPECTED)
