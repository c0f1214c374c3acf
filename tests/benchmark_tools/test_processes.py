import os
import socket
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from benchmarks.serving.processes import HOST, ServerFailed, ServerProcess, free_port, listening_inodes, pinned

CORE = min(os.sched_getaffinity(0))


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    with socket.create_server((HOST, 0)) as listening:
        yield listening


@pytest.fixture
def server(tmp_path: Path) -> Iterator[tuple[ServerProcess, int]]:
    port = free_port()
    command = [sys.executable, "-S", "-m", "http.server", "--bind", HOST, str(port)]
    process = ServerProcess(command, environment={}, core=CORE, log=tmp_path / "log")
    yield process, port
    process.end()


def test_a_server_is_ready_when_it_answers_and_its_port_is_its_own(server: tuple[ServerProcess, int]) -> None:
    process, port = server
    assert process.wait_ready(port, "/") > 0
    process.check_owns(port)
    assert os.sched_getaffinity(process.pid) == {CORE}
    assert 3 < process.resident_megabytes() < 100


def test_a_port_on_which_somebody_else_listens_is_refused(
    server: tuple[ServerProcess, int], listener: socket.socket
) -> None:
    process, port = server
    process.wait_ready(port, "/")
    with pytest.raises(ServerFailed, match="somebody else"):
        process.check_owns(listener.getsockname()[1])


def test_a_server_that_ends_at_once_is_told_with_its_last_words(tmp_path: Path) -> None:
    process = ServerProcess(
        [sys.executable, "-S", "-c", "raise SystemExit('no such model')"],
        environment={},
        core=CORE,
        log=tmp_path / "log",
    )
    with pytest.raises(ServerFailed, match="no such model"):
        process.wait_ready(free_port(), "/")
    process.end()


def test_a_paused_server_answers_after_it_is_resumed(server: tuple[ServerProcess, int]) -> None:
    process, port = server
    process.wait_ready(port, "/")
    process.pause()
    with socket.create_connection((HOST, port)) as client:
        client.settimeout(0.05)
        client.sendall(b"GET / HTTP/1.0\r\n\r\n")
        with pytest.raises(TimeoutError):
            client.recv(1)
        process.resume()
        client.settimeout(5)
        assert client.recv(8) == b"HTTP/1.0"


def test_listeners_are_found_by_port(listener: socket.socket) -> None:
    assert len(listening_inodes(listener.getsockname()[1])) == 1


def test_pinning_ends_with_its_block() -> None:
    before = os.sched_getaffinity(0)
    with pinned(CORE):
        assert os.sched_getaffinity(0) == {CORE}
    assert os.sched_getaffinity(0) == before
