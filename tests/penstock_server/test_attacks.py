"""Whatever a client sends to a real server: the right error in JSON, in bounded time and memory, and it lives on."""

import contextlib
import gzip
import json
import os
import re
import socket
import subprocess
import sys
import threading
import time
import zlib
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from onnx import ModelProto
from tests.penstock_server import onnx_models

from penstock_contract.environment import ServingEnvironment

SECONDS_MAX = 15.0
PATH = b"/v2/models/m/infer"
#: What the server may take beyond what it had at the start, whatever is sent to it here.
GROWTH_MB_MAX = 400


@dataclass
class Attacked:
    """A server process, and ways to be unkind to it."""

    process: subprocess.Popen[str]
    port: int
    management_port: int

    def connect(self) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.port), SECONDS_MAX)

    def ask(self, sent: bytes) -> tuple[int, Any]:
        """Send bytes over a connection of their own; return the status and the JSON of the first answer."""
        with self.connect() as connection:
            # The server may have answered and gone before all of it is sent.
            with contextlib.suppress(ConnectionError):
                connection.sendall(sent)
            return read(connection)

    def is_alive(self) -> bool:
        return self.process.poll() is None and self.ask(infer(GOOD))[0] == 200

    def megabytes(self, figure: str) -> int:
        """Return its resident memory: now (VmRSS), or the most that it ever was (VmHWM)."""
        found = re.search(rf"{figure}:\s+(\d+)", Path(f"/proc/{self.process.pid}/status").read_text())
        assert found is not None
        return int(found[1]) // 1024


Start = Callable[..., Attacked]


def read(connection: socket.socket) -> tuple[int, Any]:
    """Return the next answer."""
    with connection.makefile("rb") as stream:
        status = int(stream.readline().split()[1])
        headers: dict[bytes, bytes] = {}
        while line := stream.readline().rstrip():
            name, _, value = line.partition(b": ")
            headers[name.lower()] = value
        body = stream.read(int(headers[b"content-length"]))
    assert headers[b"content-type"] == b"application/json"
    message = json.loads(body)
    if status == 429:
        assert int(headers[b"retry-after"]) >= 1
    return status, message


def infer(
    body: Any, *headers: bytes, length: bytes | None = None, line: bytes = b"POST " + PATH + b" HTTP/1.1"
) -> bytes:
    octets = body if isinstance(body, bytes) else json.dumps(body).encode()
    size = b"Content-Length: " + (length or str(len(octets)).encode())
    return b"\r\n".join([line, b"Host: h", size, *headers, b"", b""]) + octets


def numbers(data: bytes, shape: bytes = b"[1,2]") -> bytes:
    return infer(b'{"inputs":[{"name":"x","shape":%s,"datatype":"FP32","data":%s}]}' % (shape, data))


def chunked(body: bytes) -> bytes:
    return b"POST " + PATH + b" HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n" + body


GOOD = {"inputs": [{"name": "x", "shape": [1, 2], "datatype": "FP32", "data": [1, 2]}]}


def sent(*headers: bytes, end: bytes = b"0\r\n\r\n") -> bytes:
    """A good request as one chunk, whatever its headers say of that."""
    octets = json.dumps(GOOD).encode()
    lines = b"\r\n".join([b"POST " + PATH + b" HTTP/1.1", b"Host: h", *headers, b"", b""])
    return lines + b"%x\r\n" % len(octets) + octets + b"\r\n" + end


@pytest.fixture(scope="module")
def start(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Start]:
    started: list[Attacked] = []

    def run(model: ModelProto, **settings: Any) -> Attacked:
        folder = tmp_path_factory.mktemp("attacked")
        (folder / "model.onnx").write_bytes(model.SerializeToString())
        wanted: dict[str, Any] = {
            "model_name": "m",
            "revision": "m-1",
            "namespace": "attacks",
            "model_path": str(folder / "model.onnx"),
            "http_port": 0,
            "management_port": 0,
            "grpc_port": 0,
            "drain_seconds": 0.0,
            **settings,
        }
        process = subprocess.Popen(
            [sys.executable, "-m", "penstock_server", "--host", "127.0.0.1"],
            stdout=subprocess.PIPE,
            text=True,
            env={
                **os.environ,
                **ServingEnvironment(**wanted).to_env(),
                "PENSTOCK_TERMINATION_LOG": str(folder / "last-words"),
            },
        )
        assert process.stdout is not None
        ready = json.loads(next(line for line in process.stdout if '"event": "ready"' in line))
        started.append(Attacked(process, ready["port"], ready["management_port"]))
        return started[-1]

    yield run
    for attacked in started:
        attacked.process.kill()
        with attacked.process:
            attacked.process.wait()


