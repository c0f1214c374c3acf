"""Every way to move traffic, from spec to weights, with several ModelDeployments, routers and counts in memory."""

import json
from typing import Any

import pytest
from tests.fakes.controllers import ready, starting
from tests.fakes.shop import Shop

from penstock_operator.core.names import ROUTER
from penstock_operator.core.objects import Kind
from penstock_operator.core.routes import MatchKind, SplitRoute

MD, TS, DP = Kind.MODEL_DEPLOYMENT, Kind.TRAFFIC_SPLIT, Kind.DRIFT_POLICY
GUARD = {
    "target": {"name": "fraud"},
    "metrics": [{"name": "errors", "source": "ErrorRate", "against": "Stable"}],
}
AT_ONCE = [{"weight": 0, "hold": "5s"}, {"weight": 100, "hold": "1s"}]
XGB = {"name": "xgb", "modelDeployment": "fraud-xgb"}
MLP = {"name": "mlp", "modelDeployment": "fraud-mlp"}


def model(digit: int, **more: Any) -> dict[str, Any]:
    return {
        "model": {"uri": f"s3://models/fraud/{digit}/model.onnx", "sha256": f"{digit:064x}"},
        "serving": {"modelName": "fraud"},
        **more,
    }


def spec(strategy: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"stable": {"modelDeployment": "fraud"}, "strategy": strategy, "policies": ["guard"], **more}


async def begin(shop: Shop, strategy: dict[str, Any], *others: str, **more: Any) -> str:
    """Serve the models, put a split and a policy over them, and return the stable revision."""
    for digit, name in enumerate(("fraud", *others), start=1):
        shop.apply(MD, name, model(digit))
    await shop.settle()
    shop.apply(DP, "guard", GUARD)
    shop.apply(TS, "fraud", spec(strategy, **more))
    await shop.run(5)
    return str(shop.status(MD, "fraud")["stableRevision"])


async def canary(shop: Shop, digit: int = 9) -> str:
    """Change the model of stable and return the new revision."""
    shop.apply(MD, "fraud", model(digit))
    await shop.settle()
    return str(shop.status(MD, "fraud")["latestRevision"])


def serves(shop: Shop, name: str) -> str:
    return str(shop.status(MD, name)["stableRevision"])


def status(shop: Shop) -> dict[str, Any]:
    return shop.status(TS, "fraud")


def phase(shop: Shop) -> str:
    return str(status(shop)["phase"])


def real_weights(shop: Shop) -> dict[str, int]:
    return {name: weight for name, weight in shop.router.weights("shop", "fraud").items() if weight}


def route(shop: Shop) -> SplitRoute:
    return shop.router.running["shop"]["fraud"]


def history(shop: Shop) -> list[tuple[str, str]]:
    return [(entry["revision"], entry["outcome"]) for entry in status(shop).get("history", ())]


def pods_of(shop: Shop, revision: str) -> int:
    found = shop.cluster.live(shop.ref(Kind.DEPLOYMENT, revision))
    return int(found["spec"]["replicas"]) if found else 0


def command(shop: Shop, verb: str, number: int = 1, **more: Any) -> None:
    shop.command("fraud", json.dumps({"verb": verb, "id": str(number), "by": "ada", **more}))


def answer(shop: Shop) -> str:
    return str(status(shop)["lastCommand"]["outcome"])


# --- declared candidates ---


async def test_a_declared_candidate_goes_through_the_steps_and_its_revision_becomes_stable(shop: Shop) -> None:
    old = await begin(shop, {"steps": [{"weight": 10, "hold": "20s"}, {"weight": 100}]}, "fraud-xgb", candidates=[XGB])
    new = serves(shop, "fraud-xgb")
    await shop.run(4)
    assert [entry["name"] for entry in status(shop)["candidates"]] == ["xgb"]
    assert real_weights(shop) == {old: 90, new: 10}

    await shop.run(60, until=lambda: phase(shop) == "Promoted")
    await shop.settle()

    assert status(shop)["stableRevision"] == new
    assert real_weights(shop) == {new: 100}
    assert history(shop) == [(new, "Promoted")]
    assert pods_of(shop, new) == 2
    assert await shop.writes_while_quiet() == []
    await shop.run(300)
    assert real_weights(shop) == {new: 100}, "the old revision is no candidate because it is no more stable"


