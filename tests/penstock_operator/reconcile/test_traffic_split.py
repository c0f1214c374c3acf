"""A TrafficSplit: from the first hand-over to promotions and rollbacks, with routers and counts in memory."""

import copy
import json
from collections.abc import Callable
from typing import Any

import pytest
from tests.fakes.controllers import ready, starting
from tests.fakes.shop import TICK_SECONDS, Shop

from penstock_operator.api.v1alpha1.model_deployment import ModelDeploymentSpec
from penstock_operator.core.names import APP_NAME, REVISION, ROUTER, revision_name
from penstock_operator.core.objects import Kind
from penstock_operator.ports import ClusterUnavailable

MD, TS, DP = Kind.MODEL_DEPLOYMENT, Kind.TRAFFIC_SPLIT, Kind.DRIFT_POLICY
STEPS = [
    {"weight": 5, "hold": "5s"},
    {"weight": 25, "hold": "5s", "require": "Pass"},
    {"weight": 50, "hold": "5s"},
    {"weight": 100, "hold": "5s"},
]
GUARD = {
    "target": {"name": "fraud"},
    "metrics": [
        {"name": "errors", "source": "ErrorRate", "against": "Stable"},
        {"name": "slower", "source": "LatencyQuantile", "quantile": 0.95, "against": "Stable"},
    ],
}


def model(digit: int) -> dict[str, Any]:
    return {"model": {"uri": f"s3://models/fraud/{digit}/model.onnx", "sha256": f"{digit:064x}"}}


def split_spec(steps: list[dict[str, Any]] | None = None, policies: tuple[str, ...] = ("guard",)) -> dict[str, Any]:
    return {
        "stable": {"modelDeployment": "fraud"},
        "strategy": {"steps": steps or STEPS},
        "policies": list(policies),
    }


async def begin(shop: Shop, **split: Any) -> str:
    """Bring a ModelDeployment up, put a split and a policy over it, and return the stable revision."""
    shop.apply(MD, "fraud", model(1))
    await shop.settle()
    shop.apply(DP, "guard", GUARD)
    shop.apply(TS, "fraud", split_spec(**split))
    await shop.run(5)
    return str(status(shop)["stableRevision"])


def status(shop: Shop) -> dict[str, Any]:
    return shop.status(TS, "fraud")


def phase(shop: Shop) -> str:
    return str(status(shop).get("phase"))


def is_phase(shop: Shop, name: str) -> Callable[[], bool]:
    return lambda: phase(shop) == name


def written_weights(shop: Shop) -> dict[str, int]:
    return {entry["revision"]: entry["weight"] for entry in status(shop).get("weights", ())}


def real_weights(shop: Shop) -> dict[str, int]:
    return {name: weight for name, weight in shop.router.weights("shop", "fraud").items() if weight}


def endpoint(shop: Shop) -> dict[str, Any]:
    found: dict[str, Any] = shop.get(Kind.SERVICE, "fraud")["spec"]
    return found


async def canary(shop: Shop, digit: int = 2) -> str:
    """Change one line of the model and return the new revision."""
    shop.apply(MD, "fraud", model(digit))
    await shop.settle()
    return str(shop.status(MD, "fraud")["latestRevision"])


async def canary_at(shop: Shop, weight: int, **behaviour: float) -> str:
    """Start a canary and let it come to a weight that every router runs."""
    shop.apply(MD, "fraud", model(2))
    await shop.settle()
    name = str(shop.status(MD, "fraud")["latestRevision"])
    for field, value in behaviour.items():
        setattr(shop.stats.behaviours[name], field, value)
    await shop.run(600, until=lambda: written_weights(shop).get(name) == weight)
    assert written_weights(shop)[name] == weight
    return name


# --- hand-over ---


async def test_a_split_over_a_serving_model_hands_over_and_the_address_stays(shop: Shop) -> None:
    shop.apply(MD, "fraud", model(1))
    await shop.settle()
    before = endpoint(shop)
    stable = await begin(shop)

    after = endpoint(shop)
    assert after["clusterIP"] == before["clusterIP"]
    assert after["selector"][APP_NAME] == ROUTER
    assert after["ports"][0]["targetPort"] == status(shop)["port"]
    assert {**after, "selector": 0, "ports": 0} == {**before, "selector": 0, "ports": 0}
    assert written_weights(shop) == real_weights(shop) == {stable: 100}
    assert phase(shop) == "Idle"
    assert shop.condition(TS, "fraud", "Ready")["status"] == "True"
    assert shop.condition(TS, "fraud", "Programmed")["status"] == "True"


