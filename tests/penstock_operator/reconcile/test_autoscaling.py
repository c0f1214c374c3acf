"""ModelDeployments whose pods an autoscaler counts: who writes replicas, and what a rollout may rely on."""

from collections.abc import Callable
from typing import Any

import pytest
from tests.fakes.controllers import Kubelet, ready, starting
from tests.fakes.routers import Behaviour
from tests.fakes.shop import Shop

from penstock_operator.core.objects import Kind, Manifest, ObjectRef
from penstock_operator.ports import ClusterUnavailable

MD, TS, DP, HPA = Kind.MODEL_DEPLOYMENT, Kind.TRAFFIC_SPLIT, Kind.DRIFT_POLICY, Kind.HORIZONTAL_POD_AUTOSCALER
STEPS = [{"weight": 25, "hold": "5s"}, {"weight": 50, "hold": "5s"}, {"weight": 100, "hold": "5s"}]
GUARD = {
    "target": {"name": "fraud"},
    "metrics": [{"name": "errors", "source": "ErrorRate", "against": "Stable"}],
}


def write(shop: Shop, digit: int = 1, *, least: int = 2, most: int = 10, **changes: Any) -> None:
    model = {"uri": f"s3://models/fraud/{digit}/model.onnx", "sha256": f"{digit:064x}"}
    scaling = {"autoscaling": {"minReplicas": least, "maxReplicas": most}}
    shop.apply(MD, "fraud", {"model": model, **(changes or scaling)})


async def serving(shop: Shop, digit: int = 1, **changes: Any) -> str:
    """Apply a spec, let it come up, and return its revision."""
    write(shop, digit, **changes)
    await shop.settle()
    return str(shop.status(MD, "fraud")["latestRevision"])


async def begin(shop: Shop, *, load: int, **split: Any) -> str:
    """Put a split over a model whose load asks for so many pods; return the stable revision."""
    name = await serving(shop)
    shop.controllers.loads[name] = load
    await shop.settle()
    shop.apply(DP, "guard", GUARD)
    strategy = {"strategy": {"steps": STEPS}, **split}
    shop.apply(TS, "fraud", {"stable": {"modelDeployment": "fraud"}, "policies": ["guard"], **strategy})
    await shop.run(5)
    assert shop.status(TS, "fraud")["stableRevision"] == name
    return name


def asked(shop: Shop, name: str) -> int:
    return int(shop.get(Kind.DEPLOYMENT, name)["spec"]["replicas"])


def bounds(shop: Shop, name: str) -> tuple[int, int]:
    spec = shop.get(HPA, name)["spec"]
    return spec["minReplicas"], spec["maxReplicas"]


def real(shop: Shop) -> dict[str, int]:
    return {name: weight for name, weight in shop.router.weights("shop", "fraud").items() if weight}


def reaches(shop: Shop, name: str, weight: int) -> Callable[[], bool]:
    return lambda: real(shop).get(name, 0) >= weight


def phase_is(shop: Shop, phase: str) -> Callable[[], bool]:
    return lambda: shop.status(TS, "fraud").get("phase") == phase


def only(count: int) -> Kubelet:
    """Return a kubelet that has room for so many pods of a Deployment."""

    def report(pod: Manifest) -> dict[str, Any]:
        number = int(pod["metadata"]["name"].rpartition("-")[2])
        return ready(pod) if number < count else starting(pod)

    return report


def writes_to(shop: Shop, name: str) -> int:
    ref = ObjectRef(kind=Kind.DEPLOYMENT, namespace="shop", name=name)
    return sum(write.ref == ref for write in shop.cluster.writes)


# --- who writes replicas ---


async def test_a_revision_is_born_with_the_fewest_pods_and_an_autoscaler(shop: Shop) -> None:
    name = await serving(shop)

    assert asked(shop, name) == 2
    assert bounds(shop, name) == (2, 10)
    spec = shop.get(HPA, name)["spec"]
    assert spec["scaleTargetRef"] == {"apiVersion": "apps/v1", "kind": "Deployment", "name": name}
    assert spec["metrics"][0]["resource"] == {
        "name": "cpu",
        "target": {"type": "Utilization", "averageUtilization": 70},
    }
    assert shop.status(MD, "fraud")["stableRevision"] == name
    assert await shop.writes_while_quiet() == []


