"""What live rows are compared with: the first ones, those of a named time, the stable revision's of the same time."""

from typing import Any

import pytest
from tests.fakes.counting_pods import CountingPod, profile_of
from tests.fakes.shop import PROFILE_SECONDS, Shop
from tests.penstock_operator.reconcile.test_drift_watch import DP, MD, TS, WINDOW, Traffic, model, policy, rows

from penstock_operator.core.conditions import timestamp
from penstock_operator.core.names import REVISION
from penstock_operator.core.objects import Kind, Manifest, ObjectRef, ref_of

ASKED = {"inputs": {}, "outputs": {}, "correlation": True, "contribution": {}}


@pytest.fixture
async def traffic(shop: Shop) -> Traffic:
    shop.apply(MD, "fraud", {**model(1), "replicas": 2})
    await shop.settle()
    return Traffic(shop)


def first_rows(count: int) -> dict[str, Any]:
    return policy(drift={**ASKED, "reference": "FirstRows", "firstRows": {"rows": count}}, dataQuality=None)


def parts(shop: Shop) -> list[Manifest]:
    return [
        one for one in shop.cluster.list(Kind.CONTROLLER_REVISION, "shop") if "-reference-" in one["metadata"]["name"]
    ]


async def test_the_first_rows_become_the_reference_and_outlive_restarts(shop: Shop, traffic: Traffic) -> None:
    pods = traffic.serve()
    shop.apply(DP, "guard", first_rows(4000))
    await shop.settle()
    # All of it is far from the profile; what has begun so is no drift.
    await traffic.windows(11, *pods, amount=2.0)
    watching = shop.condition(DP, "guard", "Watching")
    assert (watching["status"], watching["reason"]) == ("Unknown", "GatheringReference")
    assert watching["message"].startswith("2000 of the first 4000 rows")
    assert len(parts(shop)) == 2
    assert shop.condition(DP, "guard", "Healthy")["status"] == "Unknown"

    shop.restart_operator()  # a part that was not full is lost, what is kept stays
    await traffic.windows(12, *pods, amount=2.0)
    assert len(parts(shop)) == 4
    kept = [part["data"]["counts"] for part in parts(shop)]
    await traffic.windows(8, *pods, amount=2.0)
    assert shop.condition(DP, "guard", "Healthy")["status"] == "True"
    assert "against the first 4000 rows, which are kept" in shop.condition(DP, "guard", "Watching")["message"]

    shop.restart_operator()
    await traffic.windows(4, *pods, amount=3.0)
    assert shop.condition(DP, "guard", "Healthy")["reason"] == "InputDrift"
    assert [part["data"]["counts"] for part in parts(shop)] == kept


async def test_a_reference_that_is_deleted_is_gathered_anew(shop: Shop, traffic: Traffic) -> None:
    pods = traffic.serve()
    shop.apply(DP, "guard", first_rows(2000))
    await shop.settle()
    await traffic.windows(14, *pods)
    assert shop.condition(DP, "guard", "Watching")["status"] == "True"
    for part in parts(shop):
        assert part["metadata"]["ownerReferences"][0]["name"] == "guard"
        shop.cluster.remove(_ref(part))
    await traffic.windows(2, *pods)
    assert shop.condition(DP, "guard", "Watching")["reason"] == "GatheringReference"


async def test_a_reference_that_was_damaged_is_told_and_nothing_is_judged(shop: Shop, traffic: Traffic) -> None:
    pods = traffic.serve()
    shop.apply(DP, "guard", first_rows(2000))
    await shop.settle()
    await traffic.windows(14, *pods)
    name = parts(shop)[0]["metadata"]["name"]
    shop.cluster.edit(_ref(parts(shop)[0]), lambda one: one["data"].update(counts="AAAA"))
    shop.restart_operator()
    await traffic.windows(3, *pods, amount=3.0)
    watching = shop.condition(DP, "guard", "Watching")
    assert (watching["status"], watching["reason"]) == ("False", "ReferenceDamaged")
    assert f"ControllerRevision {name} cannot be used" in watching["message"]
    assert shop.condition(DP, "guard", "Healthy")["status"] == "Unknown"


async def test_references_of_revisions_that_are_gone_go_with_them(shop: Shop, traffic: Traffic) -> None:
    pods = traffic.serve()
    shop.apply(DP, "guard", first_rows(1000))
    await shop.settle()
    await traffic.windows(8, *pods)
    old = shop.status(MD, "fraud")["stableRevision"]
    assert {part["metadata"]["labels"][REVISION] for part in parts(shop)} == {old}
    shop.apply(MD, "fraud", {**model(2), "replicas": 2, "revisionHistoryLimit": 0})
    await shop.settle()
    await traffic.windows(8, *traffic.serve())
    new = shop.status(MD, "fraud")["stableRevision"]
    assert {part["metadata"]["labels"][REVISION] for part in parts(shop)} == {new}