async def test_the_endpoint_is_handed_over_only_when_routers_can_answer(shop: Shop) -> None:
    shop.apply(MD, "fraud", model(1))
    await shop.settle()
    stable = str(shop.status(MD, "fraud")["stableRevision"])
    shop.stats.cold.add(stable)
    await begin(shop)

    assert endpoint(shop)["selector"] == {REVISION: stable}
    assert shop.condition(TS, "fraud", "Ready")["status"] == "False"

    shop.stats.cold.clear()
    await shop.run(2)

    assert endpoint(shop)["selector"][APP_NAME] == ROUTER
    assert shop.condition(TS, "fraud", "Ready")["status"] == "True"


@pytest.mark.parametrize("trouble", ["silent", "rejecting", "unreachable", "not ready"])
async def test_nothing_is_handed_over_to_routers_that_do_not_run_it(shop: Shop, trouble: str) -> None:
    pod = "penstock-router-1"
    match trouble:
        case "silent":
            shop.router.silent.add(pod)
        case "rejecting":
            shop.router.rejecting[pod] = "no such cluster"
        case "unreachable":
            shop.stats.unreachable.add(pod)
        case _:
            shop.controllers.kubelets[ROUTER] = starting
    stable = await begin(shop)

    assert endpoint(shop)["selector"] == {REVISION: stable}
    assert written_weights(shop) == {}
    if trouble == "rejecting":
        assert shop.condition(TS, "fraud", "Programmed")["reason"] == "RouterRejected"
        assert "penstock-router-1: no such cluster" in shop.condition(TS, "fraud", "Ready")["message"]


async def test_a_split_before_its_model_is_ready_waits_and_then_begins(shop: Shop) -> None:
    shop.controllers.default = starting
    shop.controllers.kubelets[ROUTER] = ready
    shop.apply(TS, "fraud", split_spec())
    shop.apply(MD, "fraud", model(1))
    await shop.run(5)
    assert shop.condition(TS, "fraud", "Ready")["reason"] == "WaitingForStable"

    shop.controllers.default = ready
    await shop.run(5)

    assert shop.condition(TS, "fraud", "Ready")["status"] == "True"
    assert endpoint(shop)["selector"][APP_NAME] == ROUTER


async def test_a_split_with_a_name_of_its_own_gets_a_service_of_its_own(shop: Shop) -> None:
    shop.apply(MD, "fraud", model(1))
    shop.apply(TS, "front", split_spec(policies=()))
    await shop.run(5)

    assert shop.get(Kind.SERVICE, "front")["spec"]["selector"][APP_NAME] == ROUTER
    assert shop.status(TS, "front")["endpoint"] == "http://front.shop.svc/v2/models/fraud/infer"
    assert REVISION in endpoint(shop)["selector"]


async def test_an_idle_split_gets_no_write_and_no_look(shop: Shop) -> None:
    await begin(shop)
    assert await shop.writes_while_quiet() == []
    writes, reads, sent = len(shop.cluster.writes), shop.stats.reads, len(shop.router.sent)

    await shop.run(3600)

    assert (len(shop.cluster.writes), shop.stats.reads, len(shop.router.sent)) == (writes, reads, sent)


# --- a good canary ---


async def test_a_good_canary_goes_through_all_steps_and_becomes_stable(shop: Shop) -> None:
    old = await begin(shop)
    seen = [{old: 100}]

    def done() -> bool:
        if real_weights(shop) != seen[-1]:
            seen.append(real_weights(shop))
        return phase(shop) == "Promoted"

    new = await canary(shop)
    await shop.run(600, until=done)

    assert phase(shop) == "Promoted"
    assert seen == [{old: 100}, {old: 95, new: 5}, {old: 75, new: 25}, {old: 50, new: 50}, {new: 100}]
    assert status(shop)["stableRevision"] == shop.status(MD, "fraud")["stableRevision"] == new
    assert written_weights(shop) == {new: 100}
    [entry] = status(shop)["history"]
    assert (entry["revision"], entry["outcome"], entry["by"]) == (new, "Promoted", "schedule")
    assert {entry["verdict"] for entry in status(shop)["analysis"]} == {"Pass"}
    assert status(shop)["verdict"] == "Pass"
    assert shop.condition(DP, "guard", "Healthy")["status"] == "True"
    assert shop.reasons().count("RolloutStarted") == 1
    assert shop.reasons().count("WeightRaised") == 3
    assert shop.reasons().count("Promoted") == 1
    await shop.settle()
    assert shop.names(Kind.DEPLOYMENT) == sorted([new, ROUTER])
    assert shop.condition(MD, "fraud", "Ready")["status"] == "True"
    assert await shop.writes_while_quiet() == []


async def test_each_step_lasts_at_least_its_hold(shop: Shop) -> None:
    await begin(shop)
    await canary(shop)
    started = shop.clock.now()
    await shop.run(600, until=is_phase(shop, "Promoted"))

    assert shop.clock.now() - started >= 20


