"""The control plane for tests, with real processes."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from cluster.embedded.control_plane import API_SERVER, CONTROLLER_MANAGER, ETCD, ControlPlane

pytestmark = pytest.mark.controlplane


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("control-plane")


@pytest.fixture(scope="module")
def control_plane(folder: Path) -> Iterator[ControlPlane]:
    with ControlPlane(folder / "state", audit_log=folder / "audit.log", die_with_parent=True) as started:
        yield started


def test_it_listens_on_loopback_alone(control_plane: ControlPlane) -> None:
    assert control_plane.server.startswith("https://127.0.0.1:")
    assert control_plane.probe().status("/readyz") == 200


def test_the_kubeconfig_is_for_its_owner_alone(control_plane: ControlPlane) -> None:
    assert control_plane.kubeconfig.stat().st_mode & 0o077 == 0
    assert json.loads(control_plane.kubeconfig.read_text())["clusters"][0]["cluster"]["server"] == control_plane.server


def test_every_request_is_in_the_audit_log(control_plane: ControlPlane, folder: Path) -> None:
    control_plane.probe().read("/api/v1/namespaces/kube-system")
    requests = [json.loads(line) for line in (folder / "audit.log").read_text().splitlines()]
    mine = [request for request in requests if request["requestURI"] == "/api/v1/namespaces/kube-system"]
    assert any(request["user"]["username"] == "kubernetes-admin" and request["verb"] == "get" for request in mine)


def test_data_and_address_outlive_the_death_of_every_process(control_plane: ControlPlane) -> None:
    before = control_plane.probe().read("/api/v1/namespaces/default")
    server = control_plane.server
    for component in (API_SERVER, CONTROLLER_MANAGER, ETCD):
        control_plane.kill(component)
        assert not control_plane.is_alive(component)
    assert control_plane.probe().status("/readyz") == 0
    control_plane.start()
    after = control_plane.probe().read("/api/v1/namespaces/default")
    assert before is not None
    assert after is not None
    assert after["metadata"]["uid"] == before["metadata"]["uid"]
    assert control_plane.server == server


def test_two_run_at_once_without_knowing_each_other(control_plane: ControlPlane, tmp_path: Path) -> None:
    with ControlPlane(tmp_path, die_with_parent=True) as other:
        assert other.server != control_plane.server
        assert other.certificates().ca.read_bytes() != control_plane.certificates().ca.read_bytes()
        assert other.probe().status("/readyz") == 200
    assert not any(other.is_alive(component) for component in other.components)
    assert control_plane.is_running()
