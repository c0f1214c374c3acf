"""What every kind of source offers: an opened stream of bytes."""

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Protocol

#: How much is read at once.
CHUNK_BYTES = 1 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Position:
    """How far an earlier attempt came, in bytes, and the source's own mark of the content that it read."""

    bytes: int
    tag: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Stream:
    """The bytes of a file from ``start`` on.

    ``size`` is what the source claims for the whole file, in bytes, or None. ``tag`` changes when the content does;
    empty: a broken stream cannot be continued.
    """

    size: int | None
    chunks: AsyncIterator[bytes]
    start: int = 0
    tag: str = ""


class Source(Protocol):
    """Opens the file anew at each call; raises FetchFailed, also while its chunks are read."""

    def open(self, position: Position | None = None) -> AbstractAsyncContextManager[Stream]:
        """Return a context whose value is the stream: from ``position`` if the content is the same still, or from 0."""