async def test_the_analysis_and_verdict_are_in_the_status_while_it_goes_on(shop: Shop) -> None:
    await begin(shop)
    name = await canary_at(shop, 25)
    await shop.run(4)

    told = {entry["metric"]: entry for entry in status(shop)["analysis"]}
    assert set(told) == {"errors", "slower"}
    assert told["errors"]["candidate"]["n"] > 0
    assert told["errors"]["stable"]["n"] > told["errors"]["candidate"]["n"]
    assert status(shop)["verdict"] in {"Undecided", "Pass"}
    assert list(status(shop)["evidence"]) == [name]
    assert shop.status(DP, "guard")["worst"] in {"errors", "slower"}


async def test_a_weight_is_in_the_status_only_when_every_router_acknowledged_it(shop: Shop) -> None:
    old = await begin(shop)
    name = await canary_at(shop, 5)
    shop.router.silent.add("penstock-router-0")
    await shop.run(60)

    assert written_weights(shop) == {old: 95, name: 5}
    assert status(shop)["candidates"][0]["weight"] == 25
    assert "stepStartedAt" not in status(shop)["candidates"][0]
    assert shop.condition(TS, "fraud", "Programmed")["message"] == "no acknowledgement from penstock-router-0"
    assert shop.condition(TS, "fraud", "Ready")["status"] == "True"

    shop.router.silent.clear()
    await shop.run(2)

    assert written_weights(shop) == {old: 75, name: 25}


async def test_a_rejected_configuration_is_told_and_holds(shop: Shop) -> None:
    old = await begin(shop)
    name = await canary_at(shop, 5)
    shop.router.rejecting["penstock-router-1"] = "weights are odd"
    await shop.run(60)

    assert written_weights(shop) == {old: 95, name: 5}
    condition = shop.condition(TS, "fraud", "Ready")
    assert (condition["status"], condition["reason"]) == ("False", "RouterRejected")
    assert condition["message"] == "the last good configuration stays: penstock-router-1: weights are odd"


async def test_a_candidate_gets_nothing_before_routers_have_found_it(shop: Shop) -> None:
    old = await begin(shop)
    shop.stats.cold.add(revision_name("fraud", ModelDeploymentSpec.parse(model(2))))
    await canary(shop)
    await shop.run(30)
    assert phase(shop) == "Waiting"
    assert real_weights(shop) == {old: 100}

    shop.stats.cold.clear()
    await shop.run(2)

    assert phase(shop) == "Progressing"


async def test_without_traffic_nothing_is_promoted(shop: Shop) -> None:
    await begin(shop)
    shop.stats.requests_per_second = 0.0
    await canary(shop)
    await shop.run(300)

    assert phase(shop) == "Progressing"
    assert status(shop)["candidates"][0]["weight"] == 5
    assert status(shop)["verdict"] == "NoData"


async def test_a_canary_without_traffic_does_not_write_the_same_again_and_again(shop: Shop) -> None:
    await begin(shop)
    shop.stats.requests_per_second = 0.0
    await canary_at(shop, 5)
    await shop.run(30)
    before = len(shop.cluster.writes)

    await shop.run(300)

    assert shop.cluster.writes[before:] == []


async def test_without_policies_only_time_decides(shop: Shop) -> None:
    await begin(shop, policies=())
    await canary(shop)
    await shop.run(60, until=is_phase(shop, "Promoted"))

    assert phase(shop) == "Promoted"


# --- a bad canary ---


@pytest.mark.parametrize(
    ("behaviour", "metric"),
    [({"error_share": 0.2}, "errors"), ({"seconds": 0.04}, "slower")],
    ids=["errors for part of the inputs", "five times slower"],
)
async def test_a_bad_canary_is_taken_back_with_the_numbers(
    shop: Shop, behaviour: dict[str, float], metric: str
) -> None:
    old = await begin(shop)
    shop.apply(MD, "fraud", model(2))
    bad = await canary_at(shop, 5, **behaviour)
    await shop.run(600, until=is_phase(shop, "RolledBack"))

    assert real_weights(shop) == written_weights(shop) == {old: 100}
    [rejected] = status(shop)["rejected"]
    assert (rejected["revision"], rejected["by"], rejected["reason"]) == (bad, f"guard/{metric}", "PolicyBreached")
    failed = next(entry for entry in status(shop)["analysis"] if entry["metric"] == metric)
    assert failed["verdict"] == "Fail"
    assert failed["evidence"] >= failed["limit"]
    assert rejected["message"] == f"guard/{metric}: {failed['message']}"
    assert status(shop)["verdict"] == "Fail"
    assert "candidates" not in status(shop)
    assert "evidence" not in status(shop)
    await shop.settle()
    told = next(entry for entry in shop.status(MD, "fraud")["revisions"] if entry["name"] == bad)
    assert (told["phase"], told["reason"], told["replicas"]) == ("Rejected", "PolicyBreached", 0)
    assert shop.condition(MD, "fraud", "Ready")["reason"] == "RevisionRejected"
    assert shop.condition(TS, "fraud", "Ready")["status"] == "True"
    assert shop.condition(TS, "fraud", "Stalled")["reason"] == "PolicyBreached"
    assert shop.condition(TS, "fraud", "Promoted")["status"] == "False"
    assert shop.status(DP, "guard")["lastAction"]["action"] == "Rollback"
    assert shop.alerts[-1] == ("guard", metric)
    assert shop.reasons().count("RolledBack") == 1
    assert await shop.writes_while_quiet() == []


