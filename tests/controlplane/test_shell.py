"""The operator process against a real API server: watching, electing, writing, leaving."""

import asyncio
import json
import time
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import pytest
from cluster.embedded.control_plane import API_SERVER, ETCD, ControlPlane
from tests.controlplane.conftest import StartOperator
from tests.controlplane.operator_process import OperatorProcess
from tests.fakes.cable import Cable
from tests.fakes.people import People, install_crds, reference, remove_crds

from penstock_operator.adapters.api_client import load_access
from penstock_operator.core.names import managed_labels
from penstock_operator.core.objects import Kind, Manifest, ObjectRef

pytestmark = pytest.mark.controlplane

WRITES = frozenset({"create", "update", "patch", "delete"})


def model_deployment(namespace: str, name: str = "fraud", **spec: Any) -> Manifest:
    return {
        "apiVersion": "penstock.dev/v1alpha1",
        "kind": "ModelDeployment",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {"model": {"uri": "configmap://models/model.onnx", "sha256": "0" * 64}, **spec},
    }


def requests(audit_log: Path, namespace: str, *agents: str) -> list[dict[str, Any]]:
    """Return the answered requests of these agents in a namespace, in order, without the Lease's."""
    lines = [json.loads(line) for line in audit_log.read_text().splitlines()]
    return [
        line
        for line in lines
        if line.get("userAgent", "").startswith(agents)
        and line.get("objectRef", {}).get("namespace") == namespace
        and line["objectRef"]["resource"] != "leases"
    ]


def writes(audit_log: Path, namespace: str) -> list[dict[str, Any]]:
    return [line for line in requests(audit_log, namespace, "penstock-operator") if line["verb"] in WRITES]


