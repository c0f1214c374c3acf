"""Header blocks: the examples of RFC 7541, and what another implementation writes and reads."""

import pytest
from hpack import Decoder, Encoder, HPACKError
from hypothesis import example, given
from hypothesis import strategies as st

from penstock_server.grpc_service.http2.frames import Code, ConnectionBroken
from penstock_server.grpc_service.http2.headers import HeaderDecoder, encode

NAMES = st.sampled_from([b":path", b"te", b"grpc-timeout", b"x-a", b"content-type"])
TEXT = st.binary(max_size=40)
LIST = st.lists(st.tuples(NAMES, TEXT), max_size=8)
FIRST = [(b":method", b"GET"), (b":scheme", b"http"), (b":path", b"/"), (b":authority", b"www.example.com")]


def test_the_examples_of_the_standard_without_huffman() -> None:
    decoder = HeaderDecoder()  # C.3
    first = bytes.fromhex("828684410f7777772e6578616d706c652e636f6d")
    assert list(decoder.decode(first)) == FIRST
    second = bytes.fromhex("828684be58086e6f2d6361636865")
    assert list(decoder.decode(second)) == [*FIRST, (b"cache-control", b"no-cache")]
    third = bytes.fromhex("828785bf400a637573746f6d2d6b65790c637573746f6d2d76616c7565")
    assert decoder.decode(third)[-1] == (b"custom-key", b"custom-value")


def test_the_examples_of_the_standard_with_huffman() -> None:
    decoder = HeaderDecoder()  # C.4
    assert list(decoder.decode(bytes.fromhex("828684418cf1e3c2e5f23a6ba0ab90f4ff"))) == FIRST
    second = decoder.decode(bytes.fromhex("828684be5886a8eb10649cbf"))
    assert second[-1] == (b"cache-control", b"no-cache")


@given(st.lists(LIST, max_size=6), st.booleans())
def test_what_another_implementation_writes_is_read(blocks: list[list[tuple[bytes, bytes]]], huffman: bool) -> None:  # noqa: FBT001
    encoder, decoder = Encoder(), HeaderDecoder()
    for headers in blocks:
        block = encoder.encode(headers, huffman=huffman)
        for _ in range(2 if not any(octet & 0xC0 == 0x40 for octet in block) else 1):
            assert list(decoder.decode(block)) == headers


@given(LIST)
def test_what_is_written_is_read_by_another_implementation(headers: list[tuple[bytes, bytes]]) -> None:
    assert list(Decoder().decode(encode(headers), raw=True)) == headers


@given(st.lists(st.binary(max_size=60), max_size=4))
@example([b"\x3f\xff\xff\xff\xff\xff\xff\xff\xff\x0f"])
@example([b"\x40\x01a"])
def test_any_bytes_are_headers_or_refused_as_by_another_implementation(blocks: list[bytes]) -> None:
    ours, theirs = HeaderDecoder(), Decoder()
    for block in blocks:
        try:
            expected = list(theirs.decode(block, raw=True))
        except (HPACKError, IndexError):
            with pytest.raises(ConnectionBroken):
                ours.decode(block)
            return
        try:
            found = list(ours.decode(block))
        except ConnectionBroken:
            return  # we are stricter: integers have a bound
        assert found == expected


def test_a_block_is_looked_up_only_while_the_table_is_as_it_was() -> None:
    decoder, indexed = HeaderDecoder(), b"\xbe"  # the newest entry
    decoder.decode(b"\x40\x01a\x011")
    assert decoder.decode(indexed) == decoder.decode(indexed) == ((b"a", b"1"),)
    decoder.decode(b"\x40\x01a\x012")
    assert decoder.decode(indexed) == ((b"a", b"2"),)


@pytest.mark.parametrize(
    ("block", "code"),
    [
        ("ff00", Code.COMPRESSION_ERROR),  # an entry that is not there
        ("80", Code.COMPRESSION_ERROR),  # entry 0
        ("3fe21f", Code.COMPRESSION_ERROR),  # a table larger than offered
        ("8220", Code.COMPRESSION_ERROR),  # a new size after a header
        ("0005616263", Code.COMPRESSION_ERROR),  # ends within a name
        ("00", Code.COMPRESSION_ERROR),
        ("ffffffffffff7f", Code.COMPRESSION_ERROR),  # an integer without an end
        ("0081ff00", Code.COMPRESSION_ERROR),  # not Huffman
    ],
)
def test_damaged_blocks_break_the_connection(block: str, code: Code) -> None:
    with pytest.raises(ConnectionBroken) as caught:
        HeaderDecoder().decode(bytes.fromhex(block))
    assert caught.value.code is code


def test_a_small_block_cannot_grow_into_many_headers() -> None:
    decoder = HeaderDecoder()
    decoder.decode(b"\x40\x01a\x7f\xa1\x1e" + b"v" * 4000)  # one entry of nearly the whole table
    with pytest.raises(ConnectionBroken) as caught:
        decoder.decode(b"\xbe" * 100)
    assert caught.value.code is Code.ENHANCE_YOUR_CALM