async def test_the_routers_are_told_on_the_very_tick_that_decides(shop: Shop) -> None:
    old = await begin(shop)
    shop.apply(MD, "fraud", model(2))
    await canary_at(shop, 5, error_share=0.5)

    def failed() -> bool:
        return any(entry["verdict"] == "Fail" for entry in status(shop).get("analysis", ()))

    await shop.run(600, until=lambda: failed() or phase(shop) == "RolledBack")

    assert failed()
    assert phase(shop) == "RolledBack"
    assert real_weights(shop) == {old: 100}


async def test_a_rollback_reaches_the_routers_even_if_the_api_server_is_away(shop: Shop) -> None:
    old = await begin(shop)
    shop.apply(MD, "fraud", model(2))
    await canary_at(shop, 5, error_share=0.05)
    await shop.run(2)
    assert phase(shop) == "Progressing"
    shop.cluster.fail(ClusterUnavailable("away"), times=100_000)
    await shop.run(60)

    assert phase(shop) == "Progressing", "nothing could be written"
    assert real_weights(shop) == {old: 100}


async def test_evidence_is_not_lost_while_statuses_cannot_be_written(shop: Shop) -> None:
    old = await begin(shop)
    shop.apply(MD, "fraud", model(2))
    await canary_at(shop, 5, error_share=0.02)
    await shop.run(2)
    shop.cluster.fail(ClusterUnavailable("away"), times=10_000, when=lambda verb, _: verb == "status")
    await shop.run(600)

    assert real_weights(shop) == {old: 100}


async def test_a_rejected_revision_stays_out_until_somebody_retries(shop: Shop) -> None:
    old = await begin(shop)
    bad = await canary_at(shop, 5, error_share=0.5)
    await shop.run(600, until=is_phase(shop, "RolledBack"))
    await shop.run(3600)
    assert real_weights(shop) == {old: 100}

    shop.stats.behaviours[bad].error_share = 0.0
    shop.command("fraud", json.dumps({"verb": "retry", "id": "1", "by": "ada"}))
    await shop.run(600, until=is_phase(shop, "Promoted"))

    assert real_weights(shop) == {bad: 100}
    assert [entry["outcome"] for entry in status(shop)["history"]] == ["Promoted", "RolledBack"]


async def test_after_a_rollback_the_next_revision_is_tried_and_the_bad_one_cleaned_up(shop: Shop) -> None:
    await begin(shop)
    bad = await canary_at(shop, 5, error_share=0.5)
    await shop.run(600, until=is_phase(shop, "RolledBack"))
    good = await canary(shop, 3)
    await shop.run(600, until=is_phase(shop, "Promoted"))
    await shop.settle()

    assert real_weights(shop) == {good: 100}
    assert bad not in shop.names(Kind.DEPLOYMENT)
    assert bad not in shop.names(Kind.SERVICE)
    assert [entry["revision"] for entry in status(shop)["rejected"]] == [bad]


async def test_a_paused_canary_is_judged_too(shop: Shop) -> None:
    old = await begin(shop, steps=[{"weight": 10}, {"pause": {}}, {"weight": 100}])
    bad = await canary(shop)
    await shop.run(600, until=is_phase(shop, "Paused"))
    shop.stats.behaviours[bad].error_share = 0.5
    await shop.run(600, until=is_phase(shop, "RolledBack"))

    assert real_weights(shop) == {old: 100}


async def test_a_candidate_that_cannot_load_gets_no_traffic(shop: Shop) -> None:
    old = await begin(shop)
    shop.controllers.kubelets[old] = shop.controllers.kubelets[ROUTER] = ready
    terminated = {"exitCode": 1, "message": '{"reason": "NotOnnx", "message": "no graph", "permanent": true}'}
    shop.controllers.default = lambda _: {
        "phase": "Pending",
        "containerStatuses": [{"name": "server", "state": {"terminated": terminated}}],
    }
    bad = await canary(shop)
    await shop.run(600)

    assert phase(shop) == "Failed"
    assert real_weights(shop) == {old: 100}
    assert shop.condition(TS, "fraud", "Ready")["message"] == (f"{bad} cannot load: NotOnnx: no graph; {old} serves")
    assert shop.condition(TS, "fraud", "Stalled")["reason"] == "CandidateFailed"
    assert await shop.writes_while_quiet() == []


