"""Reads fields of Kubernetes objects that may be absent."""

from collections.abc import Mapping, Sequence
from typing import Any

#: A Kubernetes object, or a part of one, in its JSON form.
Wire = Mapping[str, Any]


def part(wire: Wire, *path: str) -> Wire:
    """Return the object at ``path``, or an empty one.

    >>> part({"status": {"a": {"b": 1}}}, "status", "a"), part({}, "status", "a")
    ({'b': 1}, {})
    """
    for field in path:
        found = wire.get(field)
        wire = found if isinstance(found, Mapping) else {}
    return wire


def items(wire: Wire, field: str) -> Sequence[Wire]:
    """Return the objects of a list field, or none."""
    found = wire.get(field)
    return [entry for entry in found if isinstance(entry, Mapping)] if isinstance(found, list) else []


def text(wire: Wire, field: str) -> str:
    """Return a text field, or an empty text."""
    found = wire.get(field)
    return "" if found is None else str(found)


def whole(wire: Wire, field: str) -> int:
    """Return a whole number, or 0."""
    found = wire.get(field)
    return found if isinstance(found, int) else 0


def name_of(wire: Wire) -> str:
    """Return ``metadata.name``."""
    return text(part(wire, "metadata"), "name")
