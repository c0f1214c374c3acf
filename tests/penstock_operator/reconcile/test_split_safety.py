"""What holds a rollout besides verdicts: freezes, too few pods, routers that lie; and who is told of every deed."""

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from tests.fakes.controllers import ready, starting
from tests.fakes.shop import Shop

from penstock_operator.core.objects import Kind, Manifest
from penstock_operator.ports import ClusterUnavailable

MD, TS, DP = Kind.MODEL_DEPLOYMENT, Kind.TRAFFIC_SPLIT, Kind.DRIFT_POLICY
STEPS = [{"weight": 25, "hold": "5s"}, {"weight": 50, "hold": "5s"}, {"weight": 100, "hold": "5s"}]
GUARD = {
    "target": {"name": "fraud"},
    "metrics": [{"name": "errors", "source": "ErrorRate", "against": "Stable"}],
}


def model(digit: int, replicas: int = 2) -> dict[str, Any]:
    return {"model": {"uri": f"s3://models/fraud/{digit}/model.onnx", "sha256": f"{digit:064x}"}, "replicas": replicas}


async def begin(shop: Shop, *, replicas: int = 2, **spec: Any) -> str:
    """Bring a model, a policy and a split up; return the stable revision."""
    shop.apply(MD, "fraud", model(1, replicas))
    await shop.settle()
    shop.apply(DP, "guard", GUARD)
    strategy = {"steps": STEPS}
    shop.apply(
        TS, "fraud", {"stable": {"modelDeployment": "fraud"}, "strategy": strategy, "policies": ["guard"], **spec}
    )
    await shop.run(5)
    return str(status(shop)["stableRevision"])


async def canary(shop: Shop, *, replicas: int = 2) -> str:
    shop.apply(MD, "fraud", model(2, replicas))
    await shop.settle()
    return str(shop.status(MD, "fraud")["latestRevision"])


async def canary_at(shop: Shop, weight: int, *, replicas: int = 2) -> str:
    name = await canary(shop, replicas=replicas)
    await shop.run(600, until=lambda: written(shop).get(name) == weight)
    assert written(shop)[name] == weight
    return name


def status(shop: Shop) -> dict[str, Any]:
    return shop.status(TS, "fraud")


def message(shop: Shop) -> str:
    return str(shop.condition(TS, "fraud", "Ready")["message"])


def written(shop: Shop) -> dict[str, int]:
    return {entry["revision"]: entry["weight"] for entry in status(shop).get("weights", ()) if entry["weight"]}


def real(shop: Shop) -> dict[str, int]:
    return {name: weight for name, weight in shop.router.weights("shop", "fraud").items() if weight}


def phase_is(shop: Shop, phase: str) -> Callable[[], bool]:
    return lambda: status(shop).get("phase") == phase


def command(shop: Shop, verb: str, id_: str = "1", **more: Any) -> None:
    shop.command("fraud", json.dumps({"verb": verb, "id": id_, "by": "ada", **more}))


def freeze_now(shop: Shop, *, starts_in: float = -60, lasts: str = "10m") -> list[dict[str, str]]:
    """Return a window of one day in the year that begins so many seconds from now."""
    begins = datetime.fromtimestamp(shop.clock.now(), UTC) + timedelta(seconds=starts_in)
    return [{"cron": f"{begins.minute} {begins.hour} {begins.day} {begins.month} *", "duration": lasts}]


def only(shop: Shop, revision: str, count: int) -> Callable[[Manifest], dict[str, Any]]:
    """Return a kubelet that keeps so many pods of a revision ready."""
    return lambda pod: ready(pod) if int(pod["metadata"]["name"].rpartition("-")[2]) < count else starting(pod)