async def test_a_failed_candidate_that_is_cured_goes_on_by_itself(shop: Shop) -> None:
    old = await begin(shop)
    shop.controllers.kubelets[old] = shop.controllers.kubelets[ROUTER] = ready
    terminated = {"exitCode": 1, "message": '{"reason": "SourceNotFound", "message": "404", "permanent": false}'}
    shop.controllers.default = lambda _: {
        "phase": "Pending",
        "containerStatuses": [{"name": "server", "state": {"terminated": terminated}}],
    }
    name = await canary(shop)
    shop.stats.cold.add(name)
    await shop.run(60)
    assert phase(shop) == "Failed"

    shop.controllers.default = ready
    await shop.run(10)
    shop.stats.cold.clear()
    await shop.run(600, until=is_phase(shop, "Promoted"))

    assert phase(shop) == "Promoted"


async def test_a_candidate_whose_pods_die_loses_its_traffic_and_gets_it_back(shop: Shop) -> None:
    old = await begin(shop)
    name = await canary_at(shop, 25)
    shop.controllers.kubelets[name] = starting
    await shop.settle()
    assert real_weights(shop) == {old: 100}
    assert phase(shop) == "Waiting"

    shop.controllers.kubelets[name] = ready
    await shop.run(600, until=is_phase(shop, "Promoted"))

    assert phase(shop) == "Promoted"


# --- the spec changes under way ---


async def test_the_old_spec_takes_everything_back_at_once(shop: Shop) -> None:
    old = await begin(shop)
    await canary_at(shop, 25)
    shop.apply(MD, "fraud", model(1))
    await shop.settle()

    assert real_weights(shop) == written_weights(shop) == {old: 100}
    assert phase(shop) == "Idle"
    assert "evidence" not in status(shop)


async def test_a_third_spec_starts_from_nothing_against_the_old_stable(shop: Shop) -> None:
    old = await begin(shop)
    second = await canary_at(shop, 25)
    third = await canary(shop, 3)

    assert status(shop)["candidates"][0]["revision"] == third
    assert real_weights(shop) in ({old: 100}, {old: 95, third: 5})
    await shop.run(600, until=is_phase(shop, "Promoted"))
    assert real_weights(shop) == {third: 100}
    assert [entry["outcome"] for entry in status(shop)["history"]] == ["Promoted", "Superseded"]
    await shop.settle()
    assert second not in shop.names(Kind.DEPLOYMENT)


async def test_a_status_speaks_of_the_generation_that_was_looked_at(shop: Shop) -> None:
    await begin(shop)
    await canary_at(shop, 5)
    original = shop.router.acknowledged

    async def meanwhile(*args: Any, **settings: Any) -> Any:
        if shop.get(TS, "fraud")["metadata"]["generation"] == 1:
            shop.apply(TS, "fraud", split_spec(steps=[{"weight": 50}, {"weight": 100}]))
        return await original(*args, **settings)

    shop.router.acknowledged = meanwhile  # type: ignore[method-assign]
    await shop.look(shop.ref(TS, "fraud"))

    assert shop.get(TS, "fraud")["metadata"]["generation"] == 2
    assert status(shop)["observedGeneration"] == 1
    await shop.settle()
    assert status(shop)["observedGeneration"] == 2


# --- restarts and accidents ---


@pytest.mark.parametrize("behaviour", [{}, {"error_share": 0.03}, {"seconds": 0.04}], ids=["good", "errors", "slow"])
async def test_a_rollout_ends_the_same_however_often_the_operator_restarts(behaviour: dict[str, float]) -> None:
    ends = []
    for restarts in (False, True):
        shop = Shop()
        await begin(shop)
        await canary_at(shop, 5, **behaviour)
        for _ in range(400):
            if restarts:
                shop.restart_operator()
            await shop.run(3.3, until=lambda: phase(shop) in {"Promoted", "RolledBack"})  # noqa: B023
        ends.append((phase(shop), real_weights(shop), [entry["outcome"] for entry in status(shop)["history"]]))

    assert ends[0] == ends[1]


async def test_a_restart_begins_with_the_evidence_that_was_there(shop: Shop) -> None:
    await begin(shop)
    await canary_at(shop, 25, error_share=0.004)
    await shop.run(4)
    before = copy.deepcopy(status(shop))
    writes = len(shop.cluster.writes)

    shop.restart_operator()
    await shop.settle()

    assert status(shop) == before
    later = [write for write in shop.cluster.writes[writes:] if write.ref.kind is not Kind.DRIFT_POLICY]
    assert later == [], "a policy may catch up with the numbers"
    await shop.run(3)
    counted = [entry["candidate"]["n"] for entry in status(shop)["analysis"]]
    assert all(after > entry["candidate"]["n"] for after, entry in zip(counted, before["analysis"], strict=True))


