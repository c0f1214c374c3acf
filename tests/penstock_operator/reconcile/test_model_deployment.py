"""A ModelDeployment from its first pod to its last revision, on a cluster in memory."""

import json
from typing import Any

import pytest
from tests.fakes.controllers import Kubelet, ready, starting
from tests.fakes.shop import Shop

from penstock_contract.termination import Reason, TerminationMessage
from penstock_operator.core.manifests.serving_pod import ServingImage
from penstock_operator.core.names import MODEL_DEPLOYMENT, REVISION
from penstock_operator.core.objects import Kind, Manifest
from penstock_operator.ports import ClusterUnavailable, RequestRejected

MD = Kind.MODEL_DEPLOYMENT
PERMANENT = frozenset(
    {
        Reason.NOT_ONNX,
        Reason.OUT_OF_MEMORY,
        Reason.TOO_LARGE,
        Reason.UNKNOWN_OPERATOR,
        Reason.UNSAFE_EXTERNAL_DATA,
        Reason.EXTERNAL_DATA_MISSING,
        Reason.EXTERNAL_DATA_UNSUPPORTED,
        Reason.LOAD_FAILED,
    }
)


def spec(digit: int = 1, **changes: Any) -> dict[str, Any]:
    return {"model": {"uri": f"s3://models/fraud/{digit}/model.onnx", "sha256": f"{digit:064x}"}, **changes}


def write(shop: Shop, digit: int = 1, **changes: Any) -> None:
    shop.apply(MD, "fraud", spec(digit, **changes))


async def serving(shop: Shop, digit: int = 1, **changes: Any) -> str:
    """Apply a spec, let it come up, and return its revision."""
    write(shop, digit, **changes)
    await shop.settle()
    return latest(shop)


def latest(shop: Shop) -> str:
    return str(shop.status(MD, "fraud")["latestRevision"])


def revision(shop: Shop, name: str) -> dict[str, Any]:
    return next(entry for entry in shop.status(MD, "fraud")["revisions"] if entry["name"] == name)


def endpoint(shop: Shop) -> dict[str, Any]:
    found: dict[str, Any] = shop.get(Kind.SERVICE, "fraud")["spec"]
    return found


def exiting(reason: Reason, *, permanent: bool, message: str = "the file says so") -> Kubelet:
    text = TerminationMessage(reason=reason, message=message, permanent=permanent).to_json()
    return crashing(text)


def crashing(message: str, *, reason: str = "Error", restarts: int = 1, waiting: bool = True) -> Kubelet:
    terminated = {"exitCode": 1, "reason": reason, "message": message}
    state = {"waiting": {"reason": "CrashLoopBackOff"}} if waiting else {"running": {"startedAt": "…"}}
    container = {
        "name": "fetch",
        "ready": False,
        "started": False,
        "restartCount": restarts,
        "state": state,
        "lastState": {"terminated": terminated},
    }
    return lambda _: {
        "phase": "Pending",
        "conditions": [{"type": "PodScheduled", "status": "True"}, {"type": "Ready", "status": "False"}],
        "initContainerStatuses": [container],
    }


# --- the first revision ---


async def test_a_new_model_deployment_gets_everything_it_needs(shop: Shop) -> None:
    name = await serving(shop)

    assert shop.names(Kind.DEPLOYMENT) == [name]
    assert shop.names(Kind.SERVICE) == ["fraud", name]
    assert shop.names(Kind.POD_DISRUPTION_BUDGET) == [name]
    assert shop.names(Kind.CONTROLLER_REVISION) == [name]
    assert shop.names(Kind.SERVICE_ACCOUNT) == shop.names(Kind.NETWORK_POLICY) == ["fraud-serving"]
    assert endpoint(shop)["selector"] == {REVISION: name}