async def test_pods_that_a_split_uses_outlive_the_next_revision_of_their_own_deployment(shop: Shop) -> None:
    old = await begin(shop, {"steps": [{"weight": 10}, {"pause": {}}, {"weight": 100}]}, "fraud-xgb", candidates=[XGB])
    first = serves(shop, "fraud-xgb")
    await shop.run(4)
    assert real_weights(shop) == {old: 90, first: 10}

    shop.controllers.default = starting
    shop.controllers.kubelets |= {first: ready, old: ready, ROUTER: ready}
    shop.apply(MD, "fraud-xgb", model(7))
    await shop.run(10)
    assert real_weights(shop) == {old: 90, first: 10}, "the next one is not ready: nothing changes"

    shop.controllers.default = ready
    await shop.run(10)
    second = serves(shop, "fraud-xgb")

    assert second != first
    assert real_weights(shop) == {old: 90, second: 10}
    assert history(shop)[0] == (first, "Superseded")
    await shop.run(5)
    assert pods_of(shop, first) == 0


async def test_with_declared_candidates_a_new_revision_of_stable_waits_for_a_person_to_name_it(shop: Shop) -> None:
    old = await begin(shop, {"steps": [{"weight": 100}]}, "fraud-xgb", candidates=[XGB], policies=[])
    await shop.run(30, until=lambda: phase(shop) == "Promoted")
    new = await canary(shop)
    await shop.run(60)
    assert new not in real_weights(shop)
    condition = shop.condition(MD, "fraud", "Ready")
    assert condition["reason"] == shop.condition(MD, "fraud", "Stalled")["reason"] == "NotACandidate"
    assert "add {name: next, modelDeployment: fraud} to its spec.candidates" in condition["message"]

    both = {"name": "next", "modelDeployment": "fraud"}
    shop.apply(TS, "fraud", spec({"steps": [{"weight": 100}]}, candidates=[both], policies=[]))
    await shop.run(60, until=lambda: status(shop)["stableRevision"] == new)

    assert real_weights(shop) == {new: 100}
    assert old not in real_weights(shop)


@pytest.mark.parametrize("trouble", ["missing", "another model name"])
async def test_a_candidate_that_cannot_compete_is_named_and_stable_serves(shop: Shop, trouble: str) -> None:
    old = await begin(shop, {"steps": [{"weight": 10}, {"pause": {}}, {"weight": 100}]}, "fraud-xgb", candidates=[XGB])
    await shop.run(4)
    if trouble == "missing":
        shop.delete(MD, "fraud-xgb")
    else:
        shop.apply(MD, "fraud-xgb", {**model(2), "serving": {"modelName": "xgb"}})
    await shop.run(10)

    assert real_weights(shop) == {old: 100}
    ready_condition = shop.condition(TS, "fraud", "Ready")
    assert ready_condition["status"] == "False"
    assert ready_condition["message"].startswith("spec.candidates[0].modelDeployment: ")
    reason = {"missing": "ModelDeploymentNotFound", "another model name": "ModelNameMismatch"}
    assert ready_condition["reason"] == reason[trouble]
    assert shop.condition(TS, "fraud", "Stalled")["status"] == "True"


# --- blue-green ---


async def test_blue_green_previews_at_weight_0_and_then_goes_over_in_one_write(shop: Shop) -> None:
    match = [{"header": "X-Preview", "exact": "yes", "to": "candidate"}]
    old = await begin(shop, {"type": "BlueGreen", "steps": AT_ONCE}, match=match, policies=[])
    seen: list[dict[str, int]] = []

    def done() -> bool:
        if real_weights(shop) not in seen[-1:]:
            seen.append(real_weights(shop))
        return phase(shop) == "Promoted"

    new = await canary(shop)
    await shop.run(4)
    [preview] = route(shop).matches
    assert (preview.header, preview.kind, preview.value, preview.revision) == ("x-preview", MatchKind.EXACT, "yes", new)
    await shop.run(60, until=done)

    assert seen == [{old: 100}, {new: 100}]
    assert route(shop).matches == ()


