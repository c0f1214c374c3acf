"""Bytes that arrive piece by piece, kept in about as much memory and joined in about as much time as they are long."""

#: Smaller pieces are put together at once: each by itself is an object, of forty bytes and more.
_SMALL_BYTES = 1024


class Pieces:
    """What has arrived of something that is not there yet."""

    __slots__ = ("_parts", "size")

    def __init__(self) -> None:
        self._parts: list[bytes | bytearray | memoryview] = []
        #: Of all pieces together.
        self.size = 0

    def add(self, piece: bytes | memoryview) -> None:
        """Keep another piece."""
        self.size += len(piece)
        parts = self._parts
        if len(piece) >= _SMALL_BYTES or not piece:
            parts.append(piece)
        elif parts and isinstance(last := parts[-1], bytearray):
            last += piece
        elif parts:
            parts.append(bytearray(piece))
        else:
            parts.append(piece)  # most often it stays the only one

    def beginning(self, count: int) -> bytes | bytearray | memoryview:
        """Return the first bytes, at least so many where there are so many."""
        parts = self._parts
        if len(parts) > 1 and len(parts[0]) < count:
            # Once at most: what is joined is long enough then, or grows in its place.
            parts[:] = [bytearray(b"".join(parts))]
        return parts[0] if parts else b""

    def take(self) -> bytes | memoryview:
        """Return all of it, and keep nothing."""
        parts, self._parts, self.size = self._parts, [], 0
        if len(parts) == 1 and not isinstance(only := parts[0], bytearray):
            return only
        return b"".join(parts)
