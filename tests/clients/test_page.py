"""What docs/serving.md shows happens: the command says what it shows, and its programs run."""

import re
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.clients.environments import programs_of

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "serving.md").read_text()
#: Times, ports and the rest of a line that is too long for the page.
VARYING = re.compile(r"[\d.]+(?:e-\d+)?|, …}.*|, \"datatype.*")


@pytest.fixture(scope="module")
def said(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[str]]:
    """What the command of the page says, on ports of its own, while it serves."""
    output = tmp_path_factory.mktemp("page") / "output"
    command = [sys.executable, "-m", "penstock_server", "tumor-v1.onnx", "--port", "0", "--management-port", "0"]
    with output.open("wb") as written:
        process = subprocess.Popen(command, cwd=ROOT / "examples" / "models", stdout=written, stderr=subprocess.STDOUT)
    deadline = time.monotonic() + 30
    while "curl" not in output.read_text():
        assert process.poll() is None, output.read_text()
        assert time.monotonic() < deadline
        time.sleep(0.05)
    yield output.read_text().splitlines()
    process.kill()
    process.wait()


def test_the_command_says_what_the_page_shows(said: list[str]) -> None:
    [block] = re.findall(r"```console\n\$ penstock-server[^\n]*\n(.*?)```", PAGE, re.DOTALL)
    shown = [VARYING.sub("…", line) for line in block.splitlines()]
    assert shown == [VARYING.sub("…", line) for line in said]


@pytest.mark.parametrize(
    ("program", "client"),
    [
        pytest.param(program, "tritonclient" if "tritonclient" in program else "", id=f"program {number}")
        for number, program in enumerate(re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL), start=1)
    ],
)
def test_the_programs_of_the_page_run(said: list[str], program: str, client: str) -> None:
    [address] = {address for line in said for address in re.findall(r"served at http://([^/]+)", line)}
    python = str(programs_of(client) / "python") if client else sys.executable
    command = [python, "-c", program.replace("127.0.0.1:8080", address)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    assert "0." in done.stdout