class TestFreeze:
    async def test_a_freeze_holds_the_step_and_says_until_when(self, shop: Shop) -> None:
        old = await begin(shop)
        new = await canary_at(shop, 25)
        shop.apply(TS, "fraud", {**shop.get(TS, "fraud")["spec"], "freeze": freeze_now(shop)})
        await shop.run(300)
        assert real(shop) == {old: 75, new: 25}
        assert "frozen until" in message(shop)
        assert "UTC (spec.freeze[0])" in message(shop)

    async def test_after_the_freeze_the_rollout_goes_on_by_itself(self, shop: Shop) -> None:
        await begin(shop)
        new = await canary_at(shop, 25)
        shop.apply(TS, "fraud", {**shop.get(TS, "fraud")["spec"], "freeze": freeze_now(shop)})
        await shop.run(900, until=phase_is(shop, "Promoted"))
        assert real(shop) == {new: 100}

    async def test_a_candidate_that_comes_in_a_freeze_waits_without_traffic(self, shop: Shop) -> None:
        old = await begin(shop, freeze=freeze_now(shop))
        await canary(shop)
        await shop.run(300)
        assert real(shop) == {old: 100}
        await shop.run(900, until=phase_is(shop, "Promoted"))
        assert status(shop)["phase"] == "Promoted"

    async def test_evidence_takes_a_candidate_back_in_a_freeze(self, shop: Shop) -> None:
        old = await begin(shop)
        new = await canary_at(shop, 25)
        shop.apply(TS, "fraud", {**shop.get(TS, "fraud")["spec"], "freeze": freeze_now(shop)})
        await shop.run(10)
        shop.stats.behaviours[new].error_share = 0.5
        await shop.run(60)
        assert real(shop) == {old: 100}
        assert status(shop)["phase"] == "RolledBack"

    async def test_a_person_may_abort_but_not_promote_in_a_freeze(self, shop: Shop) -> None:
        old = await begin(shop)
        new = await canary_at(shop, 25)
        shop.apply(TS, "fraud", {**shop.get(TS, "fraud")["spec"], "freeze": freeze_now(shop)})
        await shop.run(5)
        command(shop, "promote", "1", full=True)
        await shop.run(5)
        assert "frozen until" in status(shop)["lastCommand"]["outcome"]
        assert real(shop)[new] == 25
        command(shop, "abort", "2")
        await shop.run(5)
        assert real(shop) == {old: 100}

    @pytest.mark.parametrize(
        ("window", "told"),
        [
            ({"cron": "61 * * * *", "duration": "1h"}, "spec.freeze[0].cron: '61 * * * *': Bad minute"),
            ({"cron": "0 * * * *", "duration": "1h"}, "spec.freeze: the windows leave no opening before"),
            ({"cron": "0 0 * * *", "duration": "1h", "timeZone": "Mars"}, "spec.freeze[0].timeZone"),
        ],
    )
    async def test_what_cannot_be_meant_is_told_holds_everything_and_stops_no_rollback(
        self, shop: Shop, window: dict[str, str], told: str
    ) -> None:
        old = await begin(shop)
        new = await canary_at(shop, 25)
        shop.apply(TS, "fraud", {**shop.get(TS, "fraud")["spec"], "freeze": [window]})
        await shop.run(120)
        stalled = shop.condition(TS, "fraud", "Stalled")
        assert (stalled["reason"], stalled["message"][: len(told)]) == ("InvalidFreeze", told)
        assert real(shop) == {old: 75, new: 25}
        shop.stats.behaviours[new].error_share = 0.5
        await shop.run(60)
        assert real(shop) == {old: 100}


class TestCapacity:
    async def test_a_weight_waits_for_the_pods_that_carry_it(self, shop: Shop) -> None:
        old = await begin(shop, replicas=4)
        new = await canary_at(shop, 25, replicas=4)
        shop.controllers.kubelets[new] = only(shop, new, 1)
        await shop.run(60)
        assert real(shop) == {old: 75, new: 25}
        assert f"{new} carries 25% with 1 ready pod; 50% needs 2" in message(shop)

        del shop.controllers.kubelets[new]
        await shop.run(120, until=phase_is(shop, "Promoted"))
        assert real(shop) == {new: 100}

    async def test_a_candidate_that_loses_pods_gives_back_what_it_cannot_carry(self, shop: Shop) -> None:
        old = await begin(shop, replicas=4)
        new = await canary_at(shop, 50, replicas=4)
        shop.controllers.kubelets[new] = only(shop, new, 1)
        await shop.run(10)
        assert real(shop) == written(shop) == {old: 75, new: 25}

    async def test_the_way_back_goes_as_fast_as_stable_can_carry_it_and_ends(self, shop: Shop) -> None:
        old = await begin(shop, replicas=4)
        new = await canary_at(shop, 50, replicas=4)
        shop.controllers.kubelets[old] = only(shop, old, 1)
        shop.stats.behaviours[new].error_share = 0.5
        seen = []
        for _ in range(40):
            await shop.run(1)
            seen.append(real(shop).get(old, 0))
        assert seen[-1] == 100, seen
        assert sorted(seen) == seen, "it never goes forward again"
        assert len(set(seen)) > 4, "not all at once"
        assert status(shop)["phase"] == "RolledBack"

    async def test_a_full_stable_revision_gets_everything_back_at_once(self, shop: Shop) -> None:
        old = await begin(shop, replicas=4)
        new = await canary_at(shop, 50, replicas=4)
        shop.stats.behaviours[new].error_share = 0.5
        weights = []
        for _ in range(10):
            await shop.run(1)
            weights.append(real(shop))
        assert weights[-1] == {old: 100}
        assert all(weight in ({old: 50, new: 50}, {old: 100}) for weight in weights)