async def test_looking_again_within_a_tick_judges_nothing_twice(shop: Shop) -> None:
    await begin(shop)
    await canary_at(shop, 25)
    await shop.run(4)
    before, reads = copy.deepcopy(status(shop)), shop.stats.reads
    for _ in range(5):
        await shop.look(shop.ref(TS, "fraud"))

    assert status(shop) == before
    assert shop.stats.reads == reads


async def test_its_own_status_writes_cause_no_further_writes(shop: Shop) -> None:
    await begin(shop)
    await canary_at(shop, 25)
    await shop.run(2)

    assert await shop.writes_while_quiet() == []


async def test_there_is_one_tick_each_second_and_one_write_at_most(shop: Shop) -> None:
    await begin(shop, steps=[{"weight": 50, "hold": "1h"}, {"weight": 100}])
    await canary_at(shop, 50)
    await shop.run(10)
    reads, writes = shop.stats.reads, len(shop.cluster.writes)
    await shop.run(100)

    assert shop.stats.reads - reads <= 100 / TICK_SECONDS + 1
    mine = [write for write in shop.cluster.writes[writes:] if write.ref.kind is TS]
    assert len(mine) <= 100 / TICK_SECONDS + 1


async def test_the_counts_of_a_restarted_router_are_counted_once(shop: Shop) -> None:
    await begin(shop, steps=[{"weight": 50, "hold": "1h"}, {"weight": 100}])
    await canary_at(shop, 50)
    await shop.run(20)
    before = status(shop)["analysis"][0]["candidate"]["n"]
    shop.stats.restart("penstock-router-0")
    await shop.run(20)

    after = status(shop)["analysis"][0]["candidate"]["n"]
    assert 900 <= after - before <= 1100


@pytest.mark.parametrize("failing", range(1, 20, 2))
async def test_a_write_that_fails_at_any_point_of_a_rollout_is_made_up_for(shop: Shop, failing: int) -> None:
    await begin(shop)
    seen = iter(range(1, 10_000))
    shop.cluster.fail(ClusterUnavailable("etcd is away"), when=lambda *_: next(seen) == failing)
    await canary(shop)
    await shop.run(600, until=is_phase(shop, "Promoted"))
    await shop.run(5)
    name = shop.status(MD, "fraud")["latestRevision"]

    assert real_weights(shop) == written_weights(shop) == {name: 100}
    assert [entry["outcome"] for entry in status(shop)["history"]] == ["Promoted"]


async def test_a_router_that_comes_later_gets_the_weights_of_the_moment(shop: Shop) -> None:
    await begin(shop)
    await canary_at(shop, 25)
    shop.cluster.remove(shop.ref(Kind.POD, "penstock-router-0"))
    await shop.settle()
    await shop.run(600, until=is_phase(shop, "Promoted"))

    assert phase(shop) == "Promoted"


@pytest.mark.parametrize("kind", [Kind.DEPLOYMENT, Kind.NETWORK_POLICY, Kind.POD_DISRUPTION_BUDGET])
async def test_a_part_of_the_fleet_that_somebody_deletes_comes_back(shop: Shop, kind: Kind) -> None:
    await begin(shop)
    shop.delete(kind, ROUTER)
    await shop.run(5)

    assert ROUTER in shop.names(kind)
    assert await shop.writes_while_quiet() == []


# --- problems ---


async def test_a_missing_model_deployment_is_told_and_traffic_stays(shop: Shop) -> None:
    stable = await begin(shop)
    shop.delete(MD, "fraud")
    await shop.run(60)

    condition = shop.condition(TS, "fraud", "Ready")
    assert (condition["status"], condition["reason"]) == ("False", "ModelDeploymentNotFound")
    assert real_weights(shop) == {stable: 100}
    assert shop.reasons().count("ModelDeploymentNotFound") == 1
    assert await shop.writes_while_quiet() == []


async def test_a_blocked_split_keeps_its_routes_over_a_restart(shop: Shop) -> None:
    stable = await begin(shop)
    candidate = await canary_at(shop, 25)
    shop.delete(MD, "fraud")
    await shop.settle()
    shop.router.published.clear()
    shop.router.running.clear()
    shop.restart_operator()
    await shop.settle()

    assert real_weights(shop) == {stable: 75, candidate: 25}


