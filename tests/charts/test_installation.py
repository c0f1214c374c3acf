"""The chart on a real API server: admitted by Pod Security, and with the rights it names and no more."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
from cluster.embedded.control_plane import ControlPlane
from tests.charts.conftest import CHART, Helm, Render
from tests.fakes.people import People

from penstock_operator.adapters import leader_endpoint
from penstock_operator.adapters.api_client import load_access

NAMESPACE = "penstock-system"
DEPLOYMENT: dict[str, Any] = {
    "apiVersion": "penstock.dev/v1alpha1",
    "kind": "ModelDeployment",
    "metadata": {"name": "fraud", "namespace": "default"},
    "spec": {"model": {"uri": "s3://models/fraud.onnx", "sha256": "9f2c" * 16}},
}

pytestmark = pytest.mark.controlplane


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory, helm: Helm) -> Iterator[Path]:
    """A control plane of its own, where the chart brings the CRDs; its kubeconfig."""
    with ControlPlane(tmp_path_factory.mktemp("chart"), die_with_parent=True) as running:
        asyncio.run(_restricted_namespace(running.kubeconfig))
        done = helm("install", "penstock", str(CHART), "--namespace", NAMESPACE, kubeconfig=running.kubeconfig)
        assert done.returncode == 0, done.stderr
        yield running.kubeconfig


@pytest.fixture
async def admin(installed: Path) -> AsyncIterator[People]:
    """The administrator."""
    async with People(await load_access(str(installed))) as people:
        yield people


async def _restricted_namespace(kubeconfig: Path) -> None:
    labels = {"pod-security.kubernetes.io/enforce": "restricted"}
    body = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE, "labels": labels}}
    async with People(await load_access(str(kubeconfig))) as people:
        await people.client.request("create", "/api/v1/namespaces", resource="namespaces", body=body)


async def test_a_namespace_that_enforces_restricted_admits_every_pod(admin: People, render: Render) -> None:
    manifests = render()
    pods = [entry["spec"]["template"] for entry in manifests if entry["kind"] == "Deployment"]
    pods += [entry for entry in manifests if entry["kind"] == "Pod"]
    assert len(pods) == 2
    where = f"/api/v1/namespaces/{NAMESPACE}/pods"
    for number, pod in enumerate(pods):
        # The account of helm test is made by its hook; any will do to ask Pod Security.
        spec = {**pod["spec"], "serviceAccountName": "penstock-operator"}
        body = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": f"dry-{number}"}, "spec": spec}
        assert await admin.client.request("create", where, resource="pods", body=body, query={"dryRun": "All"})


ALLOWED = [
    ("penstock.dev", "trafficsplits", "watch"),
    ("penstock.dev", "trafficsplits/status", "update"),
    ("apps", "deployments", "patch"),
    ("apps", "controllerrevisions", "delete"),
    ("", "services", "create"),
    ("", "events", "create"),
    ("", "pods", "list"),
]
DENIED = [
    ("penstock.dev", "trafficsplits", "patch"),
    ("penstock.dev", "modeldeployments", "delete"),
    ("", "secrets", "get"),
    ("", "secrets", "list"),
    ("", "configmaps", "get"),
    ("", "serviceaccounts", "delete"),
    ("networking.k8s.io", "networkpolicies", "delete"),
    ("", "pods", "create"),
    ("", "pods", "delete"),
    ("", "pods/exec", "create"),
    ("", "serviceaccounts/token", "create"),
    ("rbac.authorization.k8s.io", "clusterroles", "create"),
    ("apiextensions.k8s.io", "customresourcedefinitions", "get"),
    ("coordination.k8s.io", "leases", "update"),
    ("discovery.k8s.io", "endpointslices", "patch"),
]


async def may(admin: People, user: str, group: str, resource: str, verb: str, **where: str) -> bool:
    """Return whether a user may do something."""
    plural, _, sub = resource.partition("/")
    attributes = {"group": group, "resource": plural, "subresource": sub, "verb": verb, **where}
    body = {
        "apiVersion": "authorization.k8s.io/v1",
        "kind": "SubjectAccessReview",
        "spec": {"user": user, "resourceAttributes": attributes},
    }
    path = "/apis/authorization.k8s.io/v1/subjectaccessreviews"
    answer = await admin.client.request("create", path, resource="subjectaccessreviews", body=body)
    assert answer is not None
    return bool(answer["status"]["allowed"])


OPERATOR = f"system:serviceaccount:{NAMESPACE}:penstock-operator"


@pytest.mark.parametrize(("group", "resource", "verb"), ALLOWED)
async def test_the_operator_may(admin: People, group: str, resource: str, verb: str) -> None:
    assert await may(admin, OPERATOR, group, resource, verb, namespace="default")


@pytest.mark.parametrize(("group", "resource", "verb"), DENIED)
async def test_the_operator_may_not(admin: People, group: str, resource: str, verb: str) -> None:
    assert not await may(admin, OPERATOR, group, resource, verb, namespace="default")


@pytest.mark.parametrize(
    ("group", "resource", "verb", "name"),
    [
        ("coordination.k8s.io", "leases", "update", "penstock-operator"),
        ("discovery.k8s.io", "endpointslices", "patch", leader_endpoint._NAME),
    ],
)
async def test_what_leads_is_the_operators_by_name_alone(
    admin: People, group: str, resource: str, verb: str, name: str
) -> None:
    assert await may(admin, OPERATOR, group, resource, verb, namespace=NAMESPACE, name=name)
    assert not await may(admin, OPERATOR, group, resource, verb, namespace=NAMESPACE, name="other")


async def test_who_may_edit_a_namespace_may_serve_models_and_not_write_their_status(admin: People) -> None:
    binding = {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "RoleBinding",
        "metadata": {"name": "jane"},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "edit"},
        "subjects": [{"kind": "User", "name": "jane", "apiGroup": "rbac.authorization.k8s.io"}],
    }
    path = "/apis/rbac.authorization.k8s.io/v1/namespaces/default/rolebindings"
    await admin.client.request("create", path, resource="rolebindings", body=binding)
    assert await may(admin, "jane", "penstock.dev", "trafficsplits", "patch", namespace="default")
    assert await may(admin, "jane", "penstock.dev", "driftpolicies", "list", namespace="default")
    assert not await may(admin, "jane", "penstock.dev", "trafficsplits/status", "patch", namespace="default")


async def test_an_upgrade_changes_nothing_that_is_the_same(admin: People, installed: Path, helm: Helm) -> None:
    where = f"/apis/apps/v1/namespaces/{NAMESPACE}/deployments/penstock-operator"
    before = await admin.client.request("get", where, resource="deployments")
    done = helm("upgrade", "penstock", str(CHART), "--namespace", NAMESPACE, kubeconfig=installed)
    assert done.returncode == 0, done.stderr
    after = await admin.client.request("get", where, resource="deployments")
    assert before is not None
    assert after is not None
    assert after["metadata"]["generation"] == before["metadata"]["generation"]


async def test_an_uninstall_leaves_the_kinds_and_what_people_wrote(admin: People, installed: Path, helm: Helm) -> None:
    await admin.create(DEPLOYMENT)
    done = helm("uninstall", "penstock", "--namespace", NAMESPACE, kubeconfig=installed)
    assert done.returncode == 0, done.stderr
    where = "/apis/penstock.dev/v1alpha1/namespaces/default/modeldeployments/fraud"
    assert await admin.client.request("get", where, resource="modeldeployments")
    # The CRDs that were kept are taken over again.
    done = helm("install", "penstock", str(CHART), "--namespace", NAMESPACE, kubeconfig=installed)
    assert done.returncode == 0, done.stderr
