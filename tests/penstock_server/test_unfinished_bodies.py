"""Bodies that are still arriving take a bounded amount of memory, however many clients send them."""

import asyncio
import contextlib
from urllib.parse import urlsplit

import pytest
from tests.penstock_server import onnx_models
from tests.penstock_server.conftest import Serve, Served, eventually

from penstock_server.unfinished_bodies import TooManyBodies, UnfinishedBodies

MESSAGE = b'{"inputs":[{"name":"x","shape":[2],"datatype":"FP32","data":[1,2]}]}'


def test_what_is_given_back_can_be_kept_again() -> None:
    unfinished = UnfinishedBodies(10)
    unfinished.keep(10)
    with pytest.raises(TooManyBodies):
        unfinished.keep(1)
    unfinished.give_back(4)
    unfinished.keep(4)
    assert unfinished.kept_bytes == 10


class Client:
    """Sends what it is told, and reads one answer."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    async def answer(self) -> bytes:
        head = await self.reader.readuntil(b"\r\n\r\n")
        length = next(line for line in head.split(b"\r\n") if line.lower().startswith(b"content-length:"))
        return head + await self.reader.readexactly(int(length.partition(b":")[2]))

    async def close(self) -> None:
        self.writer.close()
        with contextlib.suppress(ConnectionError):
            await self.writer.wait_closed()


async def connected(served: Served) -> Client:
    url = urlsplit(served.url)
    return Client(*await asyncio.open_connection(url.hostname, url.port))


def head(coding: bytes) -> bytes:
    return b"POST /v2/models/m/infer HTTP/1.1\r\nHost: h\r\n" + coding + b"\r\n\r\n"


WAYS = pytest.mark.parametrize(
    ("begin", "part"),
    [
        (head(b"Content-Length: %d" % len(MESSAGE)), MESSAGE[:20]),
        (head(b"Transfer-Encoding: chunked"), b"14\r\n" + MESSAGE[:20] + b"\r\n"),
    ],
    ids=["length", "chunked"],
)


@WAYS
async def test_a_client_is_refused_while_others_have_used_up_what_may_be_kept(
    serve: Serve, begin: bytes, part: bytes
) -> None:
    served = await serve(onnx_models.identity("FP32", [None]))
    unfinished = served.model_server._infer.unfinished = UnfinishedBodies(30)
    clients = [await connected(served) for _ in range(3)]
    first, second, third = clients
    # Its head is known from then on, and bodies behind it go another way.
    first.writer.write(head(b"Content-Length: %d" % len(MESSAGE)) + MESSAGE)
    assert (await first.answer()).startswith(b"HTTP/1.1 200")
    first.writer.write(begin + part)
    await eventually(lambda: unfinished.kept_bytes == 20)
    second.writer.write(begin + part)
    refused = await second.answer()
    assert refused.startswith(b"HTTP/1.1 429")
    assert b"Retry-After: 1\r\n" in refused
    assert b"too many large requests" in refused
    await first.close()
    await eventually(lambda: unfinished.kept_bytes == 0)
    third.writer.write(head(b"Content-Length: %d" % len(MESSAGE)) + MESSAGE[:20])
    await eventually(lambda: unfinished.kept_bytes == 20)
    third.writer.write(MESSAGE[20:])
    assert (await third.answer()).startswith(b"HTTP/1.1 200")
    assert unfinished.kept_bytes == 0
    for client in clients:
        await client.close()
    assert await served.metric('penstock_requests_rejected_total{model="m",model_version="",reason="overloaded"') == 1
