"""Messages of very many small fields are refused before protobuf makes an object of each."""

import pytest

from penstock_server.grpc_service.message_limits import FIELDS_MAX, SMALL_BYTES_MAX
from penstock_server.grpc_service.messages import ModelInferRequest
from penstock_server.grpc_service.parsing import parse_request
from penstock_server.grpc_service.status import Refused

MANY = 4 * FIELDS_MAX


def field(number: int, content: bytes) -> bytes:
    size, prefix = len(content), bytearray([number << 3 | 2])
    while size > 127:
        prefix.append(size & 127 | 128)
        size >>= 7
    return bytes([*prefix, size]) + content


@pytest.mark.parametrize(
    ("message", "says"),
    [
        (field(5, b"") * MANY, "more than 100000 fields"),
        (field(6, b"") * MANY, "more than 100000 fields"),
        (field(7, b"") * MANY, "more than 100000 fields"),
        (field(4, b"") * MANY, "more than 100000 fields"),
        (field(5, field(4, b"") * MANY), "more than 100000 fields"),
        (field(5, field(5, field(8, b"") * MANY)), "more than 100000 fields"),
        (field(5, field(5, b"\x08\x01" * MANY)), "more than 100000 fields"),
        (b"\xa3\x06\xa4\x06" + field(5, b"") * MANY, "damaged, or that no client writes"),
        (field(5, b"\x2a\xff\xff\xff\x7f" + bytes(SMALL_BYTES_MAX)), "damaged, or that no client writes"),
        (field(5, b"\xff" * SMALL_BYTES_MAX), "damaged, or that no client writes"),
    ],
    ids=["inputs", "outputs", "raw", "parameters", "of one input", "texts", "numbers", "a group", "a lie", "no number"],
)
def test_a_message_of_very_many_fields_is_refused(message: bytes, says: str) -> None:
    with pytest.raises(Refused, match=says):
        parse_request(message)


def test_large_tensors_in_any_form_are_no_such_message() -> None:
    asked = ModelInferRequest(model_name="m")
    packed = asked.inputs.add(name="a", datatype="FP32", shape=[1_000_000])
    packed.contents.fp32_contents.extend([0.5] * 1_000_000)
    texts = asked.inputs.add(name="b", datatype="BYTES", shape=[50_000])
    texts.contents.bytes_contents.extend([b"a text of some length"] * 50_000)
    asked.inputs[0].parameters["k"].double_param = 0.5
    parsed, raw = parse_request(asked.SerializeToString())
    assert (parsed, list(raw)) == (asked, [])


def test_a_small_tensor_does_not_keep_the_large_message_that_it_came_in() -> None:
    asked = ModelInferRequest(model_name="m", raw_input_contents=[b"1234"], id="i" * 1_000_000)
    _, (raw,) = parse_request(asked.SerializeToString())
    assert bytes(raw) == b"1234"
    assert len(getattr(raw, "obj", raw)) == 4
