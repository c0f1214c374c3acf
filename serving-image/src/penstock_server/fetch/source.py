"""What every kind of source offers: an opened stream of bytes."""

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Protocol

#: How much is read at once.
CHUNK_BYTES = 1 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Stream:
    """The bytes of a file from its start. ``size`` is what the source claims, in bytes, or None."""

    size: int | None
    chunks: AsyncIterator[bytes]


class Source(Protocol):
    """Opens the file anew at each call; raises FetchFailed, also while its chunks are read."""

    def open(self) -> AbstractAsyncContextManager[Stream]:
        """Return a context whose value is the stream."""