async def test_a_preview_that_fails_for_those_who_see_it_never_gets_more(shop: Shop) -> None:
    match = [{"header": "x-preview", "present": True, "to": "candidate"}]
    steps = [{"weight": 0, "hold": "5s", "require": "Pass"}, {"weight": 100}]
    old = await begin(shop, {"type": "BlueGreen", "steps": steps}, match=match)
    shop.stats.matched_per_second = 20.0
    new = await canary(shop)
    shop.stats.behaviours[new].error_share = 0.5
    await shop.run(120, until=lambda: phase(shop) == "RolledBack")

    assert history(shop) == [(new, "RolledBack")]
    assert real_weights(shop) == {old: 100}


async def test_a_preview_that_nobody_sees_is_not_promoted_where_evidence_is_asked_for(shop: Shop) -> None:
    steps = [{"weight": 0, "hold": "5s", "require": "Pass"}, {"weight": 100}]
    old = await begin(shop, {"type": "BlueGreen", "steps": steps})
    await canary(shop)
    await shop.run(300)

    assert phase(shop) == "Progressing"
    assert real_weights(shop) == {old: 100}


# --- A/B/n ---


AB = {"type": "ABTest"}
TWO = [{**XGB, "weight": 20}, {**MLP, "weight": 30}]


async def test_a_test_keeps_its_weights_until_a_person_names_the_winner(shop: Shop) -> None:
    old = await begin(shop, AB, "fraud-xgb", "fraud-mlp", candidates=TWO)
    xgb, mlp = serves(shop, "fraud-xgb"), serves(shop, "fraud-mlp")
    await shop.run(600)
    assert real_weights(shop) == {old: 50, xgb: 20, mlp: 30}
    assert {entry["revision"] for entry in status(shop)["analysis"]} == {xgb, mlp}
    assert set(status(shop)["evidence"]) == {xgb, mlp}

    command(shop, "promote")
    await shop.run(5)
    assert answer(shop) == "Refused: several compete; name the winner with --candidate: xgb, mlp"

    command(shop, "promote", 2, candidate="mlp")
    await shop.run(5)

    assert real_weights(shop) == {mlp: 100}
    assert phase(shop) == "Promoted"
    assert history(shop) == [(mlp, "Promoted"), (xgb, "Lost")]
    await shop.run(300)
    assert real_weights(shop) == {mlp: 100}, "who has lost does not begin again"


async def test_losers_are_dropped_one_by_one_and_their_share_goes_to_stable(shop: Shop) -> None:
    old = await begin(shop, AB, "fraud-xgb", "fraud-mlp", candidates=TWO)
    xgb, mlp = serves(shop, "fraud-xgb"), serves(shop, "fraud-mlp")
    await shop.run(10)
    shop.stats.behaviours[xgb].error_share = 0.5
    await shop.run(60, until=lambda: xgb not in real_weights(shop))

    assert real_weights(shop) == {old: 70, mlp: 30}
    assert phase(shop) == "Progressing"
    assert history(shop) == [(xgb, "RolledBack")]
    shop.stats.behaviours[mlp].error_share = 0.5
    await shop.run(60, until=lambda: phase(shop) == "RolledBack")

    assert real_weights(shop) == {old: 100}
    assert shop.rejections == []


async def test_a_test_with_a_winner_by_evidence_ends_by_itself(shop: Shop) -> None:
    strategy = {**AB, "winner": {"hold": "20s"}}
    await begin(shop, strategy, "fraud-xgb", "fraud-mlp", candidates=TWO)
    xgb, mlp = serves(shop, "fraud-xgb"), serves(shop, "fraud-mlp")
    shop.stats.behaviours[xgb].error_share = 0.05
    await shop.run(900, until=lambda: phase(shop) == "Promoted")

    assert real_weights(shop) == {mlp: 100}
    assert (mlp, "Promoted") in history(shop)
    [promoted] = [entry for entry in status(shop)["history"] if entry["outcome"] == "Promoted"]
    assert promoted["by"] == "evidence"


async def test_weights_of_a_test_may_be_edited_under_way(shop: Shop) -> None:
    old = await begin(shop, AB, "fraud-xgb", candidates=[{**XGB, "weight": 20}])
    xgb = serves(shop, "fraud-xgb")
    await shop.run(10)
    for weight in (40, 5):
        shop.apply(TS, "fraud", spec(AB, candidates=[{**XGB, "weight": weight}]))
        await shop.run(10)
        assert real_weights(shop) == {old: 100 - weight, xgb: weight}