async def test_a_first_revision_serves_when_its_pods_are_ready_and_not_before(shop: Shop) -> None:
    shop.controllers.default = starting
    name = await serving(shop)
    assert shop.condition(MD, "fraud", "Ready")["status"] == "False"
    assert "stableRevision" not in shop.status(MD, "fraud")
    assert revision(shop, name)["phase"] == "Pending"

    shop.controllers.default = ready
    await shop.settle()

    status = shop.status(MD, "fraud")
    assert (status["stableRevision"], status["readyReplicas"], status["replicas"]) == (name, "2/2", 2)
    assert status["endpoint"] == "http://fraud.shop.svc/v2/models/fraud/infer"
    assert status["observedGeneration"] == 1
    assert shop.condition(MD, "fraud", "Ready")["status"] == "True"
    assert shop.condition(MD, "fraud", "Available")["status"] == "True"
    assert shop.condition(MD, "fraud", "Stalled") == shop.condition(MD, "fraud", "Reconciling") == {}
    assert shop.reasons() == ["RevisionCreated", "RevisionServing"]


async def test_an_unchanged_world_gets_no_write_at_all(shop: Shop) -> None:
    resources = {"requests": {"cpu": "0.5", "memory": "256Mi"}, "limits": {"cpu": 1, "memory": "512Mi"}}
    await serving(shop, resources=resources, pod={"tolerations": [{"key": "gpu"}], "nodeSelector": {}})

    assert await shop.writes_while_quiet() == []


async def test_a_restarted_and_upgraded_operator_writes_nothing_and_restarts_no_pod(shop: Shop) -> None:
    await serving(shop)
    before = len(shop.cluster.writes)

    shop.restart_operator(ServingImage(image="penstock/server:2", pull_policy="Always"))
    await shop.settle()

    assert shop.cluster.writes[before:] == []


async def test_children_are_written_once_each(shop: Shop) -> None:
    await serving(shop)
    applied = [write.ref for write in shop.cluster.writes if write.verb == "apply"]

    assert len(applied) == len(set(applied)) == 7


# --- changes ---


async def test_without_a_split_a_ready_revision_becomes_stable_and_the_old_one_goes(shop: Shop) -> None:
    old = await serving(shop)
    address = endpoint(shop)["clusterIP"]
    new = await serving(shop, 2)

    assert shop.status(MD, "fraud")["stableRevision"] == new
    assert endpoint(shop)["selector"] == {REVISION: new}
    assert endpoint(shop)["clusterIP"] == address
    assert revision(shop, old)["phase"] == "Retired"
    assert shop.names(Kind.DEPLOYMENT) == [new]
    assert shop.names(Kind.CONTROLLER_REVISION) == sorted([old, new])


async def test_the_old_revision_serves_until_the_new_one_is_wholly_ready(shop: Shop) -> None:
    old = await serving(shop)
    write(shop, 2)
    shop.controllers.default = lambda pod: ready(pod) if pod["metadata"]["name"].endswith("-0") else starting(pod)
    shop.controllers.kubelets[old] = ready
    await shop.settle()

    assert endpoint(shop)["selector"] == {REVISION: old}
    assert revision(shop, latest(shop))["readyReplicas"] == 1
    told = shop.condition(MD, "fraud", "Ready")
    assert told["message"] == f"1 of 2 pods of {latest(shop)} are ready; {old} goes on serving"


async def test_the_endpoint_moves_before_the_old_pods_are_told_to_go(shop: Shop) -> None:
    old = await serving(shop)
    start = len(shop.cluster.writes)
    await serving(shop, 2)

    names = [(write.ref.kind, write.ref.name) for write in shop.cluster.writes[start:] if write.verb == "apply"]
    assert names.index((Kind.SERVICE, "fraud")) < names.index((Kind.DEPLOYMENT, old))


async def test_more_replicas_make_no_new_revision(shop: Shop) -> None:
    name = await serving(shop)
    await serving(shop, replicas=3)

    assert latest(shop) == name
    assert shop.get(Kind.DEPLOYMENT, name)["spec"]["replicas"] == 3
    assert shop.status(MD, "fraud")["readyReplicas"] == "3/3"


async def test_no_replicas_keep_the_revision_and_its_endpoint(shop: Shop) -> None:
    name = await serving(shop)
    await serving(shop, replicas=0)

    assert shop.get(Kind.DEPLOYMENT, name)["spec"]["replicas"] == 0
    assert shop.status(MD, "fraud")["stableRevision"] == name
    assert shop.status(MD, "fraud")["readyReplicas"] == "0/0"
    assert shop.condition(MD, "fraud", "Available")["status"] == "False"
    await serving(shop, replicas=1)
    assert shop.condition(MD, "fraud", "Available")["status"] == "True"


