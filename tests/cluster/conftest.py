"""A whole cluster with Penstock in it, and a namespace for each test class."""

import itertools
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tests.cluster.api import Api, kubeconfig_from_environment
from tests.cluster.operators import AuditLog, Operators
from tests.cluster.scene import Scene

_NUMBERS = itertools.count(1)


@pytest.fixture(scope="session")
def api() -> Iterator[Api]:
    """The cluster that KUBECONFIG names."""
    kubeconfig = kubeconfig_from_environment()
    if kubeconfig is None:
        pytest.skip('needs a cluster with Penstock in it: make install, then eval "$(make -s env)"; or make test')
    found = Api(kubeconfig)
    yield found
    found.close()


@pytest.fixture(scope="session")
def operators(api: Api) -> Operators:
    """The operator's replicas, all well."""
    found = Operators(api)
    found.wait_ready()
    return found


@pytest.fixture(scope="session")
def local_operators(operators: Operators) -> Operators:
    """The operator's replicas where their processes can be reached: on a node that is this machine."""
    if any(operators.pid(pod["metadata"]["name"]) is None for pod in operators.pods()):
        pytest.skip("needs the operator's processes on this machine: CLUSTER=embedded")
    return operators


@pytest.fixture(scope="session")
def audit_log_path(api: Api) -> Path:
    """Where the API server writes down what it was asked."""
    path = api.kubeconfig.with_name("audit.log")
    if not path.exists():
        pytest.skip("needs the API server's audit log: CLUSTER=embedded")
    return path


@pytest.fixture
def audit_log(audit_log_path: Path) -> AuditLog:
    """What the API server is asked from now on."""
    return AuditLog(audit_log_path)


@pytest.fixture(scope="class")
def scene(api: Api, operators: Operators, request: pytest.FixtureRequest) -> Iterator[Scene]:
    """A namespace of the class's own, with the example models."""
    made = Scene(api, f"e2e-{next(_NUMBERS)}-{os.getpid()}")
    made.prepare()
    yield made
    if request.session.testsfailed:
        print(made.picture())  # noqa: T201 - pytest shows it beside the failure
    api.delete("Namespace", made.namespace)


@pytest.fixture(scope="class")
def later() -> Iterator[Callable[[Callable[[], object]], None]]:
    """Take steps that are done when the class is over, last first."""
    todo: list[Callable[[], object]] = []
    yield todo.append
    for step in reversed(todo):
        step()