async def test_what_an_autoscaler_has_asked_for_is_never_written_over(shop: Shop) -> None:
    name = await serving(shop)
    before = writes_to(shop, name)

    for load in (7, 4, 9):
        shop.controllers.loads[name] = load
        await shop.settle()
        assert asked(shop, name) == load

    assert writes_to(shop, name) == before
    assert shop.status(MD, "fraud")["readyReplicas"] == "9/9"
    assert await shop.writes_while_quiet() == []


async def test_mending_a_deployment_keeps_the_pods_that_the_autoscaler_asked_for(shop: Shop) -> None:
    name = await serving(shop)
    shop.controllers.loads[name] = 6
    await shop.settle()
    shop.cluster.edit(shop.ref(Kind.DEPLOYMENT, name), lambda live: live["spec"].update(revisionHistoryLimit=5))
    await shop.settle()

    live = shop.get(Kind.DEPLOYMENT, name)
    assert (live["spec"]["revisionHistoryLimit"], live["spec"]["replicas"]) == (0, 6)


async def test_a_deployment_that_was_scaled_since_it_was_seen_is_not_mended_with_the_old_count(shop: Shop) -> None:
    name = await serving(shop)
    ref = shop.ref(Kind.DEPLOYMENT, name)
    seen = shop.cluster.edit(ref, lambda live: live["spec"].update(revisionHistoryLimit=5))
    shop.cluster.edit(ref, lambda live: live["spec"].update(replicas=6))
    stale = {**seen, "metadata": {**seen["metadata"]}}

    with pytest.raises(ClusterUnavailable):
        await shop.cluster.apply(stale)
    assert asked(shop, name) == 6


async def test_autoscaling_instead_of_replicas_changes_no_pod(shop: Shop) -> None:
    name = await serving(shop, replicas=4)
    before = writes_to(shop, name)

    assert await serving(shop) == name, "it is no new revision"

    assert asked(shop, name) == 4
    assert bounds(shop, name) == (2, 10)
    assert writes_to(shop, name) == before


async def test_replicas_instead_of_autoscaling_ends_the_autoscaler_first(shop: Shop) -> None:
    name = await serving(shop)
    shop.controllers.loads[name] = 7
    await shop.settle()
    before = len(shop.cluster.writes)

    await serving(shop, replicas=3)

    assert shop.names(HPA) == []
    assert asked(shop, name) == 3
    about = [(write.verb, write.ref.kind) for write in shop.cluster.writes[before:] if write.verb != "status"]
    assert about == [("delete", HPA), ("apply", Kind.DEPLOYMENT)]


async def test_an_autoscaler_that_somebody_deletes_or_edits_comes_back(shop: Shop) -> None:
    name = await serving(shop)
    shop.delete(HPA, name)
    await shop.settle()
    assert bounds(shop, name) == (2, 10)
    shop.cluster.edit(shop.ref(HPA, name), lambda live: live["spec"].update(maxReplicas=50))
    await shop.settle()
    assert bounds(shop, name) == (2, 10)


async def test_an_autoscaler_of_somebody_else_is_left_alone(shop: Shop) -> None:
    write(shop)
    await shop.settle()
    name = str(shop.status(MD, "fraud")["latestRevision"])
    shop.delete(MD, "fraud")
    await shop.settle()
    shop.cluster.put(
        {
            "apiVersion": "autoscaling/v2",
            "kind": "HorizontalPodAutoscaler",
            "metadata": {"name": name, "namespace": "shop"},
            "spec": {"maxReplicas": 1},
        }
    )
    await serving(shop)

    assert shop.get(HPA, name)["spec"] == {"maxReplicas": 1}
    assert shop.condition(MD, "fraud", "Ready")["reason"] == "NotOwned"


async def test_a_revision_that_cannot_load_has_no_autoscaler(shop: Shop) -> None:
    shop.controllers.default = lambda _: {
        "phase": "Pending",
        "conditions": [{"type": "PodScheduled", "status": "True"}, {"type": "Ready", "status": "False"}],
        "initContainerStatuses": [
            {
                "name": "fetch",
                "ready": False,
                "restartCount": 1,
                "state": {"waiting": {"reason": "CrashLoopBackOff"}},
                "lastState": {
                    "terminated": {
                        "exitCode": 1,
                        "message": '{"reason": "NotOnnx", "message": "no", "permanent": true}',
                    }
                },
            }
        ],
    }
    name = await serving(shop)

    assert shop.status(MD, "fraud")["revisions"][0]["phase"] == "Failed"
    assert shop.names(HPA) == []
    assert asked(shop, name) == 0