async def test_a_candidate_that_is_taken_out_of_spec_is_withdrawn_and_the_others_stay(shop: Shop) -> None:
    old = await begin(shop, AB, "fraud-xgb", "fraud-mlp", candidates=TWO)
    xgb, mlp = serves(shop, "fraud-xgb"), serves(shop, "fraud-mlp")
    await shop.run(10)
    shop.apply(TS, "fraud", spec(AB, candidates=TWO[1:]))
    await shop.run(10)

    assert real_weights(shop) == {old: 70, mlp: 30}
    assert history(shop) == [(xgb, "Withdrawn")]


async def test_keys_of_a_test_lie_side_by_side_so_that_one_who_goes_moves_no_other(shop: Shop) -> None:
    await begin(shop, AB, "fraud-xgb", "fraud-mlp", candidates=TWO, stickiness={"header": "X-Account"})
    xgb, mlp = serves(shop, "fraud-xgb"), serves(shop, "fraud-mlp")
    await shop.run(10)
    places = {backend.revision: backend.keys_from for backend in route(shop).backends}
    assert (places[xgb], places[mlp]) == (0, 20)

    command(shop, "abort", candidate="xgb")
    await shop.run(5)

    assert {backend.revision: backend.keys_from for backend in route(shop).backends}[mlp] == 20


# --- shadow ---


async def test_a_shadow_gets_copies_only_until_a_person_promotes_it(shop: Shop) -> None:
    old = await begin(shop, {"type": "Shadow"}, shadow={"percent": 20, "compareOutputs": True})
    new = await canary(shop)
    await shop.run(120)
    assert phase(shop) == "Progressing"
    assert real_weights(shop) == {old: 100}
    [mirror] = route(shop).mirrors
    assert (mirror.revision, mirror.percent, mirror.compare) == (new, 20, True)
    assert status(shop)["verdict"] == "Pass"

    command(shop, "promote")
    await shop.run(5)

    assert real_weights(shop) == {new: 100}
    assert route(shop).mirrors == ()
    assert history(shop) == [(new, "Promoted")]


async def test_a_shadow_that_fails_is_taken_back_and_clients_noticed_nothing(shop: Shop) -> None:
    old = await begin(shop, {"type": "Shadow"}, shadow={"percent": 50})
    new = await canary(shop)
    shop.stats.behaviours[new].error_share = 0.5
    await shop.run(120, until=lambda: phase(shop) == "RolledBack")

    assert history(shop) == [(new, "RolledBack")]
    assert route(shop).mirrors == ()
    assert real_weights(shop) == {old: 100}


# --- after the promotion ---


WATCHED = {"afterPromotion": {"watch": "60s"}}
QUICK = {"steps": [{"weight": 50, "hold": "10s"}, {"weight": 100}]}


async def promoted(shop: Shop, **more: Any) -> tuple[str, str]:
    old = await begin(shop, QUICK, **{**WATCHED, **more})
    new = await canary(shop)
    await shop.run(120, until=lambda: phase(shop) == "Promoted")
    await shop.settle()
    return old, new


async def test_the_old_revision_stays_warm_for_the_watch_and_then_goes(shop: Shop) -> None:
    old, new = await promoted(shop)
    assert status(shop)["watch"]["revision"] == old
    assert (pods_of(shop, old), pods_of(shop, new)) == (2, 2)
    assert shop.router.weights("shop", "fraud") == {old: 0, new: 100}

    await shop.run(70)

    assert "watch" not in status(shop)
    assert shop.router.weights("shop", "fraud") == {new: 100}
    assert pods_of(shop, old) == 0
    assert await shop.writes_while_quiet() == []


async def test_a_breach_within_the_watch_returns_to_the_old_revision_in_one_write(shop: Shop) -> None:
    old, new = await promoted(shop)
    shop.stats.behaviours[new].error_share = 0.5
    sent = len(shop.router.sent)
    await shop.run(50, until=lambda: phase(shop) == "RolledBack")

    assert real_weights(shop) == {old: 100}
    assert next({b.revision: b.weight for b in routes[0].backends} for routes in shop.router.sent[sent:])[old] == 100
    assert status(shop)["stableRevision"] == shop.status(MD, "fraud")["stableRevision"] == old
    assert history(shop) == [(new, "RolledBack"), (new, "Promoted")]
    assert status(shop)["rejected"][0]["revision"] == new
    await shop.run(60)
    assert real_weights(shop) == {old: 100}
    assert pods_of(shop, new) == 0