class TestSampleRatio:
    async def test_the_realised_share_is_in_status(self, shop: Shop) -> None:
        await begin(shop)
        await canary_at(shop, 25)
        await shop.run(4)
        assert status(shop)["candidates"][0]["realisedShare"] == pytest.approx(0.25, abs=0.02)

    async def test_routers_that_do_not_follow_their_weights_are_found_and_hold_the_step(self, shop: Shop) -> None:
        old = await begin(shop)
        new = await canary(shop)
        shop.stats.really[new] = 2
        await shop.run(300)
        assert status(shop)["phase"] == "Progressing"
        assert real(shop) == {old: 75, new: 25}
        programmed = shop.condition(TS, "fraud", "Programmed")
        assert (programmed["status"], programmed["reason"]) == ("False", "SplitMismatch")
        assert f"{new} should have 25% and has" in programmed["message"]
        assert programmed["message"] in message(shop)

    async def test_the_step_goes_on_when_the_routers_are_mended(self, shop: Shop) -> None:
        await begin(shop)
        new = await canary(shop)
        shop.stats.really[new] = 2
        await shop.run(60)
        assert shop.condition(TS, "fraud", "Programmed")["reason"] == "SplitMismatch"
        shop.stats.really.clear()
        await shop.run(300, until=phase_is(shop, "Promoted"))
        assert status(shop)["phase"] == "Promoted"

    async def test_sticky_keys_are_no_mismatch(self, shop: Shop) -> None:
        await begin(shop, stickiness={"header": "x-account"})
        new = await canary(shop)
        shop.stats.really[new] = 2
        await shop.run(300, until=phase_is(shop, "Promoted"))
        assert status(shop)["phase"] == "Promoted"


class TestAudit:
    async def test_every_deed_is_told_once(self, shop: Shop) -> None:
        old = await begin(shop)
        new = await canary_at(shop, 25)
        command(shop, "pause", "1")
        await shop.run(30)
        command(shop, "resume", "2")
        await shop.run(120, until=phase_is(shop, "Promoted"))
        told = [(entry.verb, entry.id, entry.by) for entry in shop.audit]
        assert told[:2] == [("pause", "1", "ada"), ("resume", "2", "ada")]
        assert [(verb, by) for verb, _, by in told[2:]] == [("promote", "schedule")]
        assert (shop.audit[-1].split, shop.audit[-1].after) == ("fraud", {new: 100})
        assert old in shop.audit[-1].before

    async def test_a_rollback_is_told_with_its_numbers(self, shop: Shop) -> None:
        old = await begin(shop)
        new = await canary_at(shop, 25)
        shop.stats.behaviours[new].error_share = 0.5
        await shop.run(60, until=phase_is(shop, "RolledBack"))
        (entry,) = shop.audit
        assert (entry.verb, entry.by, entry.after) == ("rollback", "guard/errors", {old: 100})
        assert "against" in entry.outcome

    async def test_a_restart_tells_nothing_again_and_carries_no_command_out_again(self, shop: Shop) -> None:
        await begin(shop)
        await canary_at(shop, 25)
        command(shop, "pause", "1")
        await shop.run(5)
        command(shop, "resume", "2")
        await shop.run(2)
        before = list(shop.audit)
        shop.restart_operator()
        await shop.settle()
        command(shop, "pause", "1")  # somebody applies an old manifest once more
        await shop.run(2)
        assert shop.audit == before
        assert status(shop)["phase"] == "Progressing"
        assert [entry["id"] for entry in status(shop)["commands"]] == ["2", "1"]

    async def test_what_could_not_be_written_is_not_told(self, shop: Shop) -> None:
        await begin(shop)
        await canary_at(shop, 25)
        shop.cluster.fail(ClusterUnavailable("away"), times=3, when=lambda verb, _: verb == "status")
        command(shop, "pause", "1")
        await shop.run(30)
        assert [entry.verb for entry in shop.audit] == ["pause"]
        assert [entry["id"] for entry in status(shop)["commands"]] == ["1"]
