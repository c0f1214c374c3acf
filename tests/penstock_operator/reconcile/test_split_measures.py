"""A rollout judged by more than its routers: Prometheus, dry runs, and the watch after the promotion."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from tests.fakes.shop import Shop

from penstock_operator.core.objects import Kind
from penstock_operator.core.questions import Answer, Question

MD, TS, DP = Kind.MODEL_DEPLOYMENT, Kind.TRAFFIC_SPLIT, Kind.DRIFT_POLICY
ERRORS: dict[str, Any] = {"name": "errors", "source": "ErrorRate", "against": "Stable"}
SALES: dict[str, Any] = {
    "name": "sales",
    "source": "Prometheus",
    "query": 'sum(sales{revision="{{revision}}"})',
    "against": "Stable",
    "direction": "HigherIsBetter",
    "interval": "5s",
}
STEPS = [{"weight": 50, "hold": "10s", "require": "Pass"}, {"weight": 100, "hold": "1s"}]
BY_TIME = {"steps": [{"weight": 50, "hold": "10s"}, {"weight": 100, "hold": "1s"}]}


def model(digit: int) -> dict[str, Any]:
    return {"model": {"uri": f"s3://models/fraud/{digit}/model.onnx", "sha256": f"{digit:064x}"}}


async def canary(shop: Shop, *metrics: dict[str, Any], policy: dict[str, Any] | None = None, **split: Any) -> str:
    """Bring up a split with a policy and start a canary; return its revision."""
    shop.apply(MD, "fraud", model(1))
    await shop.settle()
    shop.apply(DP, "guard", {"target": {"name": "fraud"}, "metrics": list(metrics), **(policy or {})})
    spec = {"stable": {"modelDeployment": "fraud"}, "strategy": {"steps": STEPS}, "policies": ["guard"], **split}
    shop.apply(TS, "fraud", spec)
    await pass_time(shop, 5)
    shop.apply(MD, "fraud", model(2))
    await shop.settle()
    return str(shop.status(MD, "fraud")["latestRevision"])


async def pass_time(shop: Shop, seconds: int, *, until: Callable[[], bool] = lambda: False) -> None:
    """Let time pass, and what runs beside the looks run."""
    for _ in range(seconds):
        if until():
            return
        await shop.run(1)
        for _ in range(5):
            await asyncio.sleep(0)


def saying(shop: Shop, candidate: str, *, stable: float, new: float) -> None:
    """Let Prometheus say what each revision sells, a little different each time."""
    turns = iter(range(10_000))

    def says(question: Question) -> Answer:
        assert 'namespace="shop"' in question.text
        mean = new if candidate in question.text else stable
        return Answer(value=mean * (1 + next(turns) % 7 / 100))

    shop.source.says = says


def phase(shop: Shop) -> str:
    return str(shop.status(TS, "fraud").get("phase"))


def analysis(shop: Shop) -> dict[str, dict[str, Any]]:
    return {entry["metric"]: entry for entry in shop.status(TS, "fraud").get("analysis", ())}


async def test_a_candidate_that_sells_less_is_taken_back(shop: Shop) -> None:
    new = await canary(shop, ERRORS, SALES)
    saying(shop, new, stable=10.0, new=4.0)
    await pass_time(shop, 300, until=lambda: phase(shop) == "RolledBack")

    assert phase(shop) == "RolledBack"
    (rejected,) = shop.status(TS, "fraud")["rejected"]
    assert (rejected["revision"], rejected["by"]) == (new, "guard/sales")
    assert "mean 4." in rejected["message"]


async def test_a_candidate_that_sells_as_much_is_promoted(shop: Shop) -> None:
    new = await canary(shop, ERRORS, SALES)
    saying(shop, new, stable=10.0, new=10.0)
    await pass_time(shop, 600, until=lambda: phase(shop) == "Promoted")
    assert phase(shop) == "Promoted"


async def test_a_prometheus_that_is_down_holds_the_rollout_and_takes_nothing_back(shop: Shop) -> None:
    shop.source.says = lambda _: Answer(problem="Prometheus cannot be asked: no route")
    await canary(shop, ERRORS, SALES)
    await pass_time(shop, 200)

    assert phase(shop) == "Progressing"
    assert analysis(shop)["sales"]["verdict"] == "Error"
    assert "Prometheus cannot be asked" in shop.condition(TS, "fraud", "Ready")["message"]


async def test_a_source_is_asked_at_its_pace_and_no_more_when_the_rollout_is_over(shop: Shop) -> None:
    new = await canary(shop, ERRORS, SALES)
    saying(shop, new, stable=10.0, new=10.0)
    await pass_time(shop, 60)
    during = len(shop.source.asked)
    assert 8 <= during <= 26
    await pass_time(shop, 600, until=lambda: phase(shop) == "Promoted")
    after = len(shop.source.asked)
    await pass_time(shop, 60)
    assert len(shop.source.asked) == after


SMOKE: dict[str, Any] = {"name": "smoke", "source": "Job", "job": {"cronJob": "fraud-smoke"}, "interval": "5s"}


@pytest.mark.parametrize(("value", "end"), [(1.0, "Promoted"), (0.0, "RolledBack")], ids=["completes", "fails"])
async def test_a_job_decides_a_step_by_its_exit(shop: Shop, value: float, end: str) -> None:
    shop.source.says = lambda _: Answer(absent="Job fraud-smoke-1 has not ended yet")
    new = await canary(shop, SMOKE)
    await pass_time(shop, 60)
    assert phase(shop) == "Progressing"
    assert analysis(shop)["smoke"]["verdict"] == "NoData"

    shop.source.says = lambda _: Answer(value=value, told="Job fraud-smoke-1 ended")
    await pass_time(shop, 120, until=lambda: phase(shop) == end)
    assert phase(shop) == end
    assert (shop.status(TS, "fraud")["stableRevision"] == new) is bool(value)


async def test_each_step_has_a_job_of_its_own_and_none_is_asked_about_once_it_ended(shop: Shop) -> None:
    occasions: list[object] = []

    def says(question: Question) -> Answer:
        occasions.append(question.occasion)
        return Answer(value=1.0, told="completed")

    shop.source.says = says
    await canary(shop, SMOKE, afterPromotion={"watch": "5m"})
    await pass_time(shop, 300, until=lambda: phase(shop) == "Promoted")
    await pass_time(shop, 60)

    assert phase(shop) == "Promoted"
    assert None not in occasions
    assert len(occasions) == len(set(occasions)) == len(STEPS)


async def test_a_dry_run_is_told_and_the_rollout_goes_on(shop: Shop) -> None:
    new = await canary(shop, {**ERRORS, "dryRun": True}, strategy=BY_TIME)
    shop.stats.behaviours[new].error_share = 0.5
    await pass_time(shop, 120, until=lambda: phase(shop) == "Promoted")

    assert phase(shop) == "Promoted"
    assert (analysis(shop)["errors"]["verdict"], analysis(shop)["errors"]["dryRun"]) == ("Fail", True)


async def test_a_policy_that_runs_dry_takes_nothing_back(shop: Shop) -> None:
    new = await canary(shop, ERRORS, policy={"dryRun": True}, strategy=BY_TIME)
    shop.stats.behaviours[new].error_share = 0.5
    await pass_time(shop, 120, until=lambda: phase(shop) == "Promoted")
    assert phase(shop) == "Promoted"


@pytest.mark.parametrize("restart", [False, True], ids=["", "after a restart of the operator"])
async def test_a_promoted_revision_that_turns_bad_in_its_watch_goes_back(shop: Shop, *, restart: bool) -> None:
    new = await canary(shop, ERRORS, afterPromotion={"watch": "10m"})
    await pass_time(shop, 600, until=lambda: phase(shop) == "Promoted")
    old = shop.status(TS, "fraud")["watch"]["revision"]
    await pass_time(shop, 30)
    assert "limit" in analysis(shop)["errors"]["message"]
    if restart:
        shop.restart_operator()
    shop.stats.behaviours[new].error_share = 0.2
    await pass_time(shop, 60, until=lambda: phase(shop) == "RolledBack")

    assert phase(shop) == "RolledBack"
    assert shop.status(TS, "fraud")["stableRevision"] == old
    assert shop.router.weights("shop", "fraud")[old] == 100


async def test_a_promoted_revision_that_sells_less_in_its_watch_goes_back(shop: Shop) -> None:
    new = await canary(shop, ERRORS, SALES, afterPromotion={"watch": "30m"})
    saying(shop, new, stable=10.0, new=10.0)
    await pass_time(shop, 600, until=lambda: phase(shop) == "Promoted")
    saying(shop, new, stable=10.0, new=2.0)
    quiet = shop.source.says
    shop.source.says = lambda question: quiet(question) if new in question.text else Answer(absent="no series")
    await pass_time(shop, 600, until=lambda: phase(shop) == "RolledBack")

    assert phase(shop) == "RolledBack"
    assert shop.status(TS, "fraud")["rejected"][0]["by"] == "guard/sales"


async def test_a_promoted_revision_that_stays_well_stands_its_watch(shop: Shop) -> None:
    new = await canary(shop, ERRORS, afterPromotion={"watch": "2m"})
    await pass_time(shop, 900, until=lambda: phase(shop) == "Promoted" and "watch" not in shop.status(TS, "fraud"))
    assert shop.status(TS, "fraud")["stableRevision"] == new
    assert "watch" not in shop.status(TS, "fraud")


async def test_a_trial_that_a_watch_follows_keeps_a_part_of_the_budget_for_it(shop: Shop) -> None:
    await canary(shop, ERRORS, afterPromotion={"watch": "2m"})
    await pass_time(shop, 10, until=lambda: bool(analysis(shop)))
    assert analysis(shop)["errors"]["limit"] == 25.0


FEW: dict[str, Any] = {"name": "few", "source": "ErrorRate", "limit": "5%"}


async def at_rest(shop: Shop, *metrics: dict[str, Any]) -> str:
    """Bring up a split that has nothing under way; return its stable revision."""
    shop.apply(MD, "fraud", model(1))
    await shop.settle()
    shop.apply(DP, "guard", {"target": {"name": "fraud"}, "metrics": list(metrics)})
    spec = {"stable": {"modelDeployment": "fraud"}, "strategy": {"steps": STEPS}, "policies": ["guard"]}
    shop.apply(TS, "fraud", spec)
    await pass_time(shop, 120)
    return str(shop.status(TS, "fraud")["stableRevision"])


@pytest.mark.parametrize("restart", [False, True], ids=["", "after a restart of the operator"])
async def test_a_stable_revision_that_turns_bad_at_rest_is_told_and_keeps_its_traffic(
    shop: Shop, *, restart: bool
) -> None:
    stable = await at_rest(shop, FEW)
    assert analysis(shop)["few"]["verdict"] in {"Undecided", "Pass"}
    if restart:
        shop.restart_operator()
    shop.stats.behaviours[stable].error_share = 0.3
    await pass_time(shop, 300, until=lambda: analysis(shop)["few"]["verdict"] == "Fail")

    assert analysis(shop)["few"]["verdict"] == "Fail"
    assert shop.condition(DP, "guard", "Healthy")["status"] == "False"
    assert shop.router.weights("shop", "fraud") == {stable: 100}
    assert phase(shop) == "Idle"
    await pass_time(shop, 40)
    assert ("guard", "Alert") in shop.deeds
    assert ("guard", "Rollback") not in shop.deeds

    shop.stats.behaviours[stable].error_share = 0.0
    await pass_time(shop, 1200, until=lambda: analysis(shop)["few"]["verdict"] != "Fail")
    assert shop.condition(DP, "guard", "Healthy")["status"] == "True"


async def test_at_rest_prometheus_is_asked_about_limits_too(shop: Shop) -> None:
    turns = iter(range(10_000))
    shop.source.says = lambda _: Answer(value=5 + next(turns) % 7 / 10)
    load = {"name": "load", "source": "Prometheus", "query": 'x{r="{{revision}}"}', "limit": "3"}
    await at_rest(shop, load, {**SALES, "interval": "30s"})
    await pass_time(shop, 1500, until=lambda: analysis(shop)["load"]["verdict"] == "Fail")

    assert analysis(shop)["load"]["verdict"] == "Fail"
    assert set(analysis(shop)) == {"load"}
    assert not any("sales" in asked for asked in shop.source.asked)


async def test_a_split_at_rest_writes_seldom(shop: Shop) -> None:
    await at_rest(shop, FEW)
    await pass_time(shop, 900)
    before = len(shop.cluster.writes)
    await pass_time(shop, 1200)
    assert len(shop.cluster.writes) - before <= 6


async def test_a_split_at_rest_with_a_request_now_and_then_writes_seldom_too(shop: Shop) -> None:
    await at_rest(shop, FEW)
    shop.stats.requests_per_second = 0.01
    await pass_time(shop, 600)
    before = len(shop.cluster.writes)
    await pass_time(shop, 1200)
    assert len(shop.cluster.writes) - before <= 30


async def test_without_limits_a_split_at_rest_is_left_alone(shop: Shop) -> None:
    await at_rest(shop, ERRORS)
    before = len(shop.cluster.writes)
    await pass_time(shop, 300)
    assert len(shop.cluster.writes) == before
    assert not analysis(shop)


async def test_a_rollout_that_begins_ends_the_rest(shop: Shop) -> None:
    stable = await at_rest(shop, FEW, ERRORS)
    shop.apply(MD, "fraud", model(2))
    await shop.settle()
    await pass_time(shop, 8)
    assert {entry["revision"] for entry in shop.status(TS, "fraud")["analysis"]} == {
        shop.status(TS, "fraud")["candidates"][0]["revision"]
    }
    await pass_time(shop, 900, until=lambda: phase(shop) == "Promoted")
    await pass_time(shop, 120)
    assert shop.status(TS, "fraud")["stableRevision"] != stable
    assert any("steady" in sums for sums in shop.status(TS, "fraud")["evidence"].values())
