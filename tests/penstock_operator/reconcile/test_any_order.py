"""Whatever happens in whatever order: once it is over, the shop serves, and the operator rests."""

import asyncio
import json
from collections.abc import Callable
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.fakes.controllers import ready
from tests.fakes.shop import Shop
from tests.penstock_operator.reconcile.mishaps import (
    fail_writes,
    restart,
    silence_a_router,
    start_pods,
    stop_pods,
)

from penstock_operator.core.names import APP_NAME, REVISION, ROUTER
from penstock_operator.core.objects import Kind

MD, TS, DP = Kind.MODEL_DEPLOYMENT, Kind.TRAFFIC_SPLIT, Kind.DRIFT_POLICY
STEPS = [{"weight": 10, "hold": "3s"}, {"weight": 50, "hold": "3s", "require": "Pass"}, {"weight": 100, "hold": "3s"}]
GUARD = {
    "target": {"name": "fraud"},
    "metrics": [{"name": "errors", "source": "ErrorRate", "against": "Stable"}],
}
CHILDREN = [
    Kind.CONTROLLER_REVISION,
    Kind.DEPLOYMENT,
    Kind.SERVICE,
    Kind.POD_DISRUPTION_BUDGET,
    Kind.NETWORK_POLICY,
    Kind.POD,
]
#: The third model is a bad one.
GOOD, BAD = (1, 2, 4), 3


def model(digit: int) -> dict[str, Any]:
    return {"model": {"uri": f"s3://models/fraud/{digit}/model.onnx", "sha256": f"{digit:064x}"}}


def apply_model(shop: Shop, digit: int) -> None:
    shop.apply(MD, "fraud", model(digit))


def apply_split(shop: Shop, _: int) -> None:
    split = {"stable": {"modelDeployment": "fraud"}, "strategy": {"steps": STEPS}, "policies": ["guard"]}
    shop.apply(TS, "fraud", split)


def delete_model(shop: Shop, _: int) -> None:
    shop.delete(MD, "fraud")


def delete_split(shop: Shop, _: int) -> None:
    shop.delete(TS, "fraud")


def delete_a_child(shop: Shop, number: int) -> None:
    kind = CHILDREN[number % len(CHILDREN)]
    names = shop.names(kind)
    if names:
        shop.delete(kind, names[number % len(names)])


def wipe_a_status(shop: Shop, number: int) -> None:
    ref = shop.ref((MD, TS)[number % 2], "fraud")
    if shop.cluster.live(ref):
        shop.cluster.edit(ref, lambda live: live.update(status={"observedGeneration": -1}))


def command(shop: Shop, number: int) -> None:
    verb = ("promote", "pause", "resume", "abort", "retry")[number % 5]
    if shop.cluster.live(shop.ref(TS, "fraud")):
        text = json.dumps({"verb": verb, "id": str(shop.clock.now()), "by": "ada", "full": number % 2 == 0})
        shop.command("fraud", text)


HAPPENINGS: list[Callable[[Shop, int], None]] = [
    apply_model,
    apply_model,
    apply_split,
    delete_model,
    delete_split,
    delete_a_child,
    delete_a_child,
    wipe_a_status,
    command,
    stop_pods,
    start_pods,
    silence_a_router,
    fail_writes,
    restart,
]
STORIES = st.lists(
    st.tuples(st.sampled_from(HAPPENINGS), st.integers(1, 30), st.sampled_from([0.0, 1.0, 7.0, 60.0])), max_size=12
)


async def play(story: list[tuple[Callable[[Shop, int], None], int, float]]) -> Shop:
    shop = Shop()
    shop.apply(DP, "guard", GUARD)
    apply_model(shop, 1)
    apply_split(shop, 0)
    await shop.run(10)
    for happening, number, seconds in story:
        happening(shop, number if happening is not apply_model else number % 4 + 1)
        spoil_the_bad_one(shop)
        await shop.run(seconds)
        check_weights(shop)
    return shop


def spoil_the_bad_one(shop: Shop) -> None:
    for entry in (shop.cluster.live(shop.ref(MD, "fraud")) or {}).get("status", {}).get("revisions", ()):
        bad = entry.get("model", {}).get("uri") == model(BAD)["model"]["uri"]
        shop.stats.behaviours[entry["name"]].error_share = 0.5 if bad else 0.0


def check_weights(shop: Shop) -> None:
    for route in shop.router.running["shop"].values():
        assert sum(backend.weight for backend in route.backends) == 100


async def come_to_rest(shop: Shop) -> None:
    """Everything works again, spec asks for a good model, and enough time passes."""
    shop.controllers.kubelets.clear()
    shop.controllers.default = ready
    shop.router.silent.clear()
    shop.cluster._failures.clear()
    apply_model(shop, 4)
    apply_split(shop, 0)
    await shop.run(10)
    command(shop, 4)  # retry, if somebody aborted it
    await shop.run(2)
    command(shop, 2)  # resume, if somebody paused it
    await shop.run(900)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(STORIES)
def test_after_anything_in_any_order_the_last_good_model_serves_and_nothing_is_written(
    story: list[tuple[Callable[[Shop, int], None], int, float]],
) -> None:
    async def whole() -> None:
        shop = await play(story)
        await come_to_rest(shop)
        latest = shop.status(MD, "fraud")["latestRevision"]
        split = shop.status(TS, "fraud")
        assert split["stableRevision"] == shop.status(MD, "fraud")["stableRevision"] == latest
        assert shop.router.weights("shop", "fraud") == {latest: 100}
        assert split["weights"] == [{"revision": latest, "weight": 100}]
        assert split["phase"] in {"Idle", "Promoted"}
        assert shop.get(Kind.SERVICE, "fraud")["spec"]["selector"][APP_NAME] == ROUTER
        assert (
            shop.condition(MD, "fraud", "Ready")["status"] == shop.condition(TS, "fraud", "Ready")["status"] == "True"
        )
        deployments = [
            name for name in shop.names(Kind.DEPLOYMENT) if shop.get(Kind.DEPLOYMENT, name)["spec"]["replicas"]
        ]
        assert deployments == sorted([latest, ROUTER])
        assert {shop.get(Kind.POD, name)["metadata"]["labels"].get(REVISION) for name in shop.names(Kind.POD)} == {
            None,
            latest,
        }
        assert await shop.writes_while_quiet() == []
        assert shop.rejections == []

    asyncio.run(whole())
