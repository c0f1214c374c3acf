"""Fixtures for every test: a real control plane with the CRDs, and namespaces in it."""

import itertools
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from cluster.embedded.control_plane import ControlPlane
from tests.fakes.people import People, install_crds

from penstock_operator.adapters.api_client import Access, load_access

_NUMBERS = itertools.count(1)


def pytest_make_parametrize_id(val: object, argname: str) -> str | None:
    """Names a case of bytes by its argument: some bytes differ by the second, and then no two workers collect alike."""
    return argname if isinstance(val, bytes) else None


@pytest.fixture(scope="session")
def control_plane(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ControlPlane]:
    """One etcd, API server and controller manager for the whole run, with the CRDs and an audit log."""
    directory = tmp_path_factory.mktemp("control-plane")
    with ControlPlane(directory, audit_log=directory / "audit.log", die_with_parent=True) as running:
        install_crds(running.kubeconfig)
        yield running


@pytest.fixture(scope="session")
def kubeconfig(control_plane: ControlPlane) -> Path:
    """The administrator's kubeconfig of the control plane."""
    return control_plane.kubeconfig


@pytest.fixture
async def access(kubeconfig: Path) -> Access:
    """The administrator's access to the control plane."""
    return await load_access(str(kubeconfig))


@pytest.fixture
async def people(access: Access) -> AsyncIterator[People]:
    """Somebody who creates, edits and deletes objects as kubectl does."""
    async with People(access) as acting:
        yield acting


@pytest.fixture
async def namespace(people: People) -> AsyncIterator[str]:
    """A namespace of the test's own."""
    name = f"test-{next(_NUMBERS)}"
    await people.create_namespace(name)
    yield name
    await people.delete_namespace(name)
