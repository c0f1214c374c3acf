"""What the clients of the soak send: requests as they should be, and as nobody should send them."""

import asyncio
import contextlib
import gzip
import json
import random
import struct
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from benchmarks import soak_grpc
from benchmarks.soak_grpc import CUT, LEFT, GrpcClient

ROWS_MAX = 48
_PAUSE_SECONDS_MAX = 0.004
_ANSWER_SECONDS_MAX = 20.0
_REQUESTS_PER_CONNECTION_MAX = 200
_PATH = "/v2/models/tumor/infer"

Rows = Sequence[Sequence[float]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """The ports of the server."""

    http: int
    management: int
    grpc: int


#: Kinds of requests, and the answers that each may have.
_REST: Mapping[str, frozenset[str]] = {
    name: frozenset(answers.split())
    for name, answers in {
        "one-row": "200",
        "many-rows": "200",
        "nested-rows": "200",
        "binary": "200",
        "compressed": "200",
        "http-1.0": "200",
        "metadata": "200",
        "metrics": "200",
        "profile": "200",
        "not-json": "400",
        "wrong-shape": "400",
        "wrong-type": "400",
        "unknown-output": "400",
        "too-large-number": "400",
        "deep": "400",
        "broken-gzip": "400",
        "bad-length": "400",
        "unknown-model": "404",
        "unknown-path": "404",
        "wrong-method": "405",
        "too-large": "413",
        "garbage": "400",
        "many-headers": "431",
        "left-in-the-body": LEFT,
        "left-before-the-answer": LEFT,
    }.items()
}
KINDS: Mapping[str, frozenset[str]] = {**_REST, **soak_grpc.KINDS}
#: How often each kind is sent, those that are not named here once.
_WEIGHTS = {
    "one-row": 60,
    "many-rows": 20,
    "nested-rows": 10,
    "binary": 20,
    "compressed": 5,
    "metrics": 0.2,
    "profile": 0.2,
    "grpc-one-row": 20,
    "grpc-many-rows": 10,
}
_MANAGEMENT = {"metrics": "/metrics", "profile": "/v1/profile"}
_LEAVING = {"left-in-the-body", "left-before-the-answer"}
#: After these the server ends the connection.
_LAST = {"garbage", "many-headers", "too-large", "http-1.0", "bad-length"} | _LEAVING


async def client(target: Target, rows: Rows, chance: random.Random, counts: Counter[str]) -> None:
    """Send one request after the other for ever, over connections that it keeps for a while."""
    kinds = list(KINDS)
    weights = [_WEIGHTS.get(kind, 1) for kind in kinds]
    async with contextlib.aclosing(GrpcClient(target.grpc, rows, chance)) as grpc:
        while True:
            reader, writer = await asyncio.open_connection("127.0.0.1", target.http)
            try:
                for _ in range(chance.randrange(1, _REQUESTS_PER_CONNECTION_MAX)):
                    [kind] = chance.choices(kinds, weights)
                    if kind in _MANAGEMENT:
                        answer, more = await _scrape(target.management, _MANAGEMENT[kind]), True
                    elif kind in soak_grpc.KINDS:
                        answer, more = await grpc.send(kind), True
                    else:
                        writer.write(_request(kind, rows, chance))
                        answer, more = (LEFT, False) if kind in _LEAVING else await _answer(reader)
                    counts[f"{kind} {answer}"] += 1
                    if kind in _LAST or not more:
                        break
                    await asyncio.sleep(chance.uniform(0, _PAUSE_SECONDS_MAX))
            finally:
                writer.close()
                with contextlib.suppress(ConnectionError):
                    await writer.wait_closed()


async def _answer(reader: asyncio.StreamReader) -> tuple[str, bool]:
    """Return the status of an answer, and whether the connection goes on."""
    async with asyncio.timeout(_ANSWER_SECONDS_MAX):
        try:
            head = await reader.readuntil(b"\r\n\r\n")
            headers = head.lower()
            length = int(headers.partition(b"\r\ncontent-length:")[2].split(b"\r\n")[0])
            await reader.readexactly(length)
        except (asyncio.IncompleteReadError, ConnectionError):
            return CUT, False
    return head.split(b" ")[1].decode(), b"connection: close" not in headers


async def _scrape(port: int, path: str) -> str:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(f"GET {path} HTTP/1.1\r\nHost: soak\r\nConnection: close\r\n\r\n".encode())
    async with asyncio.timeout(_ANSWER_SECONDS_MAX):
        answer = await reader.read()
    writer.close()
    with contextlib.suppress(ConnectionError):
        await writer.wait_closed()
    return answer.split(b" ")[1].decode() if answer else CUT


def _request(kind: str, rows: Rows, chance: random.Random) -> bytes:
    make = _MAKERS.get(kind)
    return make(rows, chance) if make is not None else _PLAIN[kind]


def _post(body: bytes, *headers: str, path: str = _PATH, version: str = "1.1", method: str = "POST") -> bytes:
    lines = [f"{method} {path} HTTP/{version}", "Host: soak", f"Content-Length: {len(body)}", *headers, "", ""]
    return "\r\n".join(lines).encode() + body


def _message(rows: Rows, *, nested: bool = False, **more: object) -> bytes:
    data = list(rows) if nested else [value for row in rows for value in row]
    tensor = {"name": "x", "shape": [len(rows), len(rows[0])], "datatype": "FP32", "data": data}
    return json.dumps({"inputs": [tensor], **more}).encode()


def _some(rows: Rows, chance: random.Random, count: int) -> Rows:
    return [chance.choice(rows) for _ in range(count)]


def _one_row(rows: Rows, chance: random.Random) -> bytes:
    # Ids and headers of all lengths: whoever keeps what was seen once must also forget.
    request_id = "r" * chance.randrange(200)
    return _post(_message(_some(rows, chance, 1), id=request_id), f"X-Request-Id: {chance.randrange(10**9)}")


def _many_rows(rows: Rows, chance: random.Random) -> bytes:
    return _post(_message(_some(rows, chance, chance.randrange(1, ROWS_MAX))))


def _nested_rows(rows: Rows, chance: random.Random) -> bytes:
    return _post(_message(_some(rows, chance, chance.randrange(1, ROWS_MAX)), nested=True))


def _binary(rows: Rows, chance: random.Random) -> bytes:
    some = _some(rows, chance, chance.randrange(1, ROWS_MAX))
    data = b"".join(struct.pack(f"<{len(row)}f", *row) for row in some)
    parameters = {"binary_data_size": len(data)}
    tensor = {"name": "x", "shape": [len(some), len(some[0])], "datatype": "FP32", "parameters": parameters}
    head = json.dumps({"inputs": [tensor], "parameters": {"binary_data_output": True}}).encode()
    return _post(head + data, f"Inference-Header-Content-Length: {len(head)}")


def _compressed(rows: Rows, chance: random.Random) -> bytes:
    body = gzip.compress(_message(_some(rows, chance, chance.randrange(1, ROWS_MAX))))
    return _post(body, "Content-Encoding: gzip", "Accept-Encoding: gzip")


def _old(rows: Rows, chance: random.Random) -> bytes:
    return _post(_message(_some(rows, chance, 1)), version="1.0")


def _wrong_shape(rows: Rows, chance: random.Random) -> bytes:
    return _post(_message([row[: chance.randrange(1, len(row))] for row in rows[:1]]))


def _wrong_type(rows: Rows, chance: random.Random) -> bytes:
    return _post(_message([[*rows[0][:-1], "x" * chance.randrange(100)]]))  # type: ignore[list-item]  # on purpose


def _unknown_output(rows: Rows, chance: random.Random) -> bytes:
    return _post(_message(rows[:1], outputs=[{"name": f"y{chance.randrange(10**9)}"}]))


def _too_large_number(rows: Rows, chance: random.Random) -> bytes:
    return _post(_message([[*rows[0][:-1], 10 ** chance.randrange(39, 60)]]))


def _unknown_model(_: Rows, chance: random.Random) -> bytes:
    return _post(b"{}", path=f"/v2/models/m{chance.randrange(10**9)}/infer")


def _unknown_path(_: Rows, chance: random.Random) -> bytes:
    return f"GET /{chance.randrange(10**9)} HTTP/1.1\r\nHost: soak\r\n\r\n".encode()


def _garbage(_: Rows, chance: random.Random) -> bytes:
    return b"\x00" + chance.randbytes(chance.randrange(1, 500)) + b"\r\n\r\n"


def _left_in_the_body(rows: Rows, chance: random.Random) -> bytes:
    whole = _post(_message(_some(rows, chance, ROWS_MAX)))
    return whole[: chance.randrange(whole.index(b"\r\n\r\n") + 4, len(whole))]


_MAKERS: Mapping[str, Callable[[Rows, random.Random], bytes]] = {
    "one-row": _one_row,
    "many-rows": _many_rows,
    "nested-rows": _nested_rows,
    "binary": _binary,
    "compressed": _compressed,
    "http-1.0": _old,
    "wrong-shape": _wrong_shape,
    "wrong-type": _wrong_type,
    "unknown-output": _unknown_output,
    "too-large-number": _too_large_number,
    "unknown-model": _unknown_model,
    "unknown-path": _unknown_path,
    "garbage": _garbage,
    "left-in-the-body": _left_in_the_body,
    "left-before-the-answer": _many_rows,
}
_PLAIN = {
    "metadata": b"GET /v2/models/tumor HTTP/1.1\r\nHost: soak\r\n\r\n",
    "not-json": _post(b'{"inputs": [{'),
    "deep": _post(b"[" * 5000),
    "broken-gzip": _post(gzip.compress(b"{}" * 100)[:-9], "Content-Encoding: gzip"),
    "bad-length": _post(b"{}", "Inference-Header-Content-Length: -1"),
    "wrong-method": b"PUT /v2/models/tumor HTTP/1.1\r\nHost: soak\r\nContent-Length: 0\r\n\r\n",
    "too-large": f"POST {_PATH} HTTP/1.1\r\nHost: soak\r\nContent-Length: 99999999\r\n\r\n".encode(),
    "many-headers": b"GET /v2 HTTP/1.1\r\n" + b"".join(b"X-%d: y\r\n" % number for number in range(300)) + b"\r\n",
}