async def test_a_third_spec_drops_the_second_that_never_came_up(shop: Shop) -> None:
    first = await serving(shop)
    shop.controllers.default = starting
    shop.controllers.kubelets[first] = ready
    second = await serving(shop, 2)
    third = await serving(shop, 3)

    assert revision(shop, second)["phase"] == "Retired"
    assert shop.names(Kind.DEPLOYMENT) == sorted([first, third])
    assert endpoint(shop)["selector"] == {REVISION: first}


async def test_going_back_to_an_old_spec_takes_up_the_old_revision(shop: Shop) -> None:
    first = await serving(shop)
    second = await serving(shop, 2)
    again = await serving(shop, 1)

    assert again == first
    assert endpoint(shop)["selector"] == {REVISION: first}
    assert revision(shop, second)["phase"] == "Retired"
    assert shop.names(Kind.DEPLOYMENT) == [first]


async def test_old_revisions_are_forgotten_beyond_the_history_limit_oldest_first(shop: Shop) -> None:
    names = [await serving(shop, digit, revisionHistoryLimit=2) for digit in range(1, 6)]

    assert shop.names(Kind.CONTROLLER_REVISION) == sorted(names[-3:])
    assert [entry["name"] for entry in shop.status(MD, "fraud")["revisions"]] == names[:-4:-1]
    assert [write.ref.kind for write in shop.cluster.writes if write.verb == "delete"].count(Kind.DEPLOYMENT) == 4


async def test_an_old_revision_keeps_its_services_while_its_pods_end(shop: Shop) -> None:
    old = await serving(shop)
    shop.controllers.lingering = True
    new = await serving(shop, 2)

    assert endpoint(shop)["selector"] == {REVISION: new}
    assert shop.get(Kind.DEPLOYMENT, old)["spec"]["replicas"] == 0
    assert old in shop.names(Kind.SERVICE)

    shop.controllers.lingering = False
    await shop.settle()

    assert old not in shop.names(Kind.SERVICE)


def pod(shop: Shop, of: str, number: int, **status: Any) -> Manifest:
    labels = shop.get(Kind.DEPLOYMENT, of)["spec"]["template"]["metadata"]["labels"]
    metadata = {"name": f"{of}-x{number}", "namespace": "shop", "labels": labels, "annotations": {"of": of}}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": {}, "status": status}


async def test_an_evicted_pod_that_lies_around_keeps_nothing_alive(shop: Shop) -> None:
    old = await serving(shop)
    shop.cluster.put(pod(shop, old, 9, phase="Failed", reason="Evicted", message="low on memory"))
    await shop.settle()
    assert "reason" not in revision(shop, old)

    await serving(shop, 2)

    assert old not in shop.names(Kind.DEPLOYMENT)


def opened(shop: Shop) -> list[int]:
    policy = shop.get(Kind.NETWORK_POLICY, "fraud-serving")["spec"]
    return [port["port"] for rule in policy["ingress"] for port in rule["ports"]]


async def test_grpc_is_reached_at_the_endpoint_for_as_long_as_the_stable_revision_speaks_it(shop: Shop) -> None:
    await serving(shop)
    assert [port["name"] for port in endpoint(shop)["ports"]] == ["http", "grpc"]
    assert 9000 in opened(shop)

    shop.controllers.default = starting
    write(shop, 2, serving={"grpc": {"enabled": False}})
    await shop.settle()
    assert [port["name"] for port in endpoint(shop)["ports"]] == ["http", "grpc"]
    assert 9000 in opened(shop)

    shop.controllers.default = ready
    await shop.settle()
    assert [port["name"] for port in endpoint(shop)["ports"]] == ["http"]
    assert 9000 not in opened(shop)


# --- failures ---