async def test_a_spec_that_asks_for_the_old_revision_within_the_watch_returns_at_once(shop: Shop) -> None:
    old, new = await promoted(shop)
    shop.apply(MD, "fraud", model(1))
    await shop.run(2)

    assert real_weights(shop) == {old: 100}
    assert phase(shop) == "Idle"
    assert history(shop)[0] == (new, "Withdrawn")
    assert "rejected" not in status(shop)


async def test_the_watch_survives_a_restart_of_the_operator(shop: Shop) -> None:
    old, new = await promoted(shop)
    shop.restart_operator()
    await shop.run(5)
    shop.stats.behaviours[new].error_share = 0.5
    await shop.run(50, until=lambda: phase(shop) == "RolledBack")

    assert real_weights(shop) == {old: 100}


async def test_a_rollback_starts_the_pods_of_the_old_revision_before_traffic_moves(shop: Shop) -> None:
    old, new = await promoted(shop, afterPromotion={"watch": "1s"})
    await shop.run(20)
    assert pods_of(shop, old) == 0
    shop.controllers.kubelets[old] = starting

    command(shop, "rollback")
    await shop.run(10)
    assert answer(shop) == f"going back to {old}"
    assert phase(shop) == "Returning"
    assert pods_of(shop, old) == 2
    assert real_weights(shop) == {new: 100}
    assert shop.condition(TS, "fraud", "Ready")["reason"] == "Returning"

    del shop.controllers.kubelets[old]
    await shop.run(10)

    assert phase(shop) == "RolledBack"
    assert real_weights(shop) == {old: 100}
    assert status(shop)["stableRevision"] == shop.status(MD, "fraud")["stableRevision"] == old
    assert history(shop)[0] == (new, "RolledBack")
    await shop.run(60)
    assert real_weights(shop) == {old: 100}, "what was taken back is not tried again"
    assert pods_of(shop, new) == 0


async def test_a_rollback_to_what_never_starts_can_be_given_up(shop: Shop) -> None:
    old, new = await promoted(shop, afterPromotion={"watch": "1s"})
    await shop.run(20)
    shop.controllers.kubelets[old] = starting
    command(shop, "rollback", revision=old)
    await shop.run(10)
    command(shop, "abort", 2)
    await shop.run(10)

    assert real_weights(shop) == {new: 100}
    assert phase(shop) == "Idle"
    assert pods_of(shop, old) == 0


async def test_a_rollback_to_what_nobody_keeps_is_refused_with_what_there_is(shop: Shop) -> None:
    old, _ = await promoted(shop)
    command(shop, "rollback", revision="fraud-00000000")
    await shop.run(5)

    assert answer(shop) == f"Refused: there is no revision fraud-00000000 any more; there are: {old}"


# --- candidates that do not come ---


async def test_a_candidate_that_is_not_ready_in_time_has_failed_and_may_still_come(shop: Shop) -> None:
    old = await begin(shop, {"steps": [{"weight": 10}, {"pause": {}}, {"weight": 100}], "progressDeadline": "30s"})
    shop.controllers.default = starting
    new = await canary(shop)
    await shop.run(20)
    assert phase(shop) == "Waiting"

    await shop.run(20)
    assert phase(shop) == "Failed"
    assert (
        "was not ready within 30s (progressDeadline): 0 of 2 pods are"
        in shop.condition(TS, "fraud", "Ready")["message"]
    )
    assert real_weights(shop) == {old: 100}

    command(shop, "retry")
    await shop.run(5)
    assert phase(shop) == "Waiting"
    await shop.run(60)
    assert phase(shop) == "Failed"

    shop.controllers.default = ready
    await shop.run(10)
    assert real_weights(shop) == {old: 90, new: 10}


# --- the split goes ---


async def test_a_split_deleted_in_mid_canary_leaves_the_proven_revision_serving(shop: Shop) -> None:
    old = await begin(shop, {"steps": [{"weight": 50}, {"pause": {}}, {"weight": 100}]})
    new = await canary(shop)
    await shop.run(10)
    assert real_weights(shop) == {old: 50, new: 50}

    shop.delete(TS, "fraud")
    await shop.run(120)

    assert shop.status(MD, "fraud")["stableRevision"] == old
    condition = shop.condition(MD, "fraud", "Ready")
    assert (condition["status"], condition["reason"]) == ("False", "RevisionUnproven")
    assert await shop.writes_while_quiet() == []

    shop.apply(TS, "fraud", spec({"steps": [{"weight": 10}, {"pause": {}}, {"weight": 100}]}))
    await shop.run(10)
    assert real_weights(shop) == {old: 90, new: 10}, "the trial goes on with the next split"


