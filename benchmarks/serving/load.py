"""The load client: N connections in a closed loop over one epoll, in a process of its own.

Reads one job as JSON from stdin and writes what it saw as JSON to stdout. Standard library only, no event loop and no
HTTP library: about 10 µs of the client's core per request, so that it is the server that is measured.
"""

import base64
import gc
import json
import os
import select
import socket
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Protocol

from benchmarks.serving.figures import quantile
from benchmarks.serving.h2 import CallFailed, Http2Calls
from benchmarks.serving.quiet import snapshot, tree, usage

HOST = "127.0.0.1"
_SILENCE_SECONDS_MAX = 60.0
_SAMPLES_MAX = 40
#: Prime, so that samples come from all connections.
_SAMPLE_EVERY = 499
#: Larger, and each receive would cost a mapping and its page faults.
_RECEIVE_BYTES = 1 << 14


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """What to do. ``payload`` is a whole HTTP/1.1 request, or for ``grpc_path`` one protobuf message, in Base64."""

    port: int
    payload: str
    connections: int
    seconds: float
    warm_up_seconds: float
    server_pids: list[int]
    grpc_path: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What came of it. ``samples`` are answers' bodies in Base64: the first of each connection, then every 499th."""

    requests: int
    seconds: float
    p50_ms: float
    p99_ms: float
    server_cpu_seconds: float
    client_cpu_seconds: float
    foreign_cpu_seconds: dict[str, float]
    stolen_seconds: float
    samples: list[str]


class AnswerRefused(Exception):  # noqa: N818
    """The server answered with something else than success."""


class _Dialogue(Protocol):
    """One request after the other on one connection."""

    leaving: bool

    def call(self) -> None: ...
    def feed(self, data: bytes) -> bytes | None: ...


class HttpDialogue:
    """HTTP/1.1 with bodies of known length."""

    def __init__(self, *, request: bytes, write: "Writer") -> None:
        self._request = request
        self._write = write
        self._buffer = b""
        self._heads: dict[bytes, tuple[int, bool]] = {}
        self.leaving = False

    def call(self) -> None:
        """Send the request."""
        self._write(self._request)

    def feed(self, data: bytes) -> bytes | None:
        """Return the answer's body once it is complete; raise AnswerRefused for any status but 200."""
        buffer = self._buffer + data if self._buffer else data
        head_end = buffer.find(b"\r\n\r\n")
        if head_end >= 0:
            head = buffer[:head_end]
            # Answers differ in their date at most, so most heads are known: no parsing on the hot path.
            known = self._heads.get(head)
            if known is None:
                known = self._heads[head] = _read_head(head, buffer[head_end + 4 :])
            length, self.leaving = known
            if len(buffer) >= head_end + 4 + length:
                self._buffer = b""
                return buffer[head_end + 4 :]
        self._buffer = buffer
        return None


class Writer:
    """Writes to a socket that may not take everything at once."""

    def __init__(self, connected: socket.socket, poll: select.epoll) -> None:
        self._socket = connected
        self._poll = poll
        self._unsent: list[memoryview] = []

    def __call__(self, data: bytes) -> None:
        """Send the bytes, now or when the socket takes them."""
        if self._unsent:
            self._unsent.append(memoryview(data))
            return
        try:
            sent = self._socket.send(data)
        except BlockingIOError:
            sent = 0
        if sent < len(data):
            self._unsent.append(memoryview(data)[sent:])
            self._poll.modify(self._socket.fileno(), select.EPOLLIN | select.EPOLLOUT)

    def more(self) -> None:
        """Go on where the socket was full."""
        while self._unsent:
            piece = self._unsent[0]
            try:
                sent = self._socket.send(piece)
            except BlockingIOError:
                return
            if sent < len(piece):
                self._unsent[0] = piece[sent:]
                return
            self._unsent.pop(0)
        self._poll.modify(self._socket.fileno(), select.EPOLLIN)


class _Connection:
    __slots__ = ("begun", "dialogue", "socket", "writer")

    def __init__(self, job: Job, payload: bytes, poll: select.epoll) -> None:
        self.socket = socket.create_connection((HOST, job.port), timeout=10)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.socket.settimeout(0)
        poll.register(self.socket.fileno(), select.EPOLLIN)
        self.writer = Writer(self.socket, poll)
        self.dialogue: _Dialogue = (
            Http2Calls(path=job.grpc_path, message=payload, write=self.writer)
            if job.grpc_path
            else HttpDialogue(request=payload, write=self.writer)
        )
        self.begun = 0.0


