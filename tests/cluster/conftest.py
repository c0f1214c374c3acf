"""A whole cluster with Penstock in it, and a namespace for each test class."""

import fcntl
import itertools
import os
import tempfile
from collections.abc import Iterator
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


@pytest.fixture(scope="class")
def operators(api: Api, turn: None) -> Operators:
    """The operator's replicas, all well."""
    found = Operators(api)
    for name in found.unready():
        found.replace_if_restarted(name)
    found.wait_ready()
    return found


@pytest.fixture(scope="class")
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


@pytest.fixture(scope="class", autouse=True)
def turn(request: pytest.FixtureRequest) -> Iterator[None]:
    """Let classes run at the same time in several processes, but those that say ``alone = True`` each by itself."""
    is_alone = getattr(request.cls, "alone", False)
    with (Path(tempfile.gettempdir()) / "penstock-cluster-tests.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX if is_alone else fcntl.LOCK_SH)
        yield


@pytest.fixture(scope="class")
def scene(api: Api, operators: Operators, request: pytest.FixtureRequest) -> Iterator[Scene]:
    """A namespace of the class's own, with the example models."""
    made = Scene(api, f"e2e-{next(_NUMBERS)}-{os.getpid()}")
    made.prepare()
    yield made
    if request.session.testsfailed:
        print(made.picture())  # noqa: T201 - pytest shows it beside the failure
    api.delete("Namespace", made.namespace)
