"""Large requests are taken apart by hand; what comes out is what protobuf finds in them."""

import pytest
from google.protobuf.message import DecodeError
from hypothesis import given
from hypothesis import strategies as st

from penstock_server.grpc_service.messages import ModelInferRequest
from penstock_server.grpc_service.parsing import parse_request
from penstock_server.grpc_service.status import Refused

FILL = b"\0" * (1 << 14)  # makes it large
TENSOR = st.binary(max_size=40)


@given(st.text(max_size=5), st.lists(TENSOR, max_size=4), st.permutations([0, 1, 2]))
def test_raw_tensors_are_found_in_any_order_of_the_fields(name: str, raw: list[bytes], order: list[int]) -> None:
    tensors = [*raw, FILL]
    parts = [
        ModelInferRequest(model_name=name, id="1").SerializeToString(),
        ModelInferRequest(raw_input_contents=tensors).SerializeToString(),
        ModelInferRequest(inputs=[{"name": "x", "shape": [1, 2]}]).SerializeToString(),
    ]
    body = b"".join(parts[one] for one in order)
    message, found = parse_request(body)
    assert [bytes(one) for one in found] == tensors
    assert not message.raw_input_contents
    message.raw_input_contents.extend(tensors)
    assert message == ModelInferRequest.FromString(body)


@given(st.binary(max_size=60), st.booleans())
def test_any_bytes_are_understood_as_protobuf_understands_them(junk: bytes, first: bool) -> None:  # noqa: FBT001
    large = ModelInferRequest(model_name="m", raw_input_contents=[FILL]).SerializeToString()
    body = junk + large if first else large + junk
    try:
        expected = ModelInferRequest.FromString(body)
    except DecodeError:
        with pytest.raises(Refused, match="the message is not a ModelInferRequest"):
            parse_request(body)
        return
    message, found = parse_request(body)
    assert [bytes(one) for one in found] == list(expected.raw_input_contents)
    assert message.model_name == expected.model_name
    assert message.inputs == expected.inputs


@pytest.mark.parametrize(
    "body", [b"\xff" * 20_000, b"\x3a\xff\xff\xff\xff\x0f" + FILL, b"\x3a" + FILL[:1] + b"\x80" * 20_000]
)
def test_damaged_large_requests_are_refused(body: bytes) -> None:
    with pytest.raises(Refused, match="the message is not a ModelInferRequest"):
        parse_request(body)
