"""A TrafficSplit that Gateways lead: rollouts, conditions, and the way from one kind of router to the other."""

from typing import Any

import pytest
from tests.fakes.shop import Shop
from tests.penstock_operator.reconcile.test_traffic_split import (
    GUARD,
    STEPS,
    canary,
    endpoint,
    model,
    phase,
    real_weights,
    split_spec,
    status,
    written_weights,
)

from penstock_operator.core.names import APP_NAME, REVISION, ROUTER
from penstock_operator.core.objects import Kind

MD, TS, DP = Kind.MODEL_DEPLOYMENT, Kind.TRAFFIC_SPLIT, Kind.DRIFT_POLICY
EDGE = {"parentRefs": [{"name": "edge"}], "hostnames": ["fraud.example.com"]}


async def begin(shop: Shop, **spec: Any) -> str:
    """Serve a model, put a split with a Gateway over it, and return the stable revision."""
    shop.apply(MD, "fraud", model(1))
    await shop.settle()
    shop.apply(DP, "guard", GUARD)
    shop.apply(TS, "fraud", {**split_spec(), "gateway": EDGE, **spec})
    await shop.run(5)
    return str(status(shop)["stableRevision"])


def led(shop: Shop) -> dict[str, int]:
    """Return the weights that the Gateway really runs, without those of zero."""
    shop.gateways.control()
    return {name: weight for name, weight in shop.gateways.weights("shop", "fraud").items() if weight}


async def test_a_split_with_a_gateway_needs_no_routers_and_its_service_leads_to_the_stable_revision(shop: Shop) -> None:
    stable = await begin(shop)
    assert led(shop) == written_weights(shop) == {stable: 100}
    assert endpoint(shop)["selector"] == {REVISION: stable}
    assert status(shop)["router"] == "Gateway"
    assert "port" not in status(shop)
    assert not [name for name in shop.names(Kind.DEPLOYMENT) if name == ROUTER]
    assert shop.condition(TS, "fraud", "Ready")["status"] == "True"
    programmed = shop.condition(TS, "fraud", "Programmed")
    assert (programmed["status"], programmed["message"]) == ("True", "these weights are run by Gateway shop/edge")
    assert shop.condition(MD, "fraud", "Ready")["status"] == "True"


async def test_a_good_canary_is_promoted_step_by_step(shop: Shop) -> None:
    stable = await begin(shop)
    good = await canary(shop)
    seen: list[int] = []

    def over() -> bool:
        weight = led(shop).get(good, 0)
        if weight not in [0, *seen[-1:]]:
            seen.append(weight)
        return phase(shop) == "Promoted"

    await shop.run(900, until=over)
    assert phase(shop) == "Promoted"
    assert seen == [step["weight"] for step in STEPS]
    await shop.run(5)
    assert led(shop) == {good: 100}
    assert endpoint(shop)["selector"] == {REVISION: good}
    assert stable != good


@pytest.mark.parametrize(
    ("behaviour", "metric"), [({"error_share": 0.2}, "guard/errors"), ({"seconds": 0.08}, "guard/slower")]
)
async def test_a_bad_canary_is_taken_back_on_what_its_pods_count(
    shop: Shop, behaviour: dict[str, float], metric: str
) -> None:
    stable = await begin(shop)
    bad = await canary(shop)
    for field, value in behaviour.items():
        setattr(shop.stats.behaviours[bad], field, value)
    await shop.run(900, until=lambda: phase(shop) == "RolledBack")
    assert status(shop)["rejected"][0]["by"] == metric
    assert led(shop) == {stable: 100}


async def test_a_restart_of_the_operator_in_mid_rollout_changes_nothing_and_the_rollout_goes_on(shop: Shop) -> None:
    await begin(shop)
    good = await canary(shop)
    await shop.run(600, until=lambda: written_weights(shop).get(good) == 25)
    before = led(shop)
    shop.restart_operator()
    await shop.settle()
    assert led(shop) == before
    await shop.run(900, until=lambda: phase(shop) == "Promoted")
    assert phase(shop) == "Promoted"


