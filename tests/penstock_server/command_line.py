"""A server as a person starts it: a process of its own, at free ports."""

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def started(model: Path) -> Iterator[tuple[str, str]]:
    """Start ``penstock-server`` with a model; yield its URL and that of its management port. Ends it afterwards."""
    process = subprocess.Popen(
        [sys.executable, "-m", "penstock_server", str(model), "--port", "0", "--management-port", "0"],
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env={**os.environ, "PYTHONUNBUFFERED": "1"},
    )  # fmt: skip
    try:
        assert process.stdout is not None
        said = ""
        while "Try it" not in said:
            line = process.stdout.readline()
            assert line, said
            said += line
        url, management = re.search(r"(http://\S+)/v2/models", said), re.search(r"(http://\S+)/metrics", said)
        assert url is not None
        assert management is not None
        yield url[1], management[1]
    finally:
        process.terminate()
        process.communicate(timeout=10)
