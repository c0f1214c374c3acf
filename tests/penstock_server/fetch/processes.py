"""Real servers on loopback, each a process that a test starts and ends."""

import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest


def binary(name: str) -> str:
    """Return a program that `make test` builds and names in PENSTOCK_<NAME>, or the one on PATH."""
    variable = f"PENSTOCK_{name.upper().replace('-', '_')}"
    found = os.environ.get(variable) or shutil.which(name)
    if not found:
        pytest.fail(f"{name} is missing: set {variable} to its binary, or run `make test`, which builds it")
    return found


def free_port() -> int:
    """Return a port that nobody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port: int = probe.getsockname()[1]
    return port


@contextmanager
def running(
    command: Sequence[str], port: int, log: Path, *, env: Mapping[str, str] | None = None, seconds: float = 10
) -> Iterator[None]:
    """Run a server until the context ends; begin when it listens."""
    with log.open("w") as output:
        process = subprocess.Popen(
            command, stdout=output, stderr=subprocess.STDOUT, env={**os.environ, **(env or {})}, cwd=log.parent
        )
    try:
        deadline = time.monotonic() + seconds
        while not _listens(port):
            assert process.poll() is None, f"{command[0]} ended: {log.read_text()[-2000:]}"
            assert time.monotonic() < deadline, f"{command[0]} does not listen: {log.read_text()[-2000:]}"
            time.sleep(0.05)
        yield
    finally:
        process.terminate()
        process.wait(20)


def _listens(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), 1).close()
    except OSError:
        return False
    return True
