"""Operator processes against the real control plane."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from cluster.embedded.control_plane import ControlPlane
from tests.controlplane.operator_process import OperatorProcess

StartOperator = Callable[..., OperatorProcess]


@pytest.fixture
def start_operator(
    request: pytest.FixtureRequest, kubeconfig: Path, namespace: str, tmp_path: Path
) -> Iterator[StartOperator]:
    """Start operators that watch the test's namespace and compete for a Lease there. Their logs show on failure."""
    started: list[OperatorProcess] = []

    def start(**environment: str) -> OperatorProcess:
        name = f"operator-{len(started)}"
        access = Path(environment.pop("KUBECONFIG", kubeconfig))
        process = OperatorProcess(
            name, kubeconfig=access, namespace=namespace, log=tmp_path / f"{name}.log", environment=environment
        )
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()
        request.node.add_report_section("call", process.name, process.log.read_text()[-20_000:])


@pytest.fixture
def operator(start_operator: StartOperator) -> OperatorProcess:
    """One operator that leads."""
    process = start_operator()
    process.wait_until_leading()
    return process


@pytest.fixture
def audit_log(control_plane: ControlPlane) -> Path:
    """Every request that the API server has answered."""
    return control_plane.directory / "audit.log"