@pytest.mark.parametrize("reason", [reason for reason in Reason if reason is not Reason.OTHER])
async def test_a_revision_that_cannot_load_says_why_and_the_old_one_goes_on(shop: Shop, reason: Reason) -> None:
    old = await serving(shop)
    shop.controllers.default = exiting(reason, permanent=reason in PERMANENT, message="the real error")
    shop.controllers.kubelets[old] = ready
    bad = await serving(shop, 2)

    told = revision(shop, bad)
    assert (told["phase"], told["reason"], told["message"]) == ("Failed", reason.value, "the real error")
    assert endpoint(shop)["selector"] == {REVISION: old}
    condition = shop.condition(MD, "fraud", "Ready")
    assert (condition["status"], condition["reason"]) == ("False", "RevisionFailed")
    assert condition["message"] == f"{bad}: {reason.value}: the real error; {old} goes on serving"
    assert shop.condition(MD, "fraud", "Stalled")["status"] == "True"
    assert shop.condition(MD, "fraud", "Available")["status"] == "True"
    assert shop.reasons().count("RevisionFailed") == 1
    pods = [name for name in shop.names(Kind.POD) if name.startswith(bad)]
    assert len(pods) == (0 if reason in PERMANENT else 1), "no crash loop that floods the cluster"
    assert await shop.writes_while_quiet() == []


async def test_what_is_cured_from_outside_comes_up_by_itself(shop: Shop) -> None:
    shop.controllers.default = exiting(Reason.SOURCE_NOT_FOUND, permanent=False)
    name = await serving(shop)
    assert shop.get(Kind.DEPLOYMENT, name)["spec"]["replicas"] == 1

    shop.controllers.default = ready
    await shop.settle()

    assert shop.status(MD, "fraud")["readyReplicas"] == "2/2"
    assert revision(shop, name)["phase"] == "Serving"
    assert "message" not in revision(shop, name)


async def test_one_kill_for_memory_may_be_bad_luck(shop: Shop) -> None:
    shop.controllers.default = crashing("", reason="OOMKilled", restarts=1, waiting=False)
    name = await serving(shop)

    assert revision(shop, name)["phase"] == "Pending"
    assert revision(shop, name)["reason"] == "OutOfMemory"


async def test_two_kills_for_memory_say_that_the_limit_is_too_small(shop: Shop) -> None:
    shop.controllers.default = crashing("", reason="OOMKilled", restarts=1, waiting=True)
    name = await serving(shop)

    told = revision(shop, name)
    assert (told["phase"], told["reason"], told["replicas"]) == ("Failed", "OutOfMemory", 0)
    assert "spec.resources.limits.memory" in told["message"]


@pytest.mark.parametrize(
    ("status", "reason", "message"),
    [
        (
            {"conditions": [{"type": "PodScheduled", "status": "False", "message": "0/3 nodes: no memory"}]},
            "Unschedulable",
            "0/3 nodes: no memory",
        ),
        (
            {"containerStatuses": [{"name": "server", "state": {"waiting": {"reason": "ErrImagePull"}}}]},
            "ImagePullFailed",
            "the image cannot be pulled",
        ),
    ],
    ids=["no node", "no image"],
)
async def test_trouble_of_the_cluster_is_told_but_does_not_fail_the_revision(
    shop: Shop, status: dict[str, Any], reason: str, message: str
) -> None:
    shop.controllers.default = lambda _: {"phase": "Pending", **status}
    name = await serving(shop)

    told = revision(shop, name)
    assert (told["phase"], told["reason"], told["message"], told["replicas"]) == ("Pending", reason, message, 2)
    assert f"{reason}: {message}" in shop.condition(MD, "fraud", "Ready")["message"]
    assert shop.condition(MD, "fraud", "Reconciling")["status"] == "True"


async def test_pods_that_quota_denies_are_told_without_their_changing_names(shop: Shop) -> None:
    shop.controllers.default = starting
    name = await serving(shop)
    denied = {"type": "ReplicaFailure", "status": "True", "message": 'pods "fraud-x-abcde" is forbidden: quota 0'}
    shop.cluster.edit(shop.ref(Kind.DEPLOYMENT, name), lambda live: live.update(status={"conditions": [denied]}))
    await shop.settle()

    assert revision(shop, name)["reason"] == "PodsDenied"
    assert revision(shop, name)["message"] == "a pod is forbidden: quota 0"


