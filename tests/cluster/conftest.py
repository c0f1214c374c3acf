"""A whole cluster with Penstock in it, and a namespace for each test class."""

import fcntl
import itertools
import os
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tests.cluster.api import Api, kubeconfig_from_environment, wait
from tests.cluster.operators import AuditLog, Operators
from tests.cluster.scene import Scene
from tests.cluster.stage import Stage, Stages

_NUMBERS = itertools.count(1)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Order the classes: those that may share the cluster, then those that disturb it, then those that measure it.

    Among the first the longest begin first, so that several processes end together; xdist keeps this order only with
    ``--no-loadscope-reorder``. Among those that disturb the longest come last: the one that stops the control plane,
    which nothing that is still being installed would survive.
    """
    mine = [(place, item) for place, item in enumerate(items) if item.get_closest_marker("cluster")]
    ordered = sorted((item for _, item in mine), key=_turn_of)
    for (place, _), item in zip(mine, ordered, strict=True):
        items[place] = item


def _turn_of(item: pytest.Item) -> tuple[bool, bool, float]:
    is_quiet = item.get_closest_marker("quiet") is not None
    is_alone = is_quiet or item.get_closest_marker("alone") is not None
    lasts = getattr(getattr(item, "cls", None), "lasts_seconds", 0.0)
    return is_quiet, is_alone, lasts if is_alone else -lasts


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
    """Let classes run at the same time in several processes, but those marked alone or quiet each by itself."""
    is_alone = any(request.node.get_closest_marker(mark) for mark in ("alone", "quiet"))
    with (Path(tempfile.gettempdir()) / "penstock-cluster-tests.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX if is_alone else fcntl.LOCK_SH)
        yield


@pytest.fixture(scope="session")
def stages(api: Api) -> Iterator[Stages]:
    """Makes the stage when it is first asked for."""
    made = Stages(api, f"e2e-stage-{os.getpid()}")
    yield made
    made.strike()


@pytest.fixture
def stage(stages: Stages, operators: Operators, request: pytest.FixtureRequest) -> Iterator[Stage]:
    """A model behind a split with a client, whole and at rest, that the tests share which disturb the operator."""
    found = stages.stage()
    failed_before = request.session.testsfailed
    yield found
    if request.session.testsfailed > failed_before:
        print(found.scene.picture())  # noqa: T201 - pytest shows it beside the failure
        stages.strike()


@pytest.fixture
def until_quiet(api: Api, stages: Stages, scene: Scene) -> Callable[[], None]:
    """Waits until nothing of other tests is left in the cluster."""
    stages.strike()
    names = [item["metadata"]["name"] for item in api.list("Namespace")]
    ending = [name for name in names if name.startswith("e2e-") and name != scene.namespace]

    def until() -> None:
        wait("other tests' namespaces are gone", lambda: not any(api.get("Namespace", n) for n in ending), seconds=120)

    return until


@pytest.fixture(scope="class")
def scene(api: Api, operators: Operators, request: pytest.FixtureRequest) -> Iterator[Scene]:
    """A namespace of the class's own, with the example models."""
    made = Scene(api, f"e2e-{next(_NUMBERS)}-{os.getpid()}")
    made.prepare()
    yield made
    if request.session.testsfailed:
        print(made.picture())  # noqa: T201 - pytest shows it beside the failure
    api.delete("Namespace", made.namespace)
