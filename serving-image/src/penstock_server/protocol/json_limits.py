"""How much structure the JSON of a request may have, found out before it is parsed."""

import re

import numpy as np

from penstock_server.protocol.types import BadRequest

#: Below, whatever the body holds is parsed in a few milliseconds, into a few megabytes.
SMALL_BYTES_MAX = 1 << 18
#: A text takes 50 bytes besides its own.
TEXTS_MAX = 1_000_000
#: Lists are rows of nested data.
LISTS_MAX = 1_000_000
#: An object takes 20 to 100 times the memory of its two or three bytes: 32 MB of them, more than a pod has.
OBJECTS_MAX = 100_000
_NAMED_MAX = 200_000
#: A number takes 32 bytes and more.
VALUES_MAX = 4_000_000
_BINARY = "send 'data' as binary data"
#: What there may be of each mark outside of texts.
_LIMITS = (
    (b"[", LISTS_MAX, "lists; send 'data' flat, or as binary data"),
    (b"{", OBJECTS_MAX, "objects"),
    (b":", _NAMED_MAX, "named values"),
    (b",", VALUES_MAX, f"values; {_BINARY}"),
)
#: Possessive, so that a quote without its other end is not tried from each of its backslashes.
_STRING = re.compile(rb'"(?:[^"\\]++|\\.)*+"', re.DOTALL)


def check_structure(body: bytes) -> None:
    """Raise BadRequest for JSON that would need far more memory and time than its length and its values explain."""
    if len(body) <= SMALL_BYTES_MAX:
        return
    # A single byte is counted several times as fast by numpy as by bytes.count.
    marks = np.frombuffer(body, np.uint8)
    quotes = np.count_nonzero(marks == ord('"'))
    if quotes > 2 * TEXTS_MAX and quotes - body.count(b'\\"') > 2 * TEXTS_MAX:
        raise BadRequest(f"the body has more than {TEXTS_MAX} texts; {_BINARY}")
    for mark, most, what in _LIMITS:
        count = np.count_nonzero(marks == ord(mark))
        # Texts may hold any number of brackets and colons.
        if count > most and count - _in_texts(body, mark) > most:
            raise BadRequest(f"the body has more than {most} {what}")


def _in_texts(body: bytes, mark: bytes) -> int:
    # One after the other: a copy of the body without its texts is made of pieces that take more than all of it.
    return sum(found[0].count(mark) for found in _STRING.finditer(body))