async def test_a_failed_revision_stays_failed_when_its_pods_are_gone(shop: Shop) -> None:
    shop.controllers.default = exiting(Reason.NOT_ONNX, permanent=True)
    name = await serving(shop)
    assert shop.names(Kind.POD) == []

    shop.restart_operator()
    await shop.settle()

    assert revision(shop, name)["phase"] == "Failed"
    assert shop.names(Kind.POD) == []


# --- people and accidents ---


CHILDREN = [
    (Kind.CONTROLLER_REVISION, "{revision}"),
    (Kind.DEPLOYMENT, "{revision}"),
    (Kind.SERVICE, "{revision}"),
    (Kind.SERVICE, "fraud"),
    (Kind.POD_DISRUPTION_BUDGET, "{revision}"),
    (Kind.SERVICE_ACCOUNT, "fraud-serving"),
    (Kind.NETWORK_POLICY, "fraud-serving"),
]


@pytest.mark.parametrize(("kind", "pattern"), CHILDREN)
async def test_a_child_that_somebody_deletes_comes_back_as_it_was(shop: Shop, kind: Kind, pattern: str) -> None:
    name = pattern.format(revision=await serving(shop))
    before = shop.get(kind, name)
    start = len(shop.cluster.writes)

    shop.delete(kind, name)
    await shop.settle()

    after = shop.get(kind, name)
    for field in ("spec", "data", "automountServiceAccountToken"):
        left, right = before.get(field), after.get(field)
        if kind is Kind.SERVICE and pattern != "fraud":  # only the endpoint asks for the address that it had
            left, right = ({**(side or {}), "clusterIP": "", "clusterIPs": []} for side in (left, right))
        assert right == left or kind is Kind.CONTROLLER_REVISION
    applied = [write for write in shop.cluster.writes[start:] if write.verb == "apply" and write.ref.kind is kind]
    assert len(applied) == 1
    assert await shop.writes_while_quiet() == []


async def test_an_endpoint_whose_address_is_taken_meanwhile_comes_back_with_another_one(shop: Shop) -> None:
    await serving(shop)
    address = endpoint(shop)["clusterIP"]
    taken = RequestRejected("spec.clusterIPs: provided IP is already allocated", 422, "Invalid")
    shop.cluster.fail(taken, when=lambda verb, ref: (verb, ref.kind, ref.name) == ("apply", Kind.SERVICE, "fraud"))

    shop.delete(Kind.SERVICE, "fraud")
    await shop.settle()

    other = endpoint(shop)["clusterIP"]
    assert other != address
    assert shop.status(MD, "fraud")["clusterIP"] == other
    assert shop.condition(MD, "fraud", "Ready")["status"] == "True"
    assert shop.rejections == []


async def test_an_endpoint_that_came_back_keeps_its_address_when_it_moves_on(shop: Shop) -> None:
    await serving(shop)
    address = endpoint(shop)["clusterIP"]
    shop.delete(Kind.SERVICE, "fraud")
    await shop.settle()
    new = await serving(shop, 2)

    assert endpoint(shop)["selector"] == {REVISION: new}
    assert endpoint(shop)["clusterIP"] == shop.status(MD, "fraud")["clusterIP"] == address


EDITS: list[tuple[Kind, str, Any]] = [
    (Kind.DEPLOYMENT, "{revision}", lambda live: live["spec"].update(replicas=7)),
    (
        Kind.DEPLOYMENT,
        "{revision}",
        lambda live: live["spec"]["template"]["spec"]["containers"][0].update(image="evil:1"),
    ),
    (
        Kind.DEPLOYMENT,
        "{revision}",
        lambda live: live["spec"]["template"]["spec"]["containers"][0]["env"][0].update(value="1.2.3"),
    ),
    (Kind.SERVICE, "fraud", lambda live: live["spec"]["selector"].update(app="theirs")),
    (Kind.SERVICE, "{revision}", lambda live: live["spec"]["ports"][0].update(targetPort=1)),
    (Kind.POD_DISRUPTION_BUDGET, "{revision}", lambda live: live["spec"].update(maxUnavailable=2)),
    (Kind.SERVICE_ACCOUNT, "fraud-serving", lambda live: live.update(automountServiceAccountToken=True)),
    (Kind.NETWORK_POLICY, "fraud-serving", lambda live: live["spec"].update(ingress=[{}])),
    (
        Kind.NETWORK_POLICY,
        "fraud-serving",
        lambda live: live["spec"]["podSelector"]["matchLabels"].update(role="nobody"),
    ),
    (
        Kind.NETWORK_POLICY,
        "fraud-serving",
        lambda live: live["spec"]["ingress"][1].update({"from": [{"namespaceSelector": {"matchLabels": {"a": "b"}}}]}),
    ),
    (Kind.SERVICE, "fraud", lambda live: live["metadata"]["labels"].pop("app.kubernetes.io/name")),
    (Kind.SERVICE, "fraud", lambda live: live["metadata"].pop("ownerReferences")),
]


