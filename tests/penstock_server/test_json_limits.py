"""Structure that costs more than it says is refused before it is parsed."""

import time

import orjson
import pytest

from penstock_server.protocol import BadRequest, RequestDecoder, TensorSpec
from penstock_server.protocol.json_limits import check_structure

MILLION = 1_000_000


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"[" + b"{}," * MILLION + b"{}]", "more than 100000 objects"),
        (b"[" + b"[]," * MILLION + b"[]]", "more than 1000000 lists; send 'data' flat, or as binary data"),
        (b"{" + b",".join(b'"%d":0' % number for number in range(300_000)) + b"}", "more than 200000 named values"),
        (b"[" + b'"ab",' * 2 * MILLION + b'"ab"]', "more than 1000000 texts; send 'data' as binary data"),
        (b"[" + b"7," * 5 * MILLION + b"7]", "more than 4000000 values; send 'data' as binary data"),
    ],
    ids=["objects", "lists", "members", "texts", "values"],
)
def test_more_structure_than_a_request_can_need_is_refused(body: bytes, message: str) -> None:
    started = time.process_time()
    with pytest.raises(BadRequest, match=message):
        RequestDecoder((), ()).decode(body)
    assert time.process_time() - started < 1


def test_texts_may_hold_as_many_brackets_and_colons_as_they_like() -> None:
    texts = ['{"a": [1, {"b": "\\"[{:"}]}'] * 110_000
    body = orjson.dumps({"inputs": [{"name": "x", "shape": [110_000], "datatype": "BYTES", "data": texts}]})
    spec = TensorSpec(name="x", datatype="BYTES", shape=(-1,))
    assert RequestDecoder((spec,), (spec,)).decode(body).inputs["x"].tolist() == texts


def test_rows_of_nested_data_are_no_excess() -> None:
    check_structure(b"[" + b"[1,2]," * 900_000 + b"[1,2]]")


def test_a_text_without_its_end_is_not_searched_twice() -> None:
    started = time.process_time()
    with pytest.raises(BadRequest):
        check_structure(b"{" * 200_000 + b'"' + b"\\\\" * MILLION)
    assert time.process_time() - started < 1
