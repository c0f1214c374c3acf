"""Live traffic drifts: somebody is told, and a training begins once, however often the operator begins anew."""

from typing import Any

import numpy as np
import pytest
from tests.fakes.shop import NAMESPACE, Shop
from tests.penstock_operator.reconcile.test_acting import CRON_JOB
from tests.penstock_operator.reconcile.test_drift_watch import Traffic, model, policy

from penstock_operator.core.objects import Kind

DP, MD = Kind.DRIFT_POLICY, Kind.MODEL_DEPLOYMENT
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
