"""An alarm beside the metrics takes a candidate back, or holds it, through the split that it is a candidate of."""

from typing import Any

import pytest
from tests.fakes.shop import Shop
from tests.penstock_operator.core.alarms import after, alarm, look
from tests.penstock_operator.core.alarms import spec as parsed

from penstock_operator.core.objects import Kind, ObjectRef

DP, TS, MD = Kind.DRIFT_POLICY, Kind.TRAFFIC_SPLIT, Kind.MODEL_DEPLOYMENT
METRIC = {"name": "errors", "source": "ErrorRate", "against": "Stable"}


class Untouched:
    """Leaves the policy's status as the test has written it."""

    async def reconcile(self, ref: ObjectRef) -> None:
        assert ref.kind is DP


def model(digit: int) -> dict[str, Any]:
    return {"model": {"uri": f"s3://models/fraud/{digit}/model.onnx", "sha256": f"{digit:064x}"}}


@pytest.fixture
async def canary(shop: Shop) -> str:
    """A candidate with traffic, under a policy."""
    shop.apply(MD, "fraud", model(1))
    shop.apply(DP, "guard", {"target": {"name": "fraud"}, "metrics": [METRIC]})
    steps = [{"weight": 20, "hold": "1m"}, {"weight": 100, "hold": "1m"}]
    split = {"stable": {"modelDeployment": "fraud"}, "strategy": {"steps": steps}, "policies": ["guard"]}
    shop.apply(TS, "fraud", split)
    await shop.run(5)
    shop.apply(MD, "fraud", model(2))
    await shop.run(20)
    return str(shop.status(MD, "fraud")["latestRevision"])


def blame(shop: Shop, revision: str, do: str, *, ended: bool = False) -> None:
    """Write what the policy's reconciler would."""
    shop._reconcilers[DP] = Untouched()
    action = {"signals": ["Outputs"], "when": "AttributableToRevision", "do": [do]}
    blamed = alarm("outputs/score", revision=revision, attributable=True)
    looks = [look(blamed)] + ([look(at=60.0)] if ended else [])
    told = after(parsed(actions=[action]), *looks).state.to_wire()
    shop.cluster.edit(
        shop.ref(DP, "guard"), lambda live: live.update(status={**live.get("status", {}), "alarms": [], **told})
    )


async def test_a_rollback_takes_the_candidate_back_at_once(shop: Shop, canary: str) -> None:
    blame(shop, canary, "Rollback")
    await shop.run(2)
    status = shop.status(TS, "fraud")
    assert status["phase"] == "RolledBack"
    assert status["rejected"][0]["revision"] == canary
    assert status["rejected"][0]["by"] == "guard/outputs/score"
    assert status["rejected"][0]["message"].endswith("outputs/score: PSI 0.31 over 18234 rows")


async def test_a_pause_holds_the_candidate_as_long_as_the_alarm_lasts(shop: Shop, canary: str) -> None:
    blame(shop, canary, "Pause")
    await shop.run(300)
    (candidate,) = shop.status(TS, "fraud")["candidates"]
    assert candidate["weight"] == 20
    blame(shop, canary, "Pause", ended=True)
    await shop.run(300)
    assert shop.status(TS, "fraud")["phase"] == "Promoted"


async def test_an_alarm_about_the_stable_revision_leaves_the_candidate_alone(shop: Shop, canary: str) -> None:
    blame(shop, str(shop.status(TS, "fraud")["stableRevision"]), "Rollback")
    await shop.run(300)
    assert shop.status(TS, "fraud")["phase"] == "Promoted"
    assert shop.status(TS, "fraud")["stableRevision"] == canary
