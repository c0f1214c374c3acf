"""The walker sees what protobuf sees, and says so where there is nothing to see."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock_server.fetch.wire import Malformed, fields


def varint(value: int) -> bytes:
    out = bytearray()
    while value >= 0x80:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*out, value])


def spans(buffer: bytes) -> list[tuple[int, bytes]]:
    return [
        (field.number, buffer[field.start : field.end])
        for field in fields(buffer, 0, len(buffer))
        if field.value is None
    ]


ENTRIES = st.one_of(
    st.tuples(st.just(0), st.integers(1, 2**29 - 1), st.integers(0, 2**64 - 1)),
    st.tuples(st.just(2), st.integers(1, 2**29 - 1), st.binary(max_size=300)),
    st.tuples(st.just(1), st.integers(1, 40), st.binary(min_size=8, max_size=8)),
    st.tuples(st.just(5), st.integers(1, 40), st.binary(min_size=4, max_size=4)),
)


@given(st.lists(ENTRIES))
def test_every_span_is_found_among_any_numbers(entries: list[tuple[int, int, int | bytes]]) -> None:
    message = bytearray()
    for kind, number, value in entries:
        message += varint(number << 3 | kind)
        if isinstance(value, int):
            message += varint(value)
        else:
            message += (varint(len(value)) if kind == 2 else b"") + value
    assert spans(bytes(message)) == [(number, value) for kind, number, value in entries if kind == 2]


@given(st.binary(max_size=200))
def test_any_bytes_are_walked_or_refused_and_never_left(buffer: bytes) -> None:
    try:
        found = list(fields(buffer, 0, len(buffer)))
    except Malformed:
        return
    assert all(0 <= field.start <= field.end <= len(buffer) for field in found)


def test_the_number_of_field_14_is_told() -> None:
    assert [field.value for field in fields(b"\x70\x01", 0, 2)] == [1]


@pytest.mark.parametrize(
    ("buffer", "why"),
    [
        (b"\x0a\x05abc", "ends 2 bytes behind its message"),
        (b"\x0a", "does not end"),
        (b"\x0d\x00\x00", "is cut off"),
        (b"\x0b", "wire type 3"),
        (b"\x00\x00", "no field has the number 0"),
        (b"\xff" * 11, "does not end"),
        (varint(1 << 32 | 5 << 3 | 2) + b"\x00", "no field has the number"),
    ],
)
def test_damage_is_told_by_its_place(buffer: bytes, why: str) -> None:
    with pytest.raises(Malformed, match=why):
        list(fields(buffer, 0, len(buffer)))