@pytest.mark.parametrize(("kind", "pattern", "edit"), EDITS)
async def test_a_child_that_somebody_edits_is_mended_with_one_write(
    shop: Shop, kind: Kind, pattern: str, edit: Any
) -> None:
    name = pattern.format(revision=await serving(shop))
    before = shop.get(kind, name)
    start = len(shop.cluster.writes)

    shop.cluster.edit(shop.ref(kind, name), edit)
    shop.dirty[shop.ref(MD, "fraud")] = None  # without its owner or label an object tells nobody; the resync does
    await shop.settle()

    live = shop.get(kind, name)
    assert {**live, "metadata": {}} == {**before, "metadata": {}}
    assert live["metadata"]["labels"] == before["metadata"]["labels"]
    assert live["metadata"]["ownerReferences"] == before["metadata"]["ownerReferences"]
    assert [write.ref for write in shop.cluster.writes[start:] if write.verb == "apply"] == [shop.ref(kind, name)]
    assert await shop.writes_while_quiet() == []


async def test_the_record_of_the_old_revision_may_vanish_while_it_serves(shop: Shop) -> None:
    old = await serving(shop)
    shop.controllers.default = starting
    shop.controllers.kubelets[old] = ready
    await serving(shop, 2)
    template = shop.get(Kind.DEPLOYMENT, old)["spec"]["template"]

    shop.delete(Kind.CONTROLLER_REVISION, old)
    await shop.settle()

    assert shop.status(MD, "fraud")["stableRevision"] == old
    assert endpoint(shop)["selector"] == {REVISION: old}
    assert shop.get(Kind.DEPLOYMENT, old)["spec"]["template"] == template
    assert revision(shop, old)["model"]["uri"] == "s3://models/fraud/1/model.onnx"
    assert old in shop.names(Kind.CONTROLLER_REVISION)
    assert await shop.writes_while_quiet() == []


@pytest.mark.parametrize("progress", ["serving", "loading the next", "failed"])
async def test_a_wiped_status_is_written_again_and_moves_nothing(shop: Shop, progress: str) -> None:
    stable = await serving(shop)
    shop.controllers.kubelets[stable] = ready
    if progress != "serving":
        shop.controllers.default = (
            starting if progress == "loading the next" else exiting(Reason.NOT_ONNX, permanent=True)
        )
        await serving(shop, 2)
    before = json.loads(json.dumps(shop.status(MD, "fraud")))

    shop.cluster.edit(shop.ref(MD, "fraud"), lambda live: live.update(status={"observedGeneration": -1}))
    await shop.settle()

    after = shop.status(MD, "fraud")
    assert after["stableRevision"] == stable
    assert endpoint(shop)["selector"] == {REVISION: stable}
    assert [entry["name"] for entry in after["revisions"]] == [entry["name"] for entry in before["revisions"]]


async def test_somebody_elses_service_is_not_touched_and_told(shop: Shop) -> None:
    theirs = {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "fraud", "namespace": "shop"}}
    shop.cluster.put({**theirs, "spec": {"selector": {"app": "theirs"}, "ports": []}})
    await serving(shop)

    assert endpoint(shop)["selector"] == {"app": "theirs"}
    condition = shop.condition(MD, "fraud", "Ready")
    assert (condition["status"], condition["reason"]) == ("False", "NotOwned")
    assert "Service shop/fraud exists and belongs to somebody else" in condition["message"]
    assert await shop.writes_while_quiet() == []


