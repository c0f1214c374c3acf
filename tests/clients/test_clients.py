"""Clients that others wrote, each in an environment of its own, against our server as a process."""

import json
import re
import subprocess
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest
from tests.clients.environments import programs_of
from tests.conformance.exchange import Target

PROGRAMS = Path(__file__).parent / "programs"
#: Which client runs a program, against which of the models.
RUNS = {
    "triton_http": ("tritonclient", "everything"),
    "triton_http_aio": ("tritonclient", "arithmetic"),
    "triton_grpc": ("tritonclient", "everything"),
    "kserve_rest": ("kserve", "arithmetic"),
    "kserve_grpc": ("kserve", "arithmetic"),
    "mlserver_types": ("mlserver", "arithmetic"),
}


def checks() -> Iterator[tuple[str, str]]:
    """Every program with each of its checks."""
    for program in RUNS:
        for check in re.findall(r"^(?:async )?def (check_\w+)", (PROGRAMS / f"{program}.py").read_text(), re.MULTILINE):
            yield program, check


@cache
def outcomes(program: str, url: str, grpc: str) -> dict[str, str | None]:
    """What came of a program's checks; they are run once, together."""
    python = programs_of(RUNS[program][0]) / "python"
    command = [str(python), str(PROGRAMS / "runner.py"), str(PROGRAMS / f"{program}.py"), url, grpc]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    found: dict[str, str | None] = json.loads(done.stdout.splitlines()[-1])
    return found


def test_every_program_is_run() -> None:
    assert {path.stem for path in PROGRAMS.glob("*.py")} - {"runner"} == set(RUNS)


@pytest.mark.parametrize(("program", "check"), list(checks()))
def test_the_client_is_content(request: pytest.FixtureRequest, program: str, check: str) -> None:
    target: Target = request.getfixturevalue(RUNS[program][1])
    failure = outcomes(program, f"{target.host}:{target.port}", target.grpc)[check]
    assert failure is None, failure


@pytest.mark.parametrize("options", [[], ["--binary-data"]], ids=["JSON", "binary"])
def test_mlservers_batch_client_asks_many_times(arithmetic: Target, tmp_path: Path, options: list[str]) -> None:
    tensors = [{"name": name, "shape": [1, 2], "datatype": "FP32", "data": [1, 2]} for name in ("a", "b")]
    (tmp_path / "in").write_text("\n".join([json.dumps({"inputs": tensors})] * 20) + "\n")
    command = [
        *(str(programs_of("mlserver") / "mlserver"), "infer"),
        *("-u", f"{arithmetic.host}:{arithmetic.port}", "-m", arithmetic.model),
        *("-i", str(tmp_path / "in"), "-o", str(tmp_path / "out"), *options),
    ]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    answers = [json.loads(line) for line in (tmp_path / "out").read_text().splitlines()]
    assert len(answers) == 20
    for answer in answers:
        assert {one["name"]: one["data"] for one in answer["outputs"]} == {"sum": [2, 4], "difference": [0, 0]}
