"""A shadow gets copies and no requests, is judged by them, and goes when its answers are wrong; clients see stable."""

import asyncio
from collections.abc import Callable
from itertools import count
from typing import Any

import numpy as np
import pytest
from tests.fakes.shop import Shop

from penstock_operator.core.names import REVISION
from penstock_operator.core.objects import Kind
from penstock_operator.core.routes import Mirror, SplitRoute
from penstock_server.protocol import InferRequest, RequestedOutput

MD, TS, DP = Kind.MODEL_DEPLOYMENT, Kind.TRAFFIC_SPLIT, Kind.DRIFT_POLICY
ERRORS = {"name": "errors", "source": "ErrorRate", "against": "Stable"}
OUTPUTS = {"name": "outputs", "source": "OutputDisagreement", "limit": "5%"}
_PAIRS = count()


def model(digit: int) -> dict[str, Any]:
    return {"model": {"uri": f"s3://models/fraud/{digit}/model.onnx", "sha256": f"{digit:064x}"}}


async def shadowed(shop: Shop, *metrics: dict[str, Any], compare: bool = True, **more: Any) -> tuple[str, str]:
    """Bring up a stable revision and a shadow of it, and return both."""
    shop.apply(MD, "fraud", model(1))
    await shop.settle()
    shop.apply(DP, "guard", {"target": {"name": "fraud"}, "metrics": list(metrics)})
    split = {
        "stable": {"modelDeployment": "fraud"},
        "strategy": {"type": "Shadow"},
        "shadow": {"percent": 50, "compareOutputs": compare},
        "policies": ["guard"],
        **more,
    }
    shop.apply(TS, "fraud", split)
    await shop.run(5)
    shop.apply(MD, "fraud", model(2))
    await shop.settle()
    stable, shadow = (str(shop.status(MD, "fraud")[name]) for name in ("stableRevision", "latestRevision"))
    await shop.run(60, until=lambda: bool(route(shop).mirrors) or weight(shop, shadow) > 0)
    return stable, shadow


def route(shop: Shop) -> SplitRoute:
    return shop.router.running["shop"]["fraud"]


def weight(shop: Shop, revision: str) -> int:
    return {backend.revision: backend.weight for backend in route(shop).backends}.get(revision, 0)


def metric(shop: Shop, name: str) -> dict[str, Any]:
    found = [entry for entry in shop.status(TS, "fraud").get("analysis", ()) if entry["metric"] == name]
    return dict(found[0]) if found else {}


def rejected(shop: Shop) -> list[str]:
    return [entry["revision"] for entry in shop.status(TS, "fraud").get("rejected", ())]


def answer(shop: Shop, revision: str, pair: str, value: float) -> None:
    """Let the first pod of a revision answer a request that was copied."""
    pod = shop.cluster.list(Kind.POD, "shop", {REVISION: revision})[0]["metadata"]["name"]
    request = InferRequest(id=None, inputs={}, outputs=(RequestedOutput(name="score"),), rows=1)
    shop.serving.noted[pod].note(pair, request, [np.array([value])], 0.01)


async def minutes(shop: Shop, number: float, *, until: Callable[[], bool], differ: float | None = None) -> None:
    """Let time pass with copied requests, of which a share is answered otherwise by the shadow."""
    stable, latest = (str(shop.status(MD, "fraud")[name]) for name in ("stableRevision", "latestRevision"))
    for _ in range(int(number * 30)):
        if until():
            return
        for index in range(20 if differ is not None else 0):
            pair = f"pair-{next(_PAIRS)}"
            answer(shop, stable, pair, 1.0)
            answer(shop, latest, pair, 2.0 if index < 20 * (differ or 0) else 1.0)
        await shop.run(2)
        for _ in range(10):  # pods are read beside the ticks
            await asyncio.sleep(0)


async def test_a_shadow_gets_copies_and_no_requests(shop: Shop) -> None:
    stable, shadow = await shadowed(shop, ERRORS)
    assert route(shop).mirrors == (Mirror(revision=shadow, percent=50, compare=True),)
    assert {backend.revision: backend.weight for backend in route(shop).backends} == {stable: 100, shadow: 0}


async def test_outputs_are_not_noted_where_nobody_compares_them(shop: Shop) -> None:
    _, shadow = await shadowed(shop, ERRORS, compare=False)
    assert route(shop).mirrors == (Mirror(revision=shadow, percent=50, compare=False),)
    await minutes(shop, 1, until=lambda: False)
    assert not any(path.startswith("/v1/outputs") for _, path in shop.serving.asked)


async def test_a_shadow_is_judged_by_what_became_of_the_copies(shop: Shop) -> None:
    _, shadow = await shadowed(shop, ERRORS)
    shop.stats.behaviours[shadow].error_share = 0.2
    await minutes(shop, 10, until=lambda: shadow in rejected(shop))
    assert rejected(shop) == [shadow]
    await shop.run(5)
    assert route(shop).mirrors == ()


async def test_a_good_shadow_stays_and_its_copies_are_the_evidence(shop: Shop) -> None:
    _, shadow = await shadowed(shop, ERRORS)
    await minutes(shop, 5, until=lambda: metric(shop, "errors").get("verdict") == "Pass")
    found = metric(shop, "errors")
    assert found["verdict"] == "Pass"
    assert 0 < found["candidate"]["n"] < found["stable"]["n"]
    assert rejected(shop) == []
    assert route(shop).mirrors[0].revision == shadow


async def test_a_shadow_that_answers_otherwise_too_often_is_found_on_the_very_requests(shop: Shop) -> None:
    _, shadow = await shadowed(shop, OUTPUTS)
    await minutes(shop, 10, until=lambda: shadow in rejected(shop), differ=0.25)
    assert rejected(shop) == [shadow]


async def test_a_shadow_that_answers_the_same_passes(shop: Shop) -> None:
    await shadowed(shop, OUTPUTS)
    await minutes(shop, 10, until=lambda: metric(shop, "outputs").get("verdict") == "Pass", differ=0.0)
    assert metric(shop, "outputs")["verdict"] == "Pass"
    assert rejected(shop) == []


async def test_where_no_answers_can_be_compared_there_is_no_data_and_nobody_is_rejected(shop: Shop) -> None:
    await shadowed(shop, OUTPUTS)
    await minutes(shop, 3, until=lambda: False)
    assert metric(shop, "outputs")["verdict"] == "NoData"
    assert "compareOutputs: true" in metric(shop, "outputs")["message"]
    assert rejected(shop) == []


@pytest.mark.parametrize("matched", [0.0, 50.0])
async def test_requests_that_a_header_sends_are_no_evidence_while_others_are_spread(shop: Shop, matched: float) -> None:
    match = [{"header": "x-beta", "present": True, "to": "candidate"}]
    strategy = {"type": "Canary", "steps": [{"weight": 10, "hold": "60s"}, {"weight": 100}]}
    shop.stats.matched_per_second = matched
    await shadowed(shop, ERRORS, strategy=strategy, match=match, shadow=None)
    await shop.run(25)
    (candidate,) = shop.status(TS, "fraud")["candidates"]
    assert candidate["weight"] == 10
    found = metric(shop, "errors")
    assert found["candidate"]["n"] / found["stable"]["n"] == pytest.approx(1 / 9, rel=0.2)