async def test_when_somebody_elses_service_goes_ours_comes(shop: Shop) -> None:
    theirs = {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "fraud", "namespace": "shop"}}
    shop.cluster.put({**theirs, "spec": {"selector": {"app": "theirs"}, "ports": []}})
    name = await serving(shop)

    shop.delete(Kind.SERVICE, "fraud")
    await shop.run(60)

    assert endpoint(shop)["selector"] == {REVISION: name}
    assert shop.condition(MD, "fraud", "Ready")["status"] == "True"


async def test_a_child_that_lost_its_owner_is_adopted(shop: Shop) -> None:
    name = await serving(shop)
    shop.cluster.edit(shop.ref(Kind.DEPLOYMENT, name), lambda live: live["metadata"].update(ownerReferences=[]))
    shop.dirty[shop.ref(MD, "fraud")] = None
    await shop.settle()

    assert shop.get(Kind.DEPLOYMENT, name)["metadata"]["ownerReferences"][0]["name"] == "fraud"


@pytest.mark.parametrize("failing", range(1, 12))
async def test_a_write_that_fails_at_any_point_is_made_up_for(shop: Shop, failing: int) -> None:
    seen = iter(range(1, 1000))
    shop.cluster.fail(ClusterUnavailable("etcd is away"), when=lambda *_: next(seen) == failing)
    write(shop)
    await shop.run(5)

    assert shop.status(MD, "fraud")["readyReplicas"] == "2/2"
    assert len(shop.names(Kind.SERVICE)) == 2


async def test_what_the_api_server_refuses_is_told_in_its_own_words(shop: Shop) -> None:
    words = 'deployments.apps "fraud" is forbidden: exceeded quota: none'
    refusal = RequestRejected(words, 403, "Forbidden")
    shop.cluster.fail(refusal, times=5, when=lambda _, ref: ref.kind is Kind.DEPLOYMENT)
    write(shop)
    await shop.settle()
    condition = shop.condition(MD, "fraud", "Ready")
    assert (condition["reason"], condition["message"]) == ("RejectedByServer", words)
    statuses = [write for write in shop.cluster.writes if write.verb == "status" and write.changed]
    await shop.run(15)
    assert [write for write in shop.cluster.writes if write.verb == "status" and write.changed] == statuses

    await shop.run(60)

    assert shop.condition(MD, "fraud", "Ready")["status"] == "True"


async def test_an_invalid_spec_is_told_and_what_serves_goes_on(shop: Shop) -> None:
    name = await serving(shop)
    write(shop, 2, serving={"timeout": "soon"})
    await shop.settle()

    condition = shop.condition(MD, "fraud", "Ready")
    assert (condition["status"], condition["reason"], condition["observedGeneration"]) == ("False", "InvalidSpec", 2)
    assert "timeout" in condition["message"]
    assert shop.condition(MD, "fraud", "Available")["status"] == "True"
    assert endpoint(shop)["selector"] == {REVISION: name}
    assert await shop.writes_while_quiet() == []


async def test_a_deleted_model_deployment_leaves_nothing_behind(shop: Shop) -> None:
    await serving(shop)
    shop.delete(MD, "fraud")
    await shop.settle()

    for kind in Kind:
        assert shop.names(kind) == []


async def test_an_object_that_is_being_deleted_is_left_alone(shop: Shop) -> None:
    write(shop)
    shop.cluster.edit(
        shop.ref(MD, "fraud"), lambda live: live["metadata"].update(deletionTimestamp="2026-01-01T00:00:00Z")
    )
    # The fake keeps deletionTimestamp out of edits as the API server does; put it there behind its back.
    shop.get(MD, "fraud")["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z"
    await shop.settle()

    assert shop.cluster.writes == []


async def test_pods_carry_the_labels_by_which_they_are_found(shop: Shop) -> None:
    name = await serving(shop, pod={"labels": {"team": "risk"}})
    labels = shop.get(Kind.POD, f"{name}-0")["metadata"]["labels"]

    assert labels[REVISION] == name
    assert labels[MODEL_DEPLOYMENT] == "fraud"
    assert labels["team"] == "risk"