async def test_nothing_is_written_while_nothing_changes(shop: Shop) -> None:
    await begin(shop)
    routes = list(shop.gateways.writes)
    assert await shop.writes_while_quiet() == []
    assert shop.gateways.writes == routes


async def test_what_somebody_does_to_the_route_is_mended_without_an_event(shop: Shop) -> None:
    stable = await begin(shop)
    shop.gateways.remove("shop", "fraud")
    await shop.run(35)
    assert led(shop) == {stable: 100}


async def test_a_weight_that_the_gateway_has_not_acknowledged_is_not_in_the_status(shop: Shop) -> None:
    stable = await begin(shop)
    shop.gateways.silent = True
    await canary(shop)
    await shop.run(60)
    assert {name: weight for name, weight in written_weights(shop).items() if weight} == led(shop) == {stable: 100}
    programmed = shop.condition(TS, "fraud", "Programmed")
    assert programmed["status"] == "False"
    assert "Gateway shop/edge" in programmed["message"]


async def test_a_gateway_that_refuses_is_told_and_traffic_stays_where_it_was(shop: Shop) -> None:
    stable = await begin(shop)
    shop.gateways.refusing = "hostnames do not intersect with the listener's"
    await canary(shop)
    await shop.run(20)
    assert led(shop) == {stable: 100}
    ready = shop.condition(TS, "fraud", "Ready")
    assert (ready["status"], ready["reason"]) == ("False", "RouterRejected")
    assert "do not intersect" in ready["message"]


async def test_a_missing_gateway_is_told_and_the_service_answers_all_the_same(shop: Shop) -> None:
    shop.apply(MD, "fraud", model(1))
    await shop.settle()
    shop.apply(TS, "fraud", {**split_spec(policies=()), "gateway": {"parentRefs": [{"name": "egde"}]}})
    await shop.run(5)
    ready = shop.condition(TS, "fraud", "Ready")
    assert ready["status"] == "False"
    assert "Gateway shop/egde: there is no such Gateway" in ready["message"]
    assert endpoint(shop)["selector"] == {REVISION: shop.status(MD, "fraud")["stableRevision"]}


async def test_a_cluster_without_the_gateway_api_says_what_to_install(shop: Shop) -> None:
    shop.gateways.installed = False
    await begin(shop)
    ready = shop.condition(TS, "fraud", "Ready")
    assert (ready["status"], ready["reason"]) == ("False", "GatewayApiMissing")
    shop.gateways.installed = True
    await shop.run(40)
    assert shop.condition(TS, "fraud", "Ready")["status"] == "True"


async def test_a_split_moves_to_a_gateway_and_the_routers_go(shop: Shop) -> None:
    stable = await begin(shop, gateway=None)
    assert real_weights(shop) == {stable: 100}
    shop.apply(TS, "fraud", {**split_spec(), "gateway": EDGE})
    await shop.run(5)
    assert led(shop) == {stable: 100}
    assert status(shop)["router"] == "Gateway"
    assert endpoint(shop)["selector"] == {REVISION: stable}
    # Whoever still comes by the routers is answered, until no node leads to them any more.
    assert real_weights(shop) == {stable: 100}
    await shop.run(60)
    assert real_weights(shop) == {}
    assert ROUTER not in shop.names(Kind.DEPLOYMENT)


async def test_a_split_stays_with_the_routers_in_its_status_until_the_gateway_runs_it(shop: Shop) -> None:
    stable = await begin(shop, gateway=None)
    shop.gateways.silent = True
    shop.apply(TS, "fraud", {**split_spec(), "gateway": EDGE})
    await shop.run(120)
    assert status(shop)["router"] == "Envoy"
    assert real_weights(shop) == {stable: 100}
    shop.restart_operator()
    shop.gateways.silent = False
    await shop.run(120)
    assert status(shop)["router"] == "Gateway"
    assert ROUTER not in shop.names(Kind.DEPLOYMENT)


