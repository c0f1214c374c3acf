"""A DriftPolicy follows its split: conditions, alerts, and silence while nothing changes."""

from typing import Any

from tests.fakes.shop import Shop

from penstock_operator.core.objects import Kind

DP, TS, MD = Kind.DRIFT_POLICY, Kind.TRAFFIC_SPLIT, Kind.MODEL_DEPLOYMENT
METRIC = {"name": "errors", "source": "ErrorRate", "against": "Stable"}


def spec(**changes: Any) -> dict[str, Any]:
    return {"target": {"name": "fraud"}, "metrics": [METRIC], **changes}


def split(policies: list[str]) -> dict[str, Any]:
    steps = [{"weight": 20, "hold": "1m"}, {"weight": 100}]
    return {"stable": {"modelDeployment": "fraud"}, "strategy": {"steps": steps}, "policies": policies}


def model(digit: int) -> dict[str, Any]:
    return {"model": {"uri": f"s3://models/fraud/{digit}/model.onnx", "sha256": f"{digit:064x}"}}


async def roll_back(shop: Shop, **policy: Any) -> None:
    shop.apply(MD, "fraud", model(1))
    shop.apply(DP, "guard", spec(**policy))
    shop.apply(TS, "fraud", split(["guard"]))
    await shop.run(5)
    shop.apply(MD, "fraud", model(2))
    await shop.settle()
    shop.stats.behaviours[shop.status(MD, "fraud")["latestRevision"]].error_share = 0.5
    await shop.run(120)


async def test_a_policy_becomes_ready_when_its_split_comes_and_names_it(shop: Shop) -> None:
    shop.apply(DP, "guard", spec())
    await shop.settle()
    assert shop.condition(DP, "guard", "Ready")["reason"] == "TargetNotFound"

    shop.apply(MD, "fraud", model(1))
    shop.apply(TS, "fraud", split([]))
    await shop.run(5)
    assert shop.condition(DP, "guard", "Ready")["reason"] == "NotReferenced"

    shop.apply(TS, "fraud", split(["guard"]))
    await shop.run(5)
    assert shop.condition(DP, "guard", "Ready")["status"] == "True"


async def test_a_breach_alerts_once(shop: Shop) -> None:
    await roll_back(shop)
    shop.restart_operator()
    await shop.run(60)

    assert shop.status(DP, "guard")["lastAction"]["action"] == "Rollback"
    assert shop.alerts == [("guard", "errors")]
    assert shop.reasons().count("PolicyBreached") == 1
    assert await shop.writes_while_quiet() == []


async def test_a_policy_without_alerts_is_silent(shop: Shop) -> None:
    await roll_back(shop, actions=[{"signals": ["Metrics"], "do": ["Rollback"]}])

    assert shop.status(DP, "guard")["lastAction"]["action"] == "Rollback"
    assert shop.alerts == []
    assert "PolicyBreached" not in shop.reasons()


async def test_an_invalid_policy_is_told(shop: Shop) -> None:
    shop.apply(DP, "guard", {"target": {"name": "fraud"}, "metrics": [{"name": "errors"}]})
    await shop.settle()

    assert shop.condition(DP, "guard", "Ready")["reason"] == "InvalidSpec"
    assert "source" in shop.condition(DP, "guard", "Ready")["message"]
    assert await shop.writes_while_quiet() == []


async def test_a_deleted_split_is_missed(shop: Shop) -> None:
    await roll_back(shop)
    shop.delete(TS, "fraud")
    await shop.settle()

    assert shop.condition(DP, "guard", "Ready")["reason"] == "TargetNotFound"
    assert shop.status(DP, "guard")["lastAction"]["action"] == "Rollback"