async def test_a_model_deployment_that_was_made_anew_serves_again(shop: Shop) -> None:
    await begin(shop)
    shop.delete(MD, "fraud")
    await shop.run(10)
    shop.apply(MD, "fraud", model(7))
    await shop.run(30)

    name = shop.status(MD, "fraud")["stableRevision"]
    assert real_weights(shop) == {name: 100}
    assert shop.condition(TS, "fraud", "Ready")["status"] == "True"


async def test_two_splits_over_one_model_leave_the_older_one_in_charge(shop: Shop) -> None:
    await begin(shop)
    shop.apply(TS, "rival", split_spec(policies=()))
    await shop.run(5)

    assert shop.condition(TS, "rival", "Ready")["reason"] == "ModelDeploymentTaken"
    assert shop.condition(TS, "fraud", "Ready")["status"] == "True"
    shop.delete(TS, "fraud")
    await shop.run(60)
    assert shop.condition(TS, "rival", "Ready")["status"] == "True"


async def test_a_split_with_the_name_of_another_model_is_told_to_take_another(shop: Shop) -> None:
    shop.apply(MD, "fraud", model(1))
    shop.apply(MD, "other", model(2))
    shop.apply(TS, "other", split_spec(policies=()))
    await shop.run(5)

    assert shop.condition(TS, "other", "Ready")["reason"] == "EndpointTaken"
    assert REVISION in shop.get(Kind.SERVICE, "other")["spec"]["selector"]


async def test_an_invalid_split_is_told_and_its_routes_stay(shop: Shop) -> None:
    stable = await begin(shop)
    shop.apply(TS, "fraud", {**split_spec(), "strategy": {"steps": [{"weight": "much"}]}})
    await shop.settle()

    assert shop.condition(TS, "fraud", "Ready")["reason"] == "InvalidSpec"
    assert real_weights(shop) == {stable: 100}


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda shop: shop.delete(DP, "guard"), "there is no DriftPolicy guard"),
        (lambda shop: shop.apply(DP, "guard", {**GUARD, "target": {"name": "other"}}), "targets other"),
        (lambda shop: shop.apply(DP, "guard", {**GUARD, "metrics": [{"name": "x"}]}), "is invalid"),
        (
            lambda shop: shop.apply(
                DP, "guard", {**GUARD, "metrics": [{"name": "x", "source": "ErrorRate", "limit": "0%"}]}
            ),
            "cannot judge",
        ),
    ],
    ids=["deleted", "of another split", "invalid", "a limit that nothing can keep"],
)
async def test_a_policy_that_cannot_judge_holds_the_rollout_and_says_why(
    shop: Shop, change: Callable[[Shop], object], words: str
) -> None:
    old = await begin(shop)
    name = await canary_at(shop, 5)
    change(shop)
    await shop.run(300)

    assert real_weights(shop) == {old: 95, name: 5}
    assert words in shop.condition(TS, "fraud", "Ready")["message"]
    assert shop.rejections == []


async def test_a_router_name_that_somebody_else_has_is_told(shop: Shop) -> None:
    theirs = {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": ROUTER, "namespace": "shop"}}
    container = {"name": "x", "image": "x"}
    shop.cluster.put({**theirs, "spec": {"template": {"metadata": {}, "spec": {"containers": [container]}}}})
    stable = await begin(shop)

    condition = shop.condition(TS, "fraud", "Ready")
    assert (condition["status"], condition["reason"]) == ("False", "NotOwned")
    assert "Deployment shop/penstock-router" in condition["message"]
    assert endpoint(shop)["selector"] == {REVISION: stable}


async def test_a_service_name_that_somebody_else_has_is_told(shop: Shop) -> None:
    theirs = {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "front", "namespace": "shop"}}
    shop.cluster.put({**theirs, "spec": {"selector": {"app": "theirs"}, "ports": []}})
    shop.apply(MD, "fraud", model(1))
    shop.apply(TS, "front", split_spec(policies=()))
    await shop.run(5)

    condition = shop.condition(TS, "front", "Ready")
    assert (condition["status"], condition["reason"]) == ("False", "NotOwned")
    assert "Service shop/front" in condition["message"]
    assert shop.get(Kind.SERVICE, "front")["spec"]["selector"] == {"app": "theirs"}


async def test_an_endpoint_of_the_splits_own_that_is_deleted_comes_back_with_its_address(shop: Shop) -> None:
    shop.apply(MD, "fraud", model(1))
    shop.apply(TS, "front", split_spec(policies=()))
    await shop.run(10)
    address = shop.get(Kind.SERVICE, "front")["spec"]["clusterIP"]
    assert shop.status(TS, "front")["clusterIP"] == address

    shop.delete(Kind.SERVICE, "front")
    await shop.run(60)

    assert shop.get(Kind.SERVICE, "front")["spec"]["clusterIP"] == address


# --- deletion ---


