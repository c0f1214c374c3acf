"""Compressed bodies of requests: taken, bounded, and checked to their end."""

import asyncio
import gzip
import tracemalloc
import zlib
from collections.abc import Callable

import pytest

from penstock_server.compression import Damaged, TooLarge, decompress


def bare(body: bytes) -> bytes:
    compressor = zlib.compressobj(wbits=-15)
    return compressor.compress(body) + compressor.flush()


PACK: dict[str, tuple[str, Callable[[bytes], bytes]]] = {
    "gzip": ("gzip", gzip.compress),
    "deflate": ("deflate", zlib.compress),
    "bare deflate": ("deflate", bare),
}
PACKED = pytest.mark.parametrize(("encoding", "pack"), PACK.values(), ids=PACK)


@PACKED
@pytest.mark.parametrize("body", [b"", b"{}", bytes(range(256)) * 10_000], ids=["empty", "small", "large"])
async def test_a_body_comes_out_as_it_went_in(encoding: str, pack: Callable[[bytes], bytes], body: bytes) -> None:
    assert await decompress(pack(body), encoding, len(body)) == body


@PACKED
async def test_a_bomb_takes_no_more_memory_than_a_body_may(encoding: str, pack: Callable[[bytes], bytes]) -> None:
    bomb = pack(bytes(100_000_000))
    tracemalloc.start()
    try:
        with pytest.raises(TooLarge):
            await decompress(bomb, encoding, 4_000_000)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 10_000_000


@PACKED
@pytest.mark.parametrize("cut", [1, 5, 9])
async def test_what_is_cut_off_is_damaged(encoding: str, pack: Callable[[bytes], bytes], cut: int) -> None:
    with pytest.raises(Damaged, match=r"cut off|not "):
        await decompress(pack(b"hello, hello, hello")[:-cut], encoding, 100)


@pytest.mark.parametrize("encoding", ["gzip", "deflate"])
@pytest.mark.parametrize("body", [b"", b"junk", b"\x1f\x8b" + b"\xff" * 20])
def test_what_was_never_compressed_is_damaged(encoding: str, body: bytes) -> None:
    with pytest.raises(Damaged):
        asyncio.run(decompress(body, encoding, 100))


@PACKED
async def test_nothing_may_follow(encoding: str, pack: Callable[[bytes], bytes]) -> None:
    with pytest.raises(Damaged, match="something follows"):
        await decompress(pack(b"one") + pack(b"two"), encoding, 100)