async def test_without_a_split_a_new_revision_waits_for_as_many_pods_as_the_old_one_has(shop: Shop) -> None:
    old = await serving(shop)
    shop.controllers.loads[old] = 8
    await shop.settle()

    write(shop, 2)
    shop.controllers.default = only(7)
    await shop.settle()
    status = shop.status(MD, "fraud")
    new = str(status["latestRevision"])
    assert (status["stableRevision"], asked(shop, new), bounds(shop, new)) == (old, 8, (8, 10))

    shop.controllers.default = ready
    await shop.settle()
    assert shop.status(MD, "fraud")["stableRevision"] == new
    assert bounds(shop, new) == (2, 10), "from now on its own load counts"
    assert shop.names(HPA) == [new]
    assert asked(shop, new) == 8


# --- what is said ---


async def test_without_metrics_the_condition_says_so_and_the_model_serves(shop: Shop) -> None:
    name = await serving(shop)

    said = shop.condition(MD, "fraud", "AutoscalingActive")
    assert (said["status"], said["reason"]) == ("False", "NoCpuMetrics")
    assert "unable to get metrics for resource cpu" in said["message"]
    assert "install metrics-server" in said["message"]
    assert f"{name} stays at 2 pods" in said["message"]
    assert shop.condition(MD, "fraud", "Ready")["status"] == "True"

    shop.controllers.loads[name] = 3
    await shop.settle()
    said = shop.condition(MD, "fraud", "AutoscalingActive")
    assert (said["status"], said["reason"]) == ("True", "Autoscaling")


@pytest.mark.parametrize(
    ("conditions", "status", "reason"),
    [
        pytest.param([], "Unknown", "AutoscalerStarting", id="nobody has looked yet"),
        pytest.param(
            [{"type": "AbleToScale", "status": "False", "message": "no"}], "False", "AutoscalerFailed", id="it cannot"
        ),
        pytest.param(
            [
                {"type": "ScalingActive", "status": "True"},
                {"type": "ScalingLimited", "status": "True", "reason": "TooManyReplicas"},
            ],
            "True",
            "AtMaxReplicas",
            id="it would want more",
        ),
        pytest.param(
            [
                {"type": "ScalingActive", "status": "True"},
                {"type": "ScalingLimited", "status": "True", "reason": "TooFewReplicas"},
            ],
            "True",
            "Autoscaling",
            id="it would want fewer",
        ),
    ],
)
async def test_the_condition_tells_what_the_autoscaler_says(
    shop: Shop, conditions: list[dict[str, str]], status: str, reason: str
) -> None:
    name = await serving(shop)
    shop.cluster.edit(shop.ref(HPA, name), lambda live: live.update(status={"conditions": conditions}))
    await shop.look(shop.ref(MD, "fraud"))
    said = shop.condition(MD, "fraud", "AutoscalingActive")
    assert (said["status"], said["reason"]) == (status, reason)


async def test_a_model_without_autoscaling_says_nothing_of_it(shop: Shop) -> None:
    await serving(shop, replicas=2)
    assert shop.condition(MD, "fraud", "AutoscalingActive") == {}


# --- a rollout ---


async def test_a_candidate_has_the_pods_of_each_step_before_its_traffic_comes(shop: Shop) -> None:
    old = await begin(shop, load=8)
    new = await serving(shop, 2)
    begun = real(shop).get(new, 0) > 0
    assert asked(shop, new) == (4 if begun else 2), "a quarter of eight, and half as soon as the quarter has begun"
    shop.controllers.kubelets[new] = only(3)

    await shop.run(600, until=reaches(shop, new, 37))
    assert real(shop) == {old: 63, new: 37}, "three of eight, although the step says 50"
    assert bounds(shop, new)[0] == 8, "what the step after this one needs is on its way"
    said = str(shop.condition(TS, "fraud", "Ready")["message"])
    assert f"{new} carries 37% with 3 ready pods; 50% needs 4" in said

    shop.controllers.kubelets[new] = ready
    await shop.settle()
    await shop.run(600, until=phase_is(shop, "Promoted"))
    assert real(shop) == {new: 100}
    assert asked(shop, new) == 8