async def test_a_deleted_split_hands_the_endpoint_back_and_its_routes_linger(shop: Shop) -> None:
    stable = await begin(shop)
    address = endpoint(shop)["clusterIP"]
    shop.delete(TS, "fraud")
    await shop.settle()

    assert endpoint(shop)["selector"] == {REVISION: stable}
    assert endpoint(shop)["clusterIP"] == address
    assert real_weights(shop) == {stable: 100}
    await shop.run(29)
    assert shop.router.published["shop"] != ()
    await shop.run(5)
    assert shop.router.published["shop"] == ()


async def test_the_fleet_goes_with_the_last_split(shop: Shop) -> None:
    await begin(shop)
    shop.delete(TS, "fraud")
    await shop.run(60)

    assert ROUTER not in shop.names(Kind.DEPLOYMENT)


async def test_deleting_the_split_does_not_bring_back_what_it_took_away(shop: Shop) -> None:
    old = await begin(shop)
    await canary_at(shop, 5, error_share=0.5)
    await shop.run(600, until=is_phase(shop, "RolledBack"))
    shop.delete(TS, "fraud")
    await shop.run(60)

    assert endpoint(shop)["selector"] == {REVISION: old}
    assert shop.condition(MD, "fraud", "Ready")["reason"] == "RevisionRejected"


async def test_a_split_that_is_made_again_while_its_routes_linger_keeps_them(shop: Shop) -> None:
    stable = await begin(shop)
    shop.delete(TS, "fraud")
    await shop.run(10)
    shop.apply(TS, "fraud", split_spec())
    await shop.run(60)

    assert real_weights(shop) == {stable: 100}
    assert endpoint(shop)["selector"][APP_NAME] == ROUTER


# --- commands ---


async def test_a_command_is_carried_out_once_and_answered(shop: Shop) -> None:
    await begin(shop)
    await canary_at(shop, 5)
    shop.command("fraud", json.dumps({"verb": "pause", "id": "1", "by": "ada"}))
    await shop.run(3)
    told = status(shop)["lastCommand"]
    assert phase(shop) == "Paused"
    assert (told["id"], told["verb"], told["by"], told["outcome"]) == ("1", "pause", "ada", "held at 5%")

    await shop.run(60)
    assert status(shop)["lastCommand"] == told
    assert shop.reasons().count("CommandReceived") == 1

    shop.command("fraud", json.dumps({"verb": "resume", "id": "2", "by": "bob"}))
    await shop.run(600, until=is_phase(shop, "Promoted"))
    assert phase(shop) == "Promoted"


async def test_an_abort_takes_all_traffic_back_at_once(shop: Shop) -> None:
    old = await begin(shop)
    await canary_at(shop, 25)
    shop.command("fraud", json.dumps({"verb": "abort", "id": "1", "by": "ada"}))
    await shop.settle()

    assert real_weights(shop) == written_weights(shop) == {old: 100}
    assert status(shop)["rejected"][0]["reason"] == "Aborted"
    assert await shop.writes_while_quiet() == []


async def test_a_full_promotion_needs_no_patience(shop: Shop) -> None:
    await begin(shop)
    new = await canary_at(shop, 5)
    shop.command("fraud", json.dumps({"verb": "promote", "id": "1", "by": "ada", "full": True}))
    await shop.settle()
    assert real_weights(shop) == {new: 100}

    shop.command("fraud", json.dumps({"verb": "promote", "id": "2", "by": "ada", "full": True}))
    await shop.settle()

    assert phase(shop) == "Promoted"
    assert status(shop)["history"][0]["by"] == "ada"


@pytest.mark.parametrize("text", ["promote!", "{}", '{"verb": "fly", "id": "1", "by": "ada"}'])
async def test_what_is_no_command_is_refused_once(shop: Shop, text: str) -> None:
    await begin(shop)
    shop.command("fraud", text)
    await shop.run(60)

    assert status(shop)["lastCommand"]["outcome"].startswith("Refused: ")
    assert shop.reasons().count("CommandRefused") == 1
    assert await shop.writes_while_quiet() == []


async def test_a_command_that_was_carried_out_is_not_again_after_a_slip_of_the_pen(shop: Shop) -> None:
    await begin(shop, steps=[{"weight": 5, "hold": "1h"}, {"weight": 100}])
    await canary_at(shop, 5)
    pause = json.dumps({"verb": "pause", "id": "1", "by": "ada"})
    shop.command("fraud", pause)
    await shop.settle()
    shop.command("fraud", json.dumps({"verb": "resume", "id": "2", "by": "ada"}))
    await shop.settle()
    shop.command("fraud", "oops")
    await shop.settle()
    shop.command("fraud", json.dumps({"verb": "resume", "id": "2", "by": "ada"}))
    await shop.settle()

    assert shop.reasons().count("CommandReceived") == 2
