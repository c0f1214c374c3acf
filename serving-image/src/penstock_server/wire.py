"""Answers as HTTP/1.1 bytes, for requests that need no more than that."""

import time
from collections.abc import Callable
from http import HTTPStatus

from penstock_server import coarse_clock
from penstock_server.descriptions import SERVER_NAME
from penstock_server.http_server import BINARY_TYPE, JSON_TYPE
from penstock_server.inference import Answer
from penstock_server.protocol import JSON_BYTES_HEADER

_OK = int(HTTPStatus.OK)  # comparing with the member of the enumeration takes five times as long
_WEEKDAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")


class Wire:
    """Writes answers; what is the same within a second is made once in a second."""

    def __init__(self, clock: Callable[[], float] = coarse_clock.now) -> None:
        self._clock = clock
        self._until = 0.0
        self._date = b""
        self._plain = b""

    def head(self, answer: Answer, *, encoding: str = "", close: bool = False) -> bytes:
        """Return status line and headers of an answer with all of its body."""
        now = self._clock()
        if not self._until - 1 <= now < self._until:
            self._until = int(now) + 1
            self._date = b"Server: %s\r\nDate: %s\r\n" % (SERVER_NAME.encode(), _date(int(now)))
            self._plain = b"HTTP/1.1 200 OK\r\nContent-Type: %s\r\n%sContent-Length: " % (
                JSON_TYPE.encode(),
                self._date,
            )
        status, body, json_bytes, _ = answer
        if status == _OK and json_bytes is None and not encoding and not close:
            return self._plain + b"%d\r\n\r\n" % len(body)
        lines = [f"{name}: {value}\r\n" for name, value in headers(answer, encoding=encoding, close=close).items()]
        return b"HTTP/1.1 %d %s\r\n%s%sContent-Length: %d\r\n\r\n" % (
            status,
            HTTPStatus(status).phrase.encode(),
            self._date,
            "".join(lines).encode(),
            len(body),
        )


def headers(answer: Answer, *, encoding: str = "", close: bool = False) -> dict[str, str]:
    """Return the headers that belong to an answer."""
    made = {"Content-Type": JSON_TYPE}
    if answer.json_bytes is not None:
        made = {"Content-Type": BINARY_TYPE, JSON_BYTES_HEADER: str(answer.json_bytes)}
    if answer.retry_after_seconds is not None:
        made["Retry-After"] = str(answer.retry_after_seconds)
    if encoding:
        made |= {"Content-Encoding": encoding, "Vary": "Accept-Encoding"}
    if close:
        made["Connection"] = "close"
    return made


def _date(seconds: int) -> bytes:
    # Not strftime, which would speak the language of the process.
    at = time.gmtime(seconds)
    text = (
        f"{_WEEKDAYS[at.tm_wday]}, {at.tm_mday:02d} {_MONTHS[at.tm_mon - 1]} {at.tm_year} {time.strftime('%T', at)} GMT"
    )
    return text.encode()
