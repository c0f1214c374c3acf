"""How much structure the JSON of a request may have, found out before it is parsed."""

import re

from penstock_server.protocol.types import BadRequest

#: Below, whatever the body holds is parsed in a few milliseconds, into a few megabytes.
SMALL_BYTES_MAX = 1 << 18
#: An object takes 20 to 100 times the memory of its two or three bytes, so 32 MB of them more than a pod has.
_OBJECTS_MAX = 100_000
_MEMBERS_MAX = 200_000
#: Rows of nested data.
_LISTS_MAX = 1_000_000
#: Possessive, so that a quote without its other end is not tried from each of its backslashes.
_STRING = re.compile(rb'"(?:[^"\\]++|\\.)*+"', re.DOTALL)


def check_structure(body: bytes) -> None:
    """Raise BadRequest for JSON that would need far more memory and time than its length and its values explain."""
    if len(body) <= SMALL_BYTES_MAX or not _exceeding(body):
        return
    # Texts may hold any number of brackets and colons.
    exceeding = _exceeding(_STRING.sub(b'""', body))
    if exceeding:
        raise BadRequest(exceeding)


def _exceeding(body: bytes) -> str:
    """Return what is too much, or an empty string."""
    if body.count(b"[") > _LISTS_MAX:
        return f"the body has more than {_LISTS_MAX} lists; send 'data' flat, or as binary data"
    if body.count(b"{") > _OBJECTS_MAX:
        return f"the body has more than {_OBJECTS_MAX} objects"
    if body.count(b":") > _MEMBERS_MAX:
        return f"the body has more than {_MEMBERS_MAX} named values"
    return ""