async def test_a_window_that_a_person_names_becomes_the_reference_when_it_is_over(shop: Shop, traffic: Traffic) -> None:
    pods, now = traffic.serve(), shop.clock.now()
    window = {"from": timestamp(now + 100), "until": timestamp(now + 100 + 20 * PROFILE_SECONDS)}
    shop.apply(DP, "guard", policy(drift={**ASKED, "reference": "Window", "window": window}, dataQuality=None))
    await shop.settle()
    await traffic.windows(2, *pods, amount=9.0)  # before it begins nothing counts
    assert "begins in" in shop.condition(DP, "guard", "Watching")["message"]
    await traffic.windows(10, *pods, amount=1.0)
    shop.restart_operator()
    await traffic.windows(14, *pods, amount=1.0)
    assert shop.condition(DP, "guard", "Watching")["status"] == "True"
    assert "rows of spec.drift.window, which are kept" in shop.condition(DP, "guard", "Watching")["message"]
    await traffic.windows(6, *pods, amount=1.0)
    assert shop.condition(DP, "guard", "Healthy")["status"] == "True"
    await traffic.windows(4, *pods)
    assert shop.condition(DP, "guard", "Healthy")["reason"] == "InputDrift"


async def test_a_window_of_the_past_is_told_to_be_one(shop: Shop, traffic: Traffic) -> None:
    pods = traffic.serve()
    window = {"from": "2020-01-01T00:00:00Z", "until": "2020-01-08T00:00:00Z"}
    shop.apply(DP, "guard", policy(drift={**ASKED, "reference": "Window", "window": window}))
    await shop.settle()
    await traffic.windows(2, *pods)
    watching = shop.condition(DP, "guard", "Watching")
    assert (watching["status"], watching["reason"]) == ("False", "ReferenceMissing")
    assert "name a time to come" in watching["message"]


class Rollout:
    """A candidate beside the stable, each with its pods."""

    def __init__(self, shop: Shop, traffic: Traffic) -> None:
        self.shop, self.traffic = shop, traffic

    async def begin(self, asked: dict[str, Any], profile: Any = None) -> None:
        shop = self.shop
        shop.apply(DP, "guard", asked)
        steps = [{"weight": 50, "hold": "2h"}, {"weight": 100}]
        split = {"stable": {"modelDeployment": "fraud"}, "strategy": {"steps": steps}, "policies": ["guard"]}
        shop.apply(TS, "fraud", split)
        await shop.run(5)
        self.stable = self.traffic.serve()
        shop.apply(MD, "fraud", {**model(2), "replicas": 2})
        await shop.settle()
        self.latest = shop.status(MD, "fraud")["latestRevision"]
        await shop.run(60, until=lambda: bool(shop.status(TS, "fraud")["candidates"][0]["weight"]))
        pods = shop.cluster.list(Kind.POD, "shop", {REVISION: self.latest})
        for pod in pods:
            shop.serving.pods[pod["metadata"]["name"]] = CountingPod(profile or self.traffic.profile)
        self.candidate = [shop.serving.pods[pod["metadata"]["name"]] for pod in pods]
        await shop.run(PROFILE_SECONDS)

    async def windows(self, count: int, *, power: float = 1.0, **shift: float) -> None:
        for _ in range(count):
            for pod in (*self.stable, *self.candidate):
                answered = dict(rows(self.traffic.rng, WINDOW // 2, **shift))
                if pod in self.candidate:
                    answered["score"] = answered["score"] ** power
                pod.now = self.shop.clock.now()
                pod.serve(answered)
            await self.shop.run(PROFILE_SECONDS)


def beside_stable() -> dict[str, Any]:
    return policy(
        target={"name": "fraud"},
        drift={**ASKED, "reference": "Stable"},
        dataQuality=None,
        actions=[{"signals": ["Outputs"], "when": "AttributableToRevision", "do": ["Rollback", "Alert"]}],
    )


async def test_beside_the_stable_inputs_that_move_for_both_are_no_drift_and_other_answers_are_taken_back(
    shop: Shop, traffic: Traffic
) -> None:
    rollout = Rollout(shop, traffic)
    await rollout.begin(beside_stable())
    await rollout.windows(4)
    await rollout.windows(6, amount=2.0)
    assert shop.condition(DP, "guard", "Healthy")["status"] == "True"
    assert "the stable revision's rows of the same time" in next(
        one["message"] for one in shop.status(DP, "guard")["targets"] if one["role"] == "Candidate"
    )
    assert shop.status(TS, "fraud").get("rejected", []) == []
    await rollout.windows(6, power=4.0, amount=2.0)
    rejected = shop.status(TS, "fraud")["rejected"]
    assert [(one["revision"], one["by"]) for one in rejected] == [(rollout.latest, "guard/outputs/score")]


async def test_a_candidate_with_other_bins_than_the_stable_is_told_what_to_do(shop: Shop, traffic: Traffic) -> None:
    rollout = Rollout(shop, traffic)
    await rollout.begin(beside_stable(), profile_of(rows(traffic.rng, 5000, amount=1.0)))
    await rollout.windows(2)
    target = next(one for one in shop.status(DP, "guard")["targets"] if one["role"] == "Candidate")
    assert target["reason"] == "ProfileMismatch"
    assert "name the same profile in spec.model.profile of both" in target["message"]


def _ref(manifest: Manifest) -> ObjectRef:
    return ref_of(Kind.CONTROLLER_REVISION, manifest)