@pytest.fixture(scope="module")
def server(start: Start) -> Attacked:
    """Return a server of a model that answers what it is asked."""
    return start(onnx_models.identity("FP32", [None, 2]))


HTTP: dict[str, tuple[int, bytes]] = {
    "no length": (400, b"POST " + PATH + b" HTTP/1.1\r\nHost: h\r\n\r\n"),
    "no body": (400, infer(b"")),
    "a body of a petabyte": (413, infer(b"x", length=b"1" + b"0" * 15)),
    "a length beyond all numbers": (400, infer(b"x", length=b"9" * 30)),
    "a length below zero": (400, infer(b"x", length=b"-1")),
    "two lengths": (400, infer(b"xx", b"Content-Length: 1")),
    "a length and chunks": (400, infer(b"0\r\n\r\n", b"Transfer-Encoding: chunked")),
    "a bad chunk": (400, chunked(b"ZZ\r\n\r\n")),
    "a long chunk extension": (400, chunked(b"1;" + b"a" * 100_000 + b"\r\nx\r\n0\r\n\r\n")),
    "chunks without end": (413, chunked(b"100000\r\n" * 1 + (b" " * 0x100000 + b"\r\n100000\r\n") * 40)),
    "very many headers": (431, b"GET /v2 HTTP/1.1\r\n" + b"X: y\r\n" * 20_000 + b"\r\n"),
    "a very long header": (431, b"GET /v2 HTTP/1.1\r\nX: " + b"y" * 1_000_000),
    "a very long path": (431, b"GET /" + b"y" * 100_000 + b" HTTP/1.1\r\n\r\n"),
    "a preface of HTTP/2": (400, b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"),
    "a version of the future": (400, infer(GOOD, line=b"POST " + PATH + b" HTTP/9.9")),
    "HTTP/1.0": (200, infer(GOOD, line=b"POST " + PATH + b" HTTP/1.0")),
    "an absolute URI": (200, infer(GOOD, line=b"POST http://elsewhere" + PATH + b" HTTP/1.1")),
    "an escaped name": (200, infer(GOOD, line=b"POST /v2/models/%6D/infer HTTP/1.1")),
    "an escaped slash": (404, infer(GOOD, line=b"POST /v2/models/m%2f..%2fm/infer HTTP/1.1")),
    "dots": (404, infer(GOOD, line=b"POST /v2/models/../models/m/infer HTTP/1.1")),
    "bytes that are no text": (404, infer(GOOD, line=b"POST /v2/models/%ff%00/infer HTTP/1.1")),
    "a path of a star": (404, b"OPTIONS * HTTP/1.1\r\nHost: h\r\n\r\n"),
    "a request for a tunnel": (404, b"CONNECT h:1 HTTP/1.1\r\nHost: h\r\n\r\n"),
    "TLS": (400, b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(100)),
    "noise": (400, bytes(range(256)) * 16),
    "chunks and another coding": (400, sent(b"Transfer-Encoding: chunked, identity")),
    "another coding and chunks": (415, sent(b"Transfer-Encoding: gzip, chunked")),
    "chunks twice": (400, sent(b"Transfer-Encoding: chunked", b"Transfer-Encoding: chunked")),
    "chunks, then not": (400, sent(b"Transfer-Encoding: chunked", b"Transfer-Encoding: identity")),
    "nearly chunks": (400, sent(b"Transfer-Encoding: xchunked")),
    "chunks behind a space": (400, sent(b"Transfer-Encoding : chunked")),
    "chunks behind a tab": (400, sent(b"Transfer-Encoding: \x0bchunked")),
    "chunks on the next line": (400, sent(b"Transfer-Encoding:", b" chunked")),
    "chunks and then a length": (400, sent(b"Transfer-Encoding: chunked", b"Content-Length: 5")),
    "a length among the trailers": (400, sent(b"Transfer-Encoding: chunked", end=b"0\r\nContent-Length: 5\r\n\r\n")),
    "very many trailers": (431, sent(b"Transfer-Encoding: chunked", end=b"0\r\n" + b"X: y\r\n" * 30_000 + b"\r\n")),
    "a chunk whose size is signed": (400, chunked(b"+2\r\n{}\r\n0\r\n\r\n")),
    "a chunk whose size is beyond all numbers": (400, chunked(b"f" * 20 + b"\r\n{}\r\n0\r\n\r\n")),
    "a chunk that is longer than it says": (400, chunked(b"2\r\n{}}\r\n0\r\n\r\n")),
    "a chunk that ends its line too early": (400, chunked(b"2\n{}\r\n0\r\n\r\n")),
    "a length with a sign": (400, infer(b"xx", length=b"+2")),
    "a length in hex": (400, infer(b"xx", length=b"0x2")),
    "a list of lengths": (400, infer(b"xx", length=b"2, 2")),
    "an empty length": (400, infer(b"", length=b" ")),
    "lines that end too early": (400, infer(GOOD).replace(b"\r\n", b"\n")),
    "lines that end in other ways": (400, infer(GOOD).replace(b"Host: h\r\n", b"Host: h\n")),
    "no host": (400, infer(GOOD).replace(b"Host: h\r\n", b"")),
    "two hosts": (400, infer(GOOD, b"Host: g")),
    "a header without a name": (400, infer(GOOD, b": y")),
    "a line that is no header": (400, infer(GOOD, b"Xy")),
    "a method that nobody knows": (400, b"FOO /v2 HTTP/1.1\r\nHost: h\r\n\r\n"),
    "an upgrade to HTTP/2": (200, infer(GOOD, b"Connection: Upgrade, HTTP2-Settings", b"Upgrade: h2c")),
    "a zero byte in a header": (400, b"GET /v2 HTTP/1.1\r\nX: a\0b\r\n\r\n"),
    "a space before a colon": (400, infer(GOOD, b"X : y")),
    "a number too long for int": (400, infer(b"{}", b"Inference-Header-Content-Length: " + b"9" * 5000)),
    "a number in other digits": (400, infer(b"{}", "Inference-Header-Content-Length: ٢".encode())),
    "a header longer than the body": (400, infer(b"{}", b"Inference-Header-Content-Length: 3")),
}
BODIES: dict[str, tuple[int, bytes]] = {
    "a million lists in each other": (400, infer(b"[" * 1_000_000)),
    "a million objects in each other": (400, infer(b'{"a":' * 1_000_000)),
    "ten million objects": (400, infer(b"[" + b"{}," * 10_000_000 + b"{}]")),
    "ten million lists": (400, infer(b"[" + b"[]," * 10_000_000 + b"[]]")),
    "data in a thousand lists": (400, numbers(b"[" * 1000 + b"1,2" + b"]" * 1000)),
    "1e400": (400, numbers(b"[1e400,1]")),
    "1e39 in 32 bits": (400, numbers(b"[1e39,1]")),
    "NaN": (400, numbers(b"[NaN,1]")),
    "Infinity": (400, numbers(b"[Infinity,1]")),
    "a whole number of 5000 digits": (400, numbers(b"[" + b"9" * 5000 + b",1]")),
    "not UTF-8": (400, infer(b'{"id":"\xff","inputs":[]}')),
    "half of a pair": (400, infer(b'{"id":"\\ud800","inputs":[]}')),
    "a key twice": (200, numbers(b'[1,2],"data":[3,4]')),
    "a shape whose product is beyond 64 bits": (400, numbers(b"[]", b"[4611686018427387904,2]")),
    "a dimension beyond 64 bits": (400, numbers(b"[]", b"[18446744073709551616,2]")),
    "a dimension below zero": (400, numbers(b"[]", b"[-1,2]")),
    "a dimension that is true": (400, numbers(b"[1,2]", b"[true,2]")),
    "no rows": (200, numbers(b"[]", b"[0,2]")),
    "a bomb of gzip": (413, infer(gzip.compress(bytes(200_000_000)), b"Content-Encoding: gzip")),
    "a bomb of deflate": (413, infer(zlib.compress(bytes(200_000_000)), b"Content-Encoding: deflate")),
    "five million short texts": (400, numbers(b"[" + b'"ab",' * 5_000_000 + b'"ab"]')),
    "seven million numbers": (400, numbers(b"[" + b"1.5," * 7_000_000 + b"1.5]")),
    "a name of twenty megabytes": (400, infer({"inputs": [{"name": "n" * 20_000_000}]})),
    "an id of ten megabytes": (400, infer({"id": "i" * 10_000_000, **GOOD})),
    "a datatype in a thousand lists": (
        400,
        infer(json.dumps(GOOD).encode().replace(b'"FP32"', b"[" * 1000 + b"]" * 1000)),
    ),
    "brotli": (415, infer(GOOD, b"Content-Encoding: br")),
    "zstandard": (415, infer(GOOD, b"Content-Encoding: zstd")),
    "gzip behind identity": (415, infer(GOOD, b"Content-Encoding: identity", b"Content-Encoding: gzip")),
    "many small bombs": (400, infer(gzip.compress(bytes(1000)) * 30_000, b"Content-Encoding: gzip")),
    "gzip in gzip": (415, infer(b"x", b"Content-Encoding: gzip, gzip")),
    "gzip cut off": (400, infer(gzip.compress(json.dumps(GOOD).encode())[:-4], b"Content-Encoding: gzip")),
}


@pytest.mark.parametrize("name", [*HTTP, *BODIES])
def test_each_attack_has_its_answer(server: Attacked, name: str) -> None:
    expected, sent = (HTTP | BODIES)[name]
    status, answer = server.ask(sent)
    assert status == expected, answer
    if status >= 400:
        assert set(answer) == {"error"}
        assert 0 < len(answer["error"]) < 10_000
    assert server.is_alive()


def test_all_of_it_takes_a_bounded_amount_of_memory(server: Attacked) -> None:
    before = server.megabytes("VmRSS")
    for expected, sent in BODIES.values():
        assert server.ask(sent)[0] == expected
    assert server.megabytes("VmHWM") - before < GROWTH_MB_MAX


def test_ten_thousand_requests_at_once_are_answered_one_after_the_other(server: Attacked) -> None:
    request, answered, tail = infer(GOOD), 0, b""
    with server.connect() as connection:
        sender = threading.Thread(target=connection.sendall, args=(request * 10_000,))
        sender.start()
        while answered < 10_000 and (data := connection.recv(1 << 20)):
            answered += (tail + data).count(b"HTTP/1.1 200")
            tail = (tail + data)[-11:]  # one byte less than what is counted
        sender.join()
    assert answered == 10_000
    assert server.is_alive()


def test_a_model_that_loops_for_ever_ends_at_its_deadline_and_a_crowd_is_sent_away(start: Start) -> None:
    server = start(onnx_models.counter(), request_timeout_seconds=1.0, concurrency_max=4, queue_max=8)

    def rounds(count: int) -> bytes:
        return infer({"inputs": [{"name": "rounds", "shape": [1], "datatype": "INT64", "data": [count]}]})

    assert server.ask(rounds(3))[0] == 200
    connections = [server.connect() for _ in range(60)]
    started = time.monotonic()
    for connection in connections:
        connection.sendall(rounds(2**60))
    answers = Counter(read(connection)[0] for connection in connections)
    assert time.monotonic() - started < 10
    for connection in connections:
        connection.close()
    assert set(answers) == {429, 504}
    assert answers[504] <= 4 + 8 + 1
    assert server.ask(rounds(3)) == (200, {"model_name": "m", "outputs": [Y_AFTER_THREE]})


Y_AFTER_THREE = {"name": "y", "datatype": "INT64", "shape": [], "data": [24]}


def test_rows_of_nothing_count_for_nothing(start: Start) -> None:
    server = start(onnx_models.identity("FP32", [None, None]))
    for rows in (b"1099511627776", b"4611686018427387904"):
        assert server.ask(numbers(b"[]", b"[%b,0]" % rows))[0] in {200, 400}
    assert server.ask(numbers(b"[1,2]"))[0] == 200
    with socket.create_connection(("127.0.0.1", server.management_port), SECONDS_MAX) as connection:
        connection.sendall(b"GET /metrics HTTP/1.0\r\n\r\n")
        with connection.makefile() as stream:
            [rows_total] = [line for line in stream if line.startswith("penstock_rows_total")]
    assert float(rows_total.split()[-1]) == 1