@pytest.mark.parametrize("to_gateway", [True, False], ids=["to a Gateway", "to the routers"])
async def test_a_rollout_goes_on_at_its_weight_when_the_router_changes(shop: Shop, *, to_gateway: bool) -> None:
    await begin(shop, gateway=None if to_gateway else EDGE)
    good = await canary(shop)
    await shop.run(600, until=lambda: written_weights(shop).get(good) == 25)
    shop.apply(TS, "fraud", {**split_spec(), "gateway": EDGE if to_gateway else None})
    await shop.run(3)
    assert (led(shop) if to_gateway else real_weights(shop))[good] == 25
    await shop.run(900, until=lambda: phase(shop) == "Promoted")
    assert phase(shop) == "Promoted"
    assert status(shop)["router"] == ("Gateway" if to_gateway else "Envoy")


async def test_routers_that_an_earlier_operator_left_go_all_the_same(shop: Shop) -> None:
    await begin(shop, gateway=None)
    shop.apply(TS, "fraud", {**split_spec(), "gateway": EDGE})
    await shop.run(30, until=lambda: status(shop).get("router") == "Gateway")
    assert ROUTER in shop.names(Kind.DEPLOYMENT)
    shop.restart_operator()
    await shop.run(120)
    assert ROUTER not in shop.names(Kind.DEPLOYMENT)


async def test_one_split_that_goes_to_a_gateway_leaves_the_routers_to_the_others(shop: Shop) -> None:
    stable = await begin(shop, gateway=None)
    shop.apply(MD, "churn", model(7))
    await shop.settle()
    shop.apply(TS, "churn", {**split_spec(policies=()), "stable": {"modelDeployment": "churn"}, "gateway": EDGE})
    await shop.run(120)
    assert shop.status(TS, "churn")["router"] == "Gateway"
    assert real_weights(shop) == {stable: 100}
    assert ROUTER in shop.names(Kind.DEPLOYMENT)


async def test_a_split_moves_back_to_the_routers_and_its_route_goes(shop: Shop) -> None:
    stable = await begin(shop)
    shop.apply(TS, "fraud", split_spec())
    await shop.run(20)
    assert real_weights(shop) == {stable: 100}
    assert endpoint(shop)["selector"][APP_NAME] == ROUTER
    assert shop.gateways.routes == {}
    assert status(shop)["router"] == "Envoy"


async def test_the_endpoint_moves_back_to_the_routers_only_when_they_can_answer(shop: Shop) -> None:
    stable = await begin(shop)
    shop.stats.cold.add(stable)
    shop.apply(TS, "fraud", split_spec())
    await shop.run(20)
    assert endpoint(shop)["selector"] == {REVISION: stable}
    assert led(shop) == {stable: 100}
    shop.stats.cold.clear()
    await shop.run(5)
    assert endpoint(shop)["selector"][APP_NAME] == ROUTER


async def test_a_split_with_a_name_of_its_own_has_a_service_that_leads_to_the_stable_revision(shop: Shop) -> None:
    shop.apply(MD, "fraud", model(1))
    await shop.settle()
    shop.apply(TS, "edge-of-fraud", {**split_spec(policies=()), "gateway": EDGE})
    await shop.run(5)
    stable = shop.status(TS, "edge-of-fraud")["stableRevision"]
    assert shop.get(Kind.SERVICE, "edge-of-fraud")["spec"]["selector"] == {REVISION: stable}


async def test_the_route_of_somebody_else_is_told_and_left(shop: Shop) -> None:
    theirs = {"metadata": {"namespace": "shop", "name": "fraud", "uid": "x", "generation": 1}, "spec": {"rules": []}}
    shop.gateways.routes["shop", "fraud"] = theirs
    await begin(shop)
    ready = shop.condition(TS, "fraud", "Ready")
    assert (ready["status"], ready["reason"]) == ("False", "NotOwned")
    assert "HTTPRoute shop/fraud exists and belongs to somebody else" in ready["message"]
    assert shop.gateways.routes["shop", "fraud"]["metadata"]["uid"] == "x"
