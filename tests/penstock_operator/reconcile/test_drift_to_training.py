"""Live traffic drifts: somebody is told, and a training begins once, however often the operator begins anew."""

from typing import Any

import numpy as np
import pytest
from tests.fakes.counting_pods import CountingPod, profile_of
from tests.fakes.shop import NAMESPACE, Shop
from tests.penstock_operator.reconcile.test_acting import CRON_JOB
from tests.penstock_operator.reconcile.test_drift_watch import WINDOW, Traffic, model, policy, rows

from penstock_operator.core.names import REVISION
from penstock_operator.core.objects import Kind

DP, TS, MD = Kind.DRIFT_POLICY, Kind.TRAFFIC_SPLIT, Kind.MODEL_DEPLOYMENT
WEBHOOK = "http://alertmanager.monitoring.svc:9093/api/v2/alerts"
ACTIONS: dict[str, Any] = {
    "actions": [
        {"signals": ["Inputs"], "do": ["Alert", "Retrain"]},
        {"signals": ["Outputs", "Correlation", "Contribution", "DataQuality"], "do": ["Alert"]},
    ],
    "retrain": {"cronJob": "train"},
    "alert": {"webhook": {"url": WEBHOOK}},
}


@pytest.fixture
async def traffic(shop: Shop) -> Traffic:
    """Traffic as the reference had it, judged for some windows."""
    shop.trainer.cron_jobs[NAMESPACE, "train"] = CRON_JOB
    shop.apply(MD, "fraud", {**model(1), "replicas": 2})
    await shop.settle()
    return Traffic(shop)


def told(shop: Shop) -> list[str]:
    """The signals that the webhook would be told of now, those that ended left out."""
    letter = shop.letters.held[shop.ref(DP, "guard")]["alerts"]
    return [dict(one.labels)["signal"] for one in letter.alerts if one.ends_at is None]


async def test_one_feature_drifts_and_one_training_begins(shop: Shop, traffic: Traffic) -> None:
    pods = traffic.serve()
    shop.apply(DP, "guard", policy(**ACTIONS))
    await shop.settle()
    await traffic.windows(6, *pods)
    assert told(shop) == []
    assert shop.trainer.jobs == {}
    for _ in range(3):
        await traffic.windows(2, *pods, amount=1.0)
        shop.restart_operator()
    await traffic.windows(2, *pods, amount=1.0)
    assert "inputs/amount" in told(shop)
    assert "inputs/hour" not in told(shop)
    ((_, name),) = shop.trainer.jobs
    (training,) = shop.status(DP, "guard")["trainings"]
    assert (training["name"], training["alarm"], training["state"]) == (name, "inputs/amount", "Started")
    assert shop.reasons().count("InputDrift") == 1
    assert shop.deeds.count(("guard", "Retrain")) == 1
    (job,) = shop.trainer.jobs.values()
    (container,) = job["spec"]["template"]["spec"]["containers"]
    environment = {entry["name"]: entry["value"] for entry in container["env"]}
    assert environment["PENSTOCK_REVISION"] == shop.status(MD, "fraud")["stableRevision"]


async def test_what_the_training_publishes_is_judged_on_the_moved_traffic_and_promoted_and_the_alert_ends(
    shop: Shop, traffic: Traffic
) -> None:
    blame = {"signals": ["Metrics", "Outputs"], "when": "AttributableToRevision", "do": ["Rollback", "Alert"]}
    errors = {"name": "errors", "source": "ErrorRate", "against": "Stable"}
    asked = {**ACTIONS, "actions": [blame, *ACTIONS["actions"]], "metrics": [errors]}
    shop.apply(DP, "guard", policy(target={"name": "fraud"}, **asked))
    steps = [{"weight": 50, "hold": "2m", "require": "Pass"}, {"weight": 100, "hold": "1m"}]
    split = {"stable": {"modelDeployment": "fraud"}, "strategy": {"steps": steps}, "policies": ["guard"]}
    shop.apply(TS, "fraud", split)
    await shop.run(5)
    old = traffic.serve()
    await traffic.windows(6, *old, amount=1.0)
    assert [one["state"] for one in shop.status(DP, "guard")["trainings"]] == ["Started"]

    # The training: a new version, with a reference of rows as they are now, that answers otherwise than the old one.
    def answers(count: int) -> dict[str, Any]:
        drawn = dict(rows(traffic.rng, count, amount=1.0))
        return {**drawn, "score": np.clip(drawn["score"] ** 2, 1e-6, 1 - 1e-6)}

    fresh = profile_of(answers(20_000))
    shop.apply(MD, "fraud", {**model(2), "replicas": 2})
    await shop.settle()
    latest = shop.status(MD, "fraud")["latestRevision"]
    new = []
    for _ in range(60):
        for pod in shop.cluster.list(Kind.POD, NAMESPACE, {REVISION: latest}):
            name = pod["metadata"]["name"]
            if name not in shop.serving.pods:
                shop.serving.pods[name] = CountingPod(fresh)
                new.append(shop.serving.pods[name])
        for counting in new:
            counting.now = shop.clock.now()
            counting.serve(answers(WINDOW // 2))
        await traffic.windows(1, *old, amount=1.0)
        if shop.status(TS, "fraud")["phase"] == "Promoted" and told(shop) == []:
            break
    status = shop.status(TS, "fraud")
    assert (status["phase"], status["stableRevision"]) == ("Promoted", latest)
    assert status.get("rejected", []) == []
    assert told(shop) == []
    assert len(shop.trainer.jobs) == 1


async def test_the_alert_ends_with_the_drift_and_a_second_drift_waits_for_the_cooldown(
    shop: Shop, traffic: Traffic
) -> None:
    pods = traffic.serve()
    shop.apply(DP, "guard", policy(**ACTIONS))
    await shop.settle()
    await traffic.windows(4, *pods, amount=1.0)
    assert "inputs/amount" in told(shop)
    await traffic.windows(40, *pods)
    assert told(shop) == []
    await traffic.windows(6, *pods, amount=1.0)
    assert "inputs/amount" in told(shop)
    assert len(shop.trainer.jobs) == 1
    held = [one.get("held", "") for one in shop.status(DP, "guard")["alarms"] if one["name"] == "inputs/amount"]
    assert any("cooldown until" in words for words in held)


async def test_rows_that_are_broken_are_not_trained_on(shop: Shop, traffic: Traffic) -> None:
    pods = traffic.serve()
    shop.apply(DP, "guard", policy(**ACTIONS))
    await shop.settle()
    await traffic.windows(2, *pods, amount=np.nan, age=1.5)
    await traffic.windows(4, *pods, amount=np.nan, age=1.5)
    alarms = {one["name"]: one for one in shop.status(DP, "guard")["alarms"]}
    assert "dataQuality/amount/missing" in alarms
    assert "Retrain waits: the data are broken: dataQuality/amount/missing" in alarms["inputs/age"]["held"]
    assert shop.trainer.jobs == {}


async def test_a_drift_in_one_window_of_three_is_not_confirmed(shop: Shop, traffic: Traffic) -> None:
    pods = traffic.serve()
    careful = [{"signals": ["Inputs"], "confirm": {"windows": 3, "of": 3}, "do": ["Alert", "Retrain"]}]
    shop.apply(DP, "guard", policy(**{**ACTIONS, "actions": careful}))
    await shop.settle()
    await traffic.windows(4, *pods)
    await traffic.windows(1, *pods, amount=1.0)
    assert shop.trainer.jobs == {}
    await traffic.windows(4, *pods, amount=1.0)
    assert len(shop.trainer.jobs) == 1
