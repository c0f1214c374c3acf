"""Whatever strategies, candidates, commands and mishaps come in whatever order: traffic is whole, and it all ends."""

import asyncio
import json
from collections.abc import Callable
from typing import Any

from hypothesis import HealthCheck, Phase, given, settings
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

from penstock_operator.core.commands import VERBS
from penstock_operator.core.names import REVISION
from penstock_operator.core.objects import Kind
from penstock_operator.core.pod_state import ready_pods

MD, TS, DP = Kind.MODEL_DEPLOYMENT, Kind.TRAFFIC_SPLIT, Kind.DRIFT_POLICY
MODELS = ("fraud", "fraud-xgb", "fraud-mlp")
GUARD = {
    "target": {"name": "fraud"},
    "metrics": [{"name": "errors", "source": "ErrorRate", "against": "Stable"}],
}
XGB = {"name": "xgb", "modelDeployment": "fraud-xgb"}
MLP = {"name": "mlp", "modelDeployment": "fraud-mlp"}
CANARY = [{"weight": 10, "hold": "3s"}, {"weight": 50, "hold": "3s", "require": "Pass"}, {"weight": 100}]
SPECS: list[dict[str, Any]] = [
    {"strategy": {"steps": CANARY}, "afterPromotion": {"watch": "20s"}},
    {"strategy": {"steps": CANARY, "progressDeadline": "10s"}, "candidates": [XGB]},
    {
        "strategy": {"type": "BlueGreen", "steps": [{"weight": 0, "hold": "5s"}, {"weight": 100}]},
        "match": [{"header": "x-beta", "present": True, "to": "candidate"}],
        "afterPromotion": {"watch": "20s"},
    },
    {
        "strategy": {"type": "ABTest", "winner": {"hold": "10s"}},
        "candidates": [{**XGB, "weight": 20}, {**MLP, "weight": 30}],
        "stickiness": {"cookie": {}},
    },
    {"strategy": {"type": "ABTest"}, "candidates": [{**XGB, "weight": 60}, {**MLP, "weight": 39}]},
    {"strategy": {"type": "Shadow"}, "candidates": [XGB, MLP], "shadow": {"percent": 50}},
    {"strategy": {"type": "Shadow"}, "shadow": {"percent": 50}, "freeze": [{"cron": "* * * * *", "duration": "1h"}]},
]


def apply_split(shop: Shop, number: int) -> None:
    spec = {"stable": {"modelDeployment": "fraud"}, "policies": ["guard"], **SPECS[number % len(SPECS)]}
    shop.apply(TS, "fraud", spec)


def apply_model(shop: Shop, number: int) -> None:
    digit = number % 5 + 1
    shop.apply(
        MD,
        MODELS[number % len(MODELS)],
        {
            "model": {"uri": f"s3://models/{digit}/model.onnx", "sha256": f"{digit:064x}"},
            "serving": {"modelName": "fraud"},
        },
    )


def delete_model(shop: Shop, number: int) -> None:
    shop.delete(MD, MODELS[1 + number % 2])


def delete_split(shop: Shop, _: int) -> None:
    shop.delete(TS, "fraud")


def command(shop: Shop, number: int) -> None:
    """Give any command, with any of what may go with it."""
    if not shop.cluster.live(shop.ref(TS, "fraud")):
        return
    known = [entry["name"] for name in MODELS for entry in revisions(shop, name)]
    asked: dict[str, Any] = {"verb": VERBS[number % len(VERBS)], "id": str(shop.clock.now()), "by": "ada"}
    if number % 3 == 0:
        asked["candidate"] = ("xgb", "mlp", "candidate")[number % 7 % 3]
    if number % 4 == 0 and known:
        asked["revision"] = known[number % len(known)]
    asked["full"] = number % 5 == 0
    shop.command("fraud", json.dumps(asked))


def revisions(shop: Shop, name: str) -> list[dict[str, Any]]:
    live = shop.cluster.live(shop.ref(MD, name)) or {}
    return list(live.get("status", {}).get("revisions", ()))


def spoil(shop: Shop, number: int) -> None:
    """Let some revision answer with errors from now on, and another one answer well again."""
    known = [entry["name"] for name in MODELS for entry in revisions(shop, name)]
    if known:
        shop.stats.behaviours[known[number % len(known)]].error_share = 0.5
        shop.stats.behaviours[known[number * 7 % len(known)]].error_share = 0.0


HAPPENINGS: list[Callable[[Shop, int], None]] = [
    apply_model,
    apply_model,
    apply_model,
    apply_split,
    apply_split,
    delete_model,
    delete_split,
    command,
    command,
    command,
    spoil,
    stop_pods,
    start_pods,
    silence_a_router,
    fail_writes,
    restart,
]
STORIES = st.lists(
    st.tuples(st.sampled_from(HAPPENINGS), st.integers(0, 60), st.sampled_from([0.0, 1.0, 7.0, 40.0])), max_size=14
)


async def play(first: int, story: list[tuple[Callable[[Shop, int], None], int, float]]) -> Shop:
    shop = Shop()
    shop.apply(DP, "guard", GUARD)
    for number in range(3):
        apply_model(shop, number)
    apply_split(shop, first)
    await shop.run(10)
    for happening, number, seconds in story:
        happening(shop, number)
        await shop.run(seconds)
        check(shop)
    return shop


def check(shop: Shop) -> None:
    """Whoever has traffic is known to status; what was taken back has none but what it drains."""
    live = shop.cluster.live(shop.ref(TS, "fraud"))
    status = (live or {}).get("status", {})
    assert sum(entry.get("weight", 0) for entry in status.get("candidates", ())) <= 100
    assert sum(entry.get("weight", 0) for entry in status.get("weights", ())) in (0, 100)
    rejected = {entry["revision"] for entry in status.get("rejected", ())}
    assert not rejected & {entry.get("revision") for entry in status.get("candidates", ())}
    assert status.get("stableRevision") not in rejected


def at_work(shop: Shop) -> bool:
    """A test or a shadow goes on for ever, and its numbers are written at each tick."""
    live = shop.cluster.live(shop.ref(TS, "fraud")) or {}
    return bool(live.get("status", {}).get("candidates"))


async def come_to_rest(shop: Shop) -> None:
    """Everything works again, all models are good, and enough time passes."""
    shop.controllers.kubelets.clear()
    shop.controllers.default = ready
    shop.router.silent.clear()
    shop.cluster._failures.clear()
    shop.stats.behaviours.clear()
    await shop.run(400)


@settings(
    max_examples=10,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
    # What a story comes to is quick to read; making it shorter takes minutes.
    phases=[Phase.explicit, Phase.reuse, Phase.generate],
)
@given(st.integers(0, len(SPECS) - 1), STORIES)
def test_after_any_story_who_has_traffic_has_pods_and_the_operator_rests(
    first: int, story: list[tuple[Callable[[Shop, int], None], int, float]]
) -> None:
    async def whole() -> None:
        shop = await play(first, story)
        await come_to_rest(shop)
        check(shop)
        for name, weight in shop.router.weights("shop", "fraud").items():
            if shop.cluster.live(shop.ref(TS, "fraud")) and shop.status(TS, "fraud").get("weights"):
                assert not weight or ready_pods(shop.cluster.list(Kind.POD, "shop", {REVISION: name})) > 0
        if not at_work(shop):
            # What policies write has its own tests; it follows the numbers some seconds later.
            assert [write for write in await shop.writes_while_quiet() if write.ref.kind is not DP] == []
        assert shop.rejections == []

    asyncio.run(whole())