class Load:
    """All connections of one job."""

    def __init__(self, job: Job) -> None:
        self._job = job
        self._payload = base64.b64decode(job.payload)
        self._poll = select.epoll()
        self._connections: dict[int, _Connection] = {}
        self._answered = 0
        self._samples_wanted = 0
        self.samples: list[bytes] = []
        for _ in range(job.connections):
            self._connect()

    def run(self, seconds: float) -> tuple[list[float], float]:
        """Keep every connection busy for that long, let the last answers come; return latencies and seconds taken."""
        clock = time.perf_counter
        latencies: list[float] = []
        self._samples_wanted = self._job.connections
        started = last = clock()
        deadline = started + seconds
        busy = len(self._connections)
        for connection in self._connections.values():
            connection.begun = clock()
            connection.dialogue.call()
        while busy:
            for connection, body in self._answers():
                last = clock()
                latencies.append(last - connection.begun)
                self._sample(body)
                following = self._replace(connection) if connection.dialogue.leaving else connection
                if last < deadline:
                    following.begun = clock()
                    following.dialogue.call()
                else:
                    busy -= 1
        return latencies, last - started

    def _answers(self) -> Iterator[tuple[_Connection, bytes]]:
        """Wait once, and yield the answers that are complete by now; raise AnswerRefused."""
        events = self._poll.poll(_SILENCE_SECONDS_MAX)
        if not events:
            raise AnswerRefused(f"no answer within {_SILENCE_SECONDS_MAX:.0f} s")
        for descriptor, event in events:
            connection = self._connections[descriptor]
            if event & select.EPOLLOUT:
                connection.writer.more()
            if event & ~select.EPOLLOUT:
                data = connection.socket.recv(_RECEIVE_BYTES)
                if not data:
                    raise AnswerRefused("the server closed a connection before it answered")
                body = connection.dialogue.feed(data)
                if body is not None:
                    yield connection, body

    def close(self) -> None:
        """End all connections."""
        for connection in self._connections.values():
            connection.socket.close()
        self._poll.close()

    def _sample(self, body: bytes) -> None:
        self._answered += 1
        if self._samples_wanted > 0 or self._answered % _SAMPLE_EVERY == 0:
            self._samples_wanted -= 1
            if len(self.samples) < _SAMPLES_MAX:
                self.samples.append(body)

    def _connect(self) -> _Connection:
        connection = _Connection(self._job, self._payload, self._poll)
        self._connections[connection.socket.fileno()] = connection
        return connection

    def _replace(self, old: _Connection) -> _Connection:
        """A server may end a connection after an answer; the next request goes over a new one."""
        del self._connections[old.socket.fileno()]
        self._poll.unregister(old.socket.fileno())
        old.socket.close()
        return self._connect()


def _read_head(head: bytes, body: bytes) -> tuple[int, bool]:
    """Return the body's length and whether the server will close the connection; raise AnswerRefused."""
    status, *lines = head.split(b"\r\n")
    if status.split(b" ")[1] != b"200":
        raise AnswerRefused(f"the server answered {status.decode('latin-1')}: {body[:200].decode('latin-1')}")
    fields = {name.strip().lower(): value.strip() for name, _, value in (line.partition(b":") for line in lines)}
    if b"content-length" not in fields:
        raise AnswerRefused("the server answered without Content-Length, which this client needs")
    return int(fields[b"content-length"]), fields.get(b"connection", b"").lower() == b"close"


def perform(job: Job) -> Outcome:
    """Warm up, then measure."""
    load = Load(job)
    try:
        if job.warm_up_seconds > 0:
            load.run(job.warm_up_seconds)
        # What warming up left must not be collected while the clock runs.
        gc.collect()
        gc.freeze()
        gc.disable()
        before = snapshot()
        latencies, seconds = load.run(job.seconds)
        after = snapshot()
    finally:
        load.close()
    server = frozenset().union(*(tree(after.processes, pid) for pid in job.server_pids))
    used = usage(before, after, server=server, client={os.getpid()})
    latencies.sort()
    return Outcome(
        requests=len(latencies),
        seconds=seconds,
        p50_ms=quantile(latencies, 0.5) * 1000,
        p99_ms=quantile(latencies, 0.99) * 1000,
        server_cpu_seconds=used.server,
        client_cpu_seconds=used.client,
        foreign_cpu_seconds=dict(used.foreign),
        stolen_seconds=used.stolen,
        samples=[base64.b64encode(sample).decode() for sample in load.samples],
    )


def main() -> None:
    """Do one job; one line on stderr and status 1 where the server did not answer as it should."""
    job = Job(**json.load(sys.stdin))
    try:
        outcome = perform(job)
    except (AnswerRefused, CallFailed, OSError) as error:
        sys.exit(f"{type(error).__name__}: {error}")
    json.dump(asdict(outcome), sys.stdout)


if __name__ == "__main__":
    main()
