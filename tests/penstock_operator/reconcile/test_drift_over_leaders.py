"""A new leader within a window: no row counts twice, no alarm comes twice, labels' evidence goes on."""

from typing import Any

from tests.fakes.counting_pods import CountingPod
from tests.fakes.shop import Shop
from tests.penstock_operator.reconcile.test_drift_watch import (
    DP,
    MD,
    TS,
    WINDOW,
    Traffic,
    alarm,
    model,
    policy,
    rows,
)

from penstock_contract.feedback import FeedbackCounts
from penstock_operator.core.names import REVISION
from penstock_operator.core.objects import Kind

#: While only numbers change, they are written once in ten looks.
_NUMBERS_SECONDS = 400.0


async def serving(shop: Shop) -> Traffic:
    shop.apply(MD, "fraud", {**model(1), "replicas": 2})
    await shop.settle()
    return Traffic(shop)


async def test_a_leader_that_dies_within_a_window_leaves_nothing_that_counts_twice(shop: Shop) -> None:
    traffic = await serving(shop)
    pods = traffic.serve()
    shop.apply(DP, "guard", policy(actions=[{"signals": ["Inputs"], "do": ["Alert"]}]))
    await shop.settle()
    await traffic.windows(3, *pods)
    await traffic.windows(3, *pods, amount=2.0)
    first = alarm(shop, "inputs/amount")
    await shop.run(_NUMBERS_SECONDS)
    # Half a window has been counted and looked at, and is not judged when the leader dies.
    for pod in pods:
        pod.now = shop.clock.now()
        pod.serve(rows(traffic.rng, WINDOW // 4, amount=2.0))
    await shop.run(31)
    shop.restart_operator()
    await shop.run(31)
    assert alarm(shop, "inputs/amount")["window"] == first["window"]
    await traffic.windows(4, *pods, amount=2.0)
    await shop.run(_NUMBERS_SECONDS)
    target = shop.status(DP, "guard")["targets"][0]
    served = sum(pod.message()["counts"]["rows"] for pod in pods)
    lost = served - target["rows"] - target["waiting"]
    assert lost == WINDOW // 2
    again = alarm(shop, "inputs/amount")
    assert (again["window"], again["since"]) == (first["window"], first["since"])
    assert shop.reasons().count("InputDrift") == 1
    assert shop.deeds.count(("guard", "Alert")) == 1


async def test_the_evidence_of_labels_against_stable_goes_on_with_the_next_leader(shop: Shop) -> None:
    traffic = await serving(shop)
    shop.apply(
        TS, "fraud", {"stable": {"modelDeployment": "fraud"}, "strategy": {"steps": [{"weight": 50, "pause": {}}]}}
    )
    await shop.settle()
    stable = traffic.serve()
    shop.apply(MD, "fraud", {**model(2), "replicas": 2})
    await shop.run(60)
    candidate = shop.status(TS, "fraud")["candidates"][0]["revision"]
    names = [one["metadata"]["name"] for one in shop.cluster.list(Kind.POD, "shop", {REVISION: candidate})]
    trial = _counting(traffic, names)
    asked: dict[str, Any] = {"labelled": {"against": "Stable"}}
    target = {"kind": "TrafficSplit", "name": "fraud"}
    shop.apply(DP, "guard", policy(target=target, performance=asked))
    await shop.settle()
    for look in range(24):
        for pods, wrong in ((stable, 2), (trial, 10)):
            pods[0].feedback += FeedbackCounts(matched=40, confusion={"1": {"1": 40 - wrong, "0": wrong}})
        await traffic.windows(1, *stable, *trial)
        if look == 11:
            before = _against(shop, candidate)
            shop.restart_operator()
    after = _against(shop, candidate)
    assert before["labels"] > 0
    assert after["ticks"] > before["ticks"]
    assert after["labels"] <= 24 * 40
    assert after["evidence"] > before["evidence"] > 1
    assert alarm(shop, "performance/againstStable")["attributable"] is True


def _counting(traffic: Traffic, names: list[str]) -> list[CountingPod]:
    for name in names:
        traffic.shop.serving.pods[name] = CountingPod(traffic.profile)
    return [traffic.shop.serving.pods[name] for name in names]


def _against(shop: Shop, revision: str) -> dict[str, Any]:
    found: dict[str, Any] = next(one for one in shop.status(DP, "guard")["targets"] if one["revision"] == revision)
    against: dict[str, Any] = found["againstStable"]
    return against
