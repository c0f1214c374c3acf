"""Header blocks of HTTP/2 (HPACK, RFC 7541)."""

from collections import deque
from collections.abc import Iterable

from hpack.exceptions import HPACKError
from hpack.huffman_table import decode_huffman
from hpack.table import HeaderTable

from penstock_server.grpc_service.http2.frames import TABLE_SIZE_DEFAULT, Code, ConnectionBroken

Headers = tuple[tuple[bytes, bytes], ...]

_STATIC: tuple[tuple[bytes, bytes], ...] = tuple(
    (bytes(name), bytes(value)) for name, value in HeaderTable.STATIC_TABLE
)
#: What an entry of the dynamic table counts on top of its text.
_ENTRY_OVERHEAD = 32
#: All headers of a call together, as the protocol counts them.
HEADERS_SIZE_MAX = 16 * 1024
_INDEXED = 0x80
_INDEXING = 0x40
_RESIZE = 0x20
_HUFFMAN = 0x80
#: No integer in a header block needs more; without a bound, one could be as long as the block.
_INTEGER_BYTES_MAX = 4
#: Blocks that are remembered per connection.
_BLOCKS_KEPT = 32


class HeaderDecoder:
    """Decodes the header blocks of one connection, in their order.

    A client sends nearly the same headers with every call, and once its table is filled the same few
    bytes. Such a block is looked up instead of decoded, as long as the table is as it was.
    """

    def __init__(self) -> None:
        self._dynamic: deque[tuple[bytes, bytes]] = deque()
        self._size = 0
        self._size_max = TABLE_SIZE_DEFAULT
        self._known: dict[bytes, Headers] = {}
        #: Whether the last block changed the table.
        self._changed = False

    def decode(self, block: bytes) -> Headers:
        """Return the headers; raise ConnectionBroken, after which the tables of both sides differ."""
        known = self._known.get(block)
        if known is not None:
            return known
        self._changed = False
        try:
            decoded = tuple(self._headers_of(block))
        except IndexError:
            raise ConnectionBroken(Code.COMPRESSION_ERROR, "a header block ends too early") from None
        if self._changed or len(self._known) >= _BLOCKS_KEPT:
            self._known.clear()
        if not self._changed:
            self._known[block] = decoded
        return decoded

    def _headers_of(self, block: bytes) -> list[tuple[bytes, bytes]]:
        headers: list[tuple[bytes, bytes]] = []
        position, total = 0, 0
        while position < len(block):
            first = block[position]
            if first & (_INDEXED | _INDEXING) == 0 and first & _RESIZE:
                if headers:
                    raise ConnectionBroken(Code.COMPRESSION_ERROR, "the size of the table changes after a header")
                size, position = _integer(block, position, 5)
                self._resize(size)
                continue
            header, position = self._header(block, position, first)
            headers.append(header)
            total += len(header[0]) + len(header[1]) + _ENTRY_OVERHEAD
            if total > HEADERS_SIZE_MAX:
                # Small blocks can repeat a large entry of the table many times.
                raise ConnectionBroken(Code.ENHANCE_YOUR_CALM, f"headers exceed {HEADERS_SIZE_MAX} bytes")
        return headers

    def _header(self, block: bytes, position: int, first: int) -> tuple[tuple[bytes, bytes], int]:
        if first & _INDEXED:
            index, position = _integer(block, position, 7)
            return self._entry(index), position
        if first & _INDEXING:
            header, position = self._literal(block, position, 6)
            self._add(header)
            return header, position
        return self._literal(block, position, 4)

    def _literal(self, block: bytes, position: int, prefix: int) -> tuple[tuple[bytes, bytes], int]:
        index, position = _integer(block, position, prefix)
        if index:
            name = self._entry(index)[0]
        else:
            name, position = _string(block, position)
        value, position = _string(block, position)
        return (name, value), position

    def _entry(self, index: int) -> tuple[bytes, bytes]:
        if 0 < index <= len(_STATIC):
            return _STATIC[index - 1]
        dynamic = index - len(_STATIC) - 1
        if index == 0 or dynamic >= len(self._dynamic):
            raise ConnectionBroken(Code.COMPRESSION_ERROR, f"there is no header with number {index}")
        return self._dynamic[dynamic]

    def _add(self, header: tuple[bytes, bytes]) -> None:
        self._changed = True
        self._dynamic.appendleft(header)
        self._size += _entry_size(header)
        self._shrink()

    def _resize(self, size_max: int) -> None:
        if size_max > TABLE_SIZE_DEFAULT:
            raise ConnectionBroken(Code.COMPRESSION_ERROR, f"a table of {size_max} bytes is more than was offered")
        self._changed = True
        self._size_max = size_max
        self._shrink()

    def _shrink(self) -> None:
        while self._size > self._size_max:
            self._size -= _entry_size(self._dynamic.pop())


def encode(headers: Iterable[tuple[bytes, bytes]]) -> bytes:
    """Return a block that leaves the other side's table alone, so that it is the same on every connection."""
    return b"".join(b"\0" + _length(name) + name + _length(value) + value for name, value in headers)


def _length(text: bytes) -> bytes:
    """Return the length of a string that is not compressed, in HPACK's own form of an integer."""
    rest = len(text) - 127
    if rest < 0:
        return bytes((len(text),))
    octets = bytearray((127,))
    while rest >= 128:  # noqa: PLR2004 - seven bits an octet
        octets.append(rest & 127 | 128)
        rest >>= 7
    octets.append(rest)
    return bytes(octets)


def _entry_size(header: tuple[bytes, bytes]) -> int:
    return len(header[0]) + len(header[1]) + _ENTRY_OVERHEAD


def _integer(block: bytes, position: int, prefix: int) -> tuple[int, int]:
    most = (1 << prefix) - 1
    value = block[position] & most
    position += 1
    if value < most:
        return value, position
    for shift in range(0, 7 * _INTEGER_BYTES_MAX, 7):
        octet = block[position]
        position += 1
        value += (octet & 127) << shift
        if octet < 128:  # noqa: PLR2004 - the highest bit says that more follow
            return value, position
    raise ConnectionBroken(Code.COMPRESSION_ERROR, "an integer in a header block is too long")


def _string(block: bytes, position: int) -> tuple[bytes, int]:
    compressed = block[position] & _HUFFMAN
    size, position = _integer(block, position, 7)
    end = position + size
    if end > len(block):
        raise ConnectionBroken(Code.COMPRESSION_ERROR, "a string in a header block is longer than the block")
    text = block[position:end]
    if not compressed:
        return text, end
    try:
        return decode_huffman(text), end
    except HPACKError as error:
        raise ConnectionBroken(Code.COMPRESSION_ERROR, f"a string in a header block is damaged: {error}") from None