async def test_while_others_have_its_requests_stable_keeps_the_pods_for_the_way_back(shop: Shop) -> None:
    old = await begin(shop, load=8)
    new = await serving(shop, 2)
    await shop.run(600, until=reaches(shop, new, 50))
    shop.controllers.loads |= {old: 4, new: 4}
    await shop.settle()
    assert asked(shop, old) == 8

    shop.stats.behaviours[new] = Behaviour(error_share=0.5)
    await shop.run(600, until=phase_is(shop, "RolledBack"))
    assert real(shop) == {old: 100}
    await shop.run(30)
    assert bounds(shop, old) == (2, 10), "it serves everything, and its autoscaler sees it"
    assert new not in shop.names(HPA)
    assert new not in shop.names(Kind.DEPLOYMENT) or asked(shop, new) == 0


async def test_load_that_grows_late_in_a_rollout_is_load_that_the_way_back_must_carry(shop: Shop) -> None:
    old = await begin(shop, load=4)
    new = await serving(shop, 2)
    await shop.run(600, until=reaches(shop, new, 50))
    shop.controllers.loads |= {old: 4, new: 4}
    await shop.run(3)
    assert bounds(shop, old) == (8, 10), "four and four"


async def test_the_old_revision_keeps_its_pods_while_it_is_watched_over(shop: Shop) -> None:
    old = await begin(shop, load=8, afterPromotion={"watch": "10m"})
    new = await serving(shop, 2)
    await shop.run(600, until=phase_is(shop, "Promoted"))
    shop.controllers.loads |= {old: 0, new: 8}
    await shop.run(60)
    assert (asked(shop, old), asked(shop, new)) == (8, 8)

    shop.stats.behaviours[new] = Behaviour(error_share=0.5)
    await shop.run(300, until=lambda: shop.status(TS, "fraud")["stableRevision"] == old)
    assert real(shop) == {old: 100}


async def test_a_rollback_by_a_person_waits_for_as_many_pods_as_the_present_one_has(shop: Shop) -> None:
    old = await begin(shop, load=8)
    new = await serving(shop, 2)
    await shop.run(600, until=phase_is(shop, "Promoted"))
    shop.controllers.loads |= {old: 0, new: 8}
    await shop.run(60)
    assert old not in shop.names(HPA)
    shop.controllers.kubelets[old] = only(5)
    shop.command("fraud", f'{{"verb": "rollback", "revision": "{old}", "id": "1", "by": "eve"}}')
    await shop.run(20)
    assert real(shop) == {new: 100}
    assert asked(shop, old) == 8

    shop.controllers.kubelets[old] = ready
    await shop.run(20)
    assert real(shop) == {old: 100}


async def test_a_candidate_whose_maximum_is_too_low_waits_and_says_so(shop: Shop) -> None:
    model = {"uri": "s3://models/xgb/model.onnx", "sha256": f"{9:064x}"}
    xgb = {"model": model, "serving": {"modelName": "fraud"}, "autoscaling": {"maxReplicas": 3}}
    shop.apply(MD, "fraud-xgb", xgb)
    old = await begin(shop, load=8, candidates=[{"name": "xgb", "modelDeployment": "fraud-xgb"}])
    new = str(shop.status(MD, "fraud-xgb")["latestRevision"])

    await shop.run(60)
    assert real(shop) == {old: 63, new: 37}
    assert asked(shop, new) == 3
    said = str(shop.condition(TS, "fraud", "Ready")["message"])
    assert "50% needs 4; raise spec.autoscaling.maxReplicas of ModelDeployment fraud-xgb" in said


async def test_an_unchanged_rollout_at_rest_gets_no_write(shop: Shop) -> None:
    await begin(shop, load=8)
    await serving(shop, 2)
    await shop.run(600, until=phase_is(shop, "Promoted"))
    await shop.run(60)
    assert await shop.writes_while_quiet() == []


async def test_a_restarted_operator_changes_nothing_in_mid_rollout(shop: Shop) -> None:
    old = await begin(shop, load=8)
    new = await serving(shop, 2)
    await shop.run(600, until=reaches(shop, new, 50))
    shop.controllers.loads |= {old: 4, new: 4}
    await shop.settle()
    before = (bounds(shop, old), bounds(shop, new), real(shop))
    shop.restart_operator()
    await shop.settle()
    assert (bounds(shop, old), bounds(shop, new), real(shop)) == before
