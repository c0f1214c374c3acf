"""A retired model has no pods, its spec is untouched, and a command or a new version brings it back."""

import json
from typing import Any

from tests.fakes.shop import Shop
from tests.penstock_operator.reconcile.test_drift_watch import DP, MD, Traffic, model, policy

from penstock_operator.core.conditions import timestamp
from penstock_operator.core.names import REVISION
from penstock_operator.core.objects import Kind

RETIRES: dict[str, Any] = {
    "actions": [{"signals": ["Inputs"], "confirm": {"windows": 2, "of": 3}, "do": ["Retire", "Alert"]}],
    "retire": {"whileServing": True},
}


def pods(shop: Shop) -> list[str]:
    revision = shop.status(MD, "fraud")["latestRevision"]
    return [pod["metadata"]["name"] for pod in shop.cluster.list(Kind.POD, "shop", {REVISION: revision})]


async def drifted(shop: Shop, **spec: Any) -> Traffic:
    shop.apply(MD, "fraud", {**model(1), "replicas": 2})
    await shop.settle()
    traffic = Traffic(shop)
    serving = traffic.serve()
    shop.apply(DP, "guard", policy(**spec))
    await shop.settle()
    await traffic.windows(3, *serving)
    for _ in range(8):
        await traffic.windows(1, *serving, amount=2.0)
    return traffic


async def test_a_retired_model_has_no_pods_and_its_spec_is_as_it_was(shop: Shop) -> None:
    await drifted(shop, **RETIRES)
    (entry,) = shop.status(DP, "guard")["retired"]
    assert entry["revision"] == shop.status(MD, "fraud")["stableRevision"]
    assert pods(shop) == []
    assert shop.get(MD, "fraud")["spec"]["replicas"] == 2
    ready = shop.condition(MD, "fraud", "Ready")
    assert (ready["status"], ready["reason"]) == ("False", "RevisionRetired")
    assert "kubectl penstock restore guard" in ready["message"]
    assert shop.condition(MD, "fraud", "Available")["status"] == "False"
    assert shop.condition(MD, "fraud", "Stalled")["status"] == "True"
    (revision,) = shop.status(MD, "fraud")["revisions"]
    assert (revision["phase"], revision["replicas"]) == ("Withdrawn", 0)
    assert await shop.writes_while_quiet() == []
    shop.restart_operator()
    await shop.settle()
    assert pods(shop) == []
    assert shop.deeds.count(("guard", "Retire")) == 1


async def test_a_command_brings_it_back_and_the_alarm_that_still_stands_does_not_retire_it_again(shop: Shop) -> None:
    await drifted(shop, **RETIRES)
    command = json.dumps({"verb": "restore", "id": "1", "by": "ann", "at": timestamp(shop.clock.now())})
    shop.cluster.edit(
        shop.ref(DP, "guard"), lambda live: live["metadata"].setdefault("annotations", {}).update({COMMAND: command})
    )
    await shop.run(120)
    assert len(pods(shop)) == 2
    assert shop.condition(MD, "fraud", "Ready")["status"] == "True"
    assert shop.status(DP, "guard")["lastCommand"]["outcome"].startswith("restored fraud-")


async def test_a_new_version_serves_although_the_old_one_is_retired(shop: Shop) -> None:
    await drifted(shop, **RETIRES)
    shop.apply(MD, "fraud", {**model(2), "replicas": 2})
    await shop.run(120)
    assert shop.status(MD, "fraud")["stableRevision"] == shop.status(MD, "fraud")["latestRevision"]
    assert len(pods(shop)) == 2
    assert shop.condition(MD, "fraud", "Ready")["status"] == "True"


async def test_deleting_the_policy_brings_it_back(shop: Shop) -> None:
    await drifted(shop, **RETIRES)
    shop.delete(DP, "guard")
    await shop.settle()
    assert len(pods(shop)) == 2


async def test_a_model_that_alone_has_its_traffic_is_left_alone(shop: Shop) -> None:
    await drifted(shop, actions=RETIRES["actions"])
    assert "retired" not in shop.status(DP, "guard")
    assert len(pods(shop)) == 2
    assert "has traffic" in shop.status(DP, "guard")["alarms"][0]["held"]


COMMAND = "penstock.dev/command"
