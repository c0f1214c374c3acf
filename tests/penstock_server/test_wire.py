"""Answers as HTTP/1.1 bytes."""

from email.utils import formatdate

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock_server.inference import Answer, refusal
from penstock_server.wire import Wire


def lines(head: bytes) -> list[str]:
    assert head.endswith(b"\r\n\r\n")
    return head.decode()[:-4].split("\r\n")


@given(st.integers(0, 2**32))
def test_the_date_is_written_as_http_wants_it(seconds: int) -> None:
    head = Wire(lambda: seconds + 0.9).head(Answer(200, b"{}"))
    assert f"Date: {formatdate(seconds, usegmt=True)}" in lines(head)


def test_a_new_second_has_a_new_date() -> None:
    now = [100.0]
    wire = Wire(lambda: now[0])
    first = wire.head(Answer(200, b"{}"))
    now[0] = 101.0
    assert wire.head(Answer(200, b"{}")) != first


def test_a_plain_answer_has_what_it_needs_and_no_more() -> None:
    assert lines(Wire(lambda: 0.0).head(Answer(200, b"{}"))) == [
        "HTTP/1.1 200 OK",
        "Content-Type: application/json",
        "Server: penstock",
        "Date: Thu, 01 Jan 1970 00:00:00 GMT",
        "Content-Length: 2",
    ]


@pytest.mark.parametrize(
    ("answer", "encoding", "close", "expected"),
    [
        (refusal(429, "x", retry_after_seconds=1), "", False, ["HTTP/1.1 429 Too Many Requests", "Retry-After: 1"]),
        (Answer(200, b"{}", 2), "", False, ["Inference-Header-Content-Length: 2"]),
        (Answer(200, b"{}", 2), "", False, ["Content-Type: application/octet-stream"]),
        (Answer(200, b"{}"), "gzip", False, ["Content-Encoding: gzip", "Vary: Accept-Encoding"]),
        (Answer(200, b"{}"), "", True, ["Connection: close"]),
    ],
)
def test_what_is_special_about_an_answer_is_said(
    answer: Answer, encoding: str, *, close: bool, expected: list[str]
) -> None:
    assert set(expected) <= set(lines(Wire().head(answer, encoding=encoding, close=close)))