async def deployments(people: People, namespace: str, count: int, seconds: float = 10) -> list[Manifest]:
    """Return the Deployments of a namespace once there are so many."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        found = await people.list(Kind.DEPLOYMENT, namespace)
        if len(found) == count:
            return list(found)
        await asyncio.sleep(0.02)
    raise AssertionError(f"{len(found)} Deployments instead of {count} after {seconds} s")


async def until_quiet(audit_log: Path, namespace: str, seconds: float = 3) -> int:
    """Return how many writes there were when there were no more for so many seconds."""
    count, since = -1, time.monotonic()
    while time.monotonic() - since < seconds:
        now = len(writes(audit_log, namespace))
        if now != count:
            count, since = now, time.monotonic()
        await asyncio.sleep(0.1)
    return count


@pytest.mark.usefixtures("operator")
async def test_a_new_object_is_acted_on_within_a_second(people: People, namespace: str) -> None:
    await people.create(model_deployment(namespace, "warm-up"))
    await deployments(people, namespace, 1)
    started = time.monotonic()
    await people.create(model_deployment(namespace))
    await deployments(people, namespace, 2)
    assert time.monotonic() - started < 1


@pytest.mark.usefixtures("operator")
async def test_an_unchanged_world_gets_no_writes(people: People, namespace: str, audit_log: Path) -> None:
    await people.create(model_deployment(namespace))
    await deployments(people, namespace, 1)
    before = await until_quiet(audit_log, namespace)
    await asyncio.sleep(10)
    assert len(writes(audit_log, namespace)) == before


async def test_what_exists_already_is_found_at_the_start(
    people: People, namespace: str, start_operator: StartOperator
) -> None:
    await people.create(model_deployment(namespace))
    start_operator()
    await deployments(people, namespace, 1, seconds=30)


@pytest.mark.usefixtures("operator")
async def test_a_child_that_somebody_deletes_comes_back(people: People, namespace: str) -> None:
    await people.create(model_deployment(namespace))
    (child,) = await deployments(people, namespace, 1)
    await people.delete(reference({**child, "apiVersion": "apps/v1", "kind": "Deployment"}))
    live = await people.until(
        ObjectRef(kind=Kind.DEPLOYMENT, namespace=namespace, name=child["metadata"]["name"]),
        lambda now: now is not None and now["metadata"]["uid"] != child["metadata"]["uid"],
    )
    assert live["spec"] == child["spec"]


@pytest.mark.usefixtures("operator")
async def test_a_child_that_lost_its_label_gets_it_back(people: People, namespace: str) -> None:
    await people.create(model_deployment(namespace))
    (child,) = await deployments(people, namespace, 1)
    ref = ObjectRef(kind=Kind.DEPLOYMENT, namespace=namespace, name=child["metadata"]["name"])
    for _ in range(2):
        await people.patch(ref, {"metadata": {"labels": {"app.kubernetes.io/managed-by": None}}})
        await people.until(ref, lambda now: now and "app.kubernetes.io/managed-by" in now["metadata"]["labels"])


async def test_a_killed_and_restarted_api_server_is_no_end(
    people: People, namespace: str, operator: OperatorProcess, control_plane: ControlPlane
) -> None:
    await people.create(model_deployment(namespace, "before"))
    await deployments(people, namespace, 1)
    for component in (API_SERVER, ETCD):
        control_plane.kill(component)
    await asyncio.sleep(2)
    for component in (ETCD, API_SERVER):
        control_plane.start_component(component)
    control_plane.wait_ready()
    await people.create(model_deployment(namespace, "after"))
    await deployments(people, namespace, 2, seconds=30)
    assert operator.running()
    assert operator.get("/healthz")[0] == 200


async def test_a_control_plane_that_is_away_for_longer_than_the_lease_ends_the_process(
    operator: OperatorProcess, control_plane: ControlPlane
) -> None:
    with control_plane.paused(API_SERVER):
        started = time.monotonic()
        assert await asyncio.to_thread(operator.wait, 30) == 1
        assert time.monotonic() - started < 15, "before the lease has run out for others"


async def test_a_frozen_leader_never_writes_beside_its_successor(
    people: People, namespace: str, start_operator: StartOperator, audit_log: Path
) -> None:
    leader = start_operator()
    leader.wait_until_leading()
    standby = start_operator()
    standby.wait_until_ready()
    assert standby.metric("penstock_leader") == 0
    await people.create(model_deployment(namespace, "first"))
    await deployments(people, namespace, 1)

    leader.freeze()
    await people.create(model_deployment(namespace, "second"))
    await deployments(people, namespace, 2, seconds=25)
    leader.resume()
    assert leader.wait(2) == 1
    await people.create(model_deployment(namespace, "third"))
    await deployments(people, namespace, 3)

    agents = [line["userAgent"] for line in writes(audit_log, namespace)]
    taken_over = agents.index(f"penstock-operator ({standby.name})")
    assert set(agents[:taken_over]) == {f"penstock-operator ({leader.name})"}
    assert set(agents[taken_over:]) == {f"penstock-operator ({standby.name})"}


async def test_a_leader_that_is_asked_to_stop_hands_over_at_once(
    people: People, namespace: str, start_operator: StartOperator
) -> None:
    leader = start_operator()
    leader.wait_until_leading()
    standby = start_operator()
    standby.wait_until_ready()
    started = time.monotonic()
    leader.terminate()
    assert leader.wait(5) == 0
    standby.wait_until_leading(5)
    assert time.monotonic() - started < 4
    await people.create(model_deployment(namespace))
    await deployments(people, namespace, 1)


async def test_a_standby_that_is_asked_to_stop_does_so(start_operator: StartOperator) -> None:
    leader = start_operator()
    leader.wait_until_leading()
    standby = start_operator()
    standby.wait_until_ready()
    standby.terminate()
    assert standby.wait(5) == 0
    assert leader.metric("penstock_leader") == 1


def test_a_restarted_container_leads_again_without_waiting_for_its_old_lease(start_operator: StartOperator) -> None:
    first = start_operator(POD_NAME="pod", POD_UID="uid")
    first.wait_until_leading()
    first.kill()
    started = time.monotonic()
    start_operator(POD_NAME="pod", POD_UID="uid").wait_until_leading(10)
    assert time.monotonic() - started < 8


async def test_the_leader_points_the_xds_service_at_itself(
    people: People, namespace: str, start_operator: StartOperator
) -> None:
    leader = start_operator(POD_IP="10.1.2.3")
    leader.wait_until_leading()
    path = f"/apis/discovery.k8s.io/v1/namespaces/{namespace}/endpointslices/penstock-xds"
    deadline = time.monotonic() + 10
    while (live := await people.client.request("get", path, resource="endpointslices")) is None:
        assert time.monotonic() < deadline
        await asyncio.sleep(0.05)
    assert live["metadata"]["labels"]["kubernetes.io/service-name"] == "penstock-xds"
    assert [endpoint["addresses"] for endpoint in live["endpoints"]] == [["10.1.2.3"]]
    assert live["ports"] == [{"name": "xds", "port": leader.xds_port, "protocol": "TCP"}]


def labelled_service(namespace: str, name: str) -> Manifest:
    metadata = {"name": name, "namespace": namespace, "labels": managed_labels("test")}
    return {"apiVersion": "v1", "kind": "Service", "metadata": metadata, "spec": {"ports": [{"port": 80}]}}


def cached(process: OperatorProcess, kind: str) -> float | None:
    return process.metric(f'penstock_cached_objects{{kind="{kind}"}}')


async def until_cached(process: OperatorProcess, kind: str, count: int, seconds: float = 15) -> None:
    deadline = time.monotonic() + seconds
    while await asyncio.to_thread(cached, process, kind) != count:
        assert time.monotonic() < deadline, f"{cached(process, kind)} of kind {kind} known instead of {count}"
        await asyncio.sleep(0.05)


# The cable drops connections that were just being accepted; that is what it is for.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
async def test_a_deletion_that_no_watch_could_tell_of_is_found_out(
    people: People, namespace: str, start_operator: StartOperator, control_plane: ControlPlane, tmp_path: Path
) -> None:
    with Cable(urlsplit(control_plane.server).port or 0) as cable:
        through = cable.kubeconfig(control_plane.kubeconfig, tmp_path / "kubeconfig")
        process = start_operator(KUBECONFIG=str(through), LEADER_ELECTION="false")
        for name in ("goes", "stays"):
            await people.create(labelled_service(namespace, name))
        await until_cached(process, "Service", 2, seconds=30)

        cable.cut()
        await people.delete(ObjectRef(kind=Kind.SERVICE, namespace=namespace, name="goes"))
        control_plane.kill(API_SERVER)  # a new one does not know what happened before it: 410 for the old watch
        control_plane.start_component(API_SERVER)
        control_plane.wait_ready()
        cable.mend()
        await until_cached(process, "Service", 1, seconds=20)


# The cable drops connections that were just being accepted; that is what it is for.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
async def test_a_cut_connection_loses_no_events(
    people: People, namespace: str, start_operator: StartOperator, control_plane: ControlPlane, tmp_path: Path
) -> None:
    with Cable(urlsplit(control_plane.server).port or 0) as cable:
        through = cable.kubeconfig(control_plane.kubeconfig, tmp_path / "kubeconfig")
        process = start_operator(KUBECONFIG=str(through))
        process.wait_until_leading()
        for number in range(5):
            cable.cut()
            await people.create(model_deployment(namespace, f"model-{number}"))
            cable.mend()
        await deployments(people, namespace, 5, seconds=15)
        assert process.running()


async def test_other_peoples_objects_are_not_even_read(
    operator: OperatorProcess, audit_log: Path, namespace: str
) -> None:
    await asyncio.sleep(2)
    operator.terminate()  # a watch is in the audit log when it ends
    assert operator.wait(5) == 0
    plurals = {kind.resource.plural for kind in Kind}
    deadline = time.monotonic() + 5
    uris: list[str] = []
    while {uri.partition("?")[0].rpartition("/")[2] for uri in uris if "watch=true" in uri} != plurals:
        assert time.monotonic() < deadline, uris
        await asyncio.sleep(0.05)
        uris = [unquote(line["requestURI"]) for line in requests(audit_log, namespace, "penstock-operator", "kopf")]
    for uri in uris:
        ours = "/apis/penstock.dev/" in uri
        assert ours != ("labelSelector=app.kubernetes.io/managed-by=penstock" in uri), uri


def test_an_operator_survives_that_its_crds_come_late_go_and_come_again(tmp_path: Path) -> None:
    with ControlPlane(tmp_path / "cp", die_with_parent=True) as empty:
        process = OperatorProcess(
            "early",
            kubeconfig=empty.kubeconfig,
            namespace="default",
            log=tmp_path / "early.log",
            environment={"WATCH_NAMESPACES": ""},
        )
        try:
            deadline = time.monotonic() + 10
            while "modeldeployments" not in process.get("/readyz")[1]:
                assert time.monotonic() < deadline
                time.sleep(0.05)
            install_crds(empty.kubeconfig)
            process.wait_until_leading(30)

            asyncio.run(remove_and_restore_crds(process, empty.kubeconfig))
        finally:
            process.kill()
            print(process.log.read_text())  # noqa: T201 - shown when the test fails


async def remove_and_restore_crds(process: OperatorProcess, kubeconfig: Path) -> None:
    async with People(await load_access(str(kubeconfig))) as people:
        await people.create(model_deployment("default"))
        await until_cached(process, "ModelDeployment", 1)
        await remove_crds(people)
        await until_cached(process, "ModelDeployment", 0)
        await asyncio.to_thread(install_crds, kubeconfig)
        await people.create(model_deployment("default"))
        await until_cached(process, "ModelDeployment", 1, seconds=45)


def test_settings_that_cannot_be_read_are_named(tmp_path: Path, kubeconfig: Path) -> None:
    log = tmp_path / "bad.log"
    process = OperatorProcess(
        "bad", kubeconfig=kubeconfig, namespace="default", log=log, environment={"WORKERS": "many"}
    )
    assert process.wait(20) == 1
    assert log.read_text().startswith("penstock-operator: WORKERS='many' is not a whole number")