async def test_without_a_split_the_stable_spec_applied_once_ends_the_trial(shop: Shop) -> None:
    old = await begin(shop, {"steps": [{"weight": 50}, {"pause": {}}, {"weight": 100}]})
    new = await canary(shop)
    await shop.run(10)
    shop.delete(TS, "fraud")
    await shop.run(60)
    shop.apply(MD, "fraud", model(1))
    await shop.run(10)
    assert shop.status(MD, "fraud")["stableRevision"] == old
    assert shop.condition(MD, "fraud", "Ready")["status"] == "True"

    shop.apply(MD, "fraud", model(9))
    await shop.run(10)

    assert shop.status(MD, "fraud")["stableRevision"] == new


async def test_a_stable_deployment_that_is_exchanged_goes_through_the_steps_too(shop: Shop) -> None:
    for digit, name in enumerate(("fraud", "fraud-xgb"), start=1):
        shop.apply(MD, name, model(digit))
    await shop.settle()
    shop.apply(DP, "guard", GUARD)
    steps = {"steps": [{"weight": 10}, {"pause": {}}, {"weight": 100}]}
    shop.apply(TS, "front", spec(steps, policies=[]))
    await shop.run(5)
    old, new = serves(shop, "fraud"), serves(shop, "fraud-xgb")

    shop.apply(TS, "front", {**spec(steps, policies=[]), "stable": {"modelDeployment": "fraud-xgb"}})
    await shop.run(10)

    assert dict(shop.router.weights("shop", "front").items()) == {old: 90, new: 10}
    assert shop.status(TS, "front")["stableRevision"] == old


async def test_a_split_that_may_not_act_any_more_goes_on_leading_requests_as_it_did(shop: Shop) -> None:
    match = [{"header": "x-beta", "present": True, "to": "candidate"}]
    steps = {"steps": [{"weight": 10}, {"pause": {}}, {"weight": 100}]}
    old = await begin(shop, steps, "fraud-xgb", match=match, stickiness={"header": "x-account"})
    new = await canary(shop)
    await shop.run(10)
    before = route(shop)

    asked = spec(steps, match=match, stickiness={"header": "x-account"})
    shop.apply(TS, "fraud", {**asked, "stable": {"modelDeployment": "fraud-xgb"}})
    await shop.run(10)
    shop.restart_operator()
    await shop.run(10)

    assert shop.condition(TS, "fraud", "Ready")["reason"] == "EndpointTaken"
    assert real_weights(shop) == {old: 90, new: 10}
    assert (route(shop).matches, route(shop).stickiness) == (before.matches, before.stickiness)


async def test_a_rollout_under_way_goes_on_with_its_evidence_after_an_upgrade(shop: Shop) -> None:
    """The version before told of one candidate only, without its phase, and not whom the numbers are about."""
    steps = [{"weight": 10}, {"weight": 50, "hold": "60s", "require": "Pass"}, {"weight": 100}]
    old = await begin(shop, {"steps": steps})
    new = await canary(shop)
    await shop.run(20)
    assert real_weights(shop) == {old: 50, new: 50}
    seen = status(shop)["analysis"][0]["candidate"]["n"]

    def age(live: dict[str, Any]) -> None:
        told = live["status"]
        for entry in (*told["candidates"], *told["analysis"]):
            for field in ("phase", "realisedShare", "revision"):
                if field != "revision" or "policy" in entry:
                    entry.pop(field, None)
        told["evidence"] = told["evidence"][new]
        told.pop("router", None)

    shop.cluster.edit(shop.ref(TS, "fraud"), age)
    shop.restart_operator()
    await shop.run(6)

    assert real_weights(shop) == {old: 50, new: 50}
    assert history(shop) == []
    [entry] = status(shop)["analysis"]
    assert entry["revision"] == new
    assert entry["candidate"]["n"] > seen
    await shop.run(90, until=lambda: phase(shop) == "Promoted")
    assert real_weights(shop) == {new: 100}
