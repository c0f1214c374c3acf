"""What is particular to Gateways as routers: rights, owners, hosts, and what they cannot do."""

from dataclasses import replace

import pytest
from tests.fakes.gateway import FakeGatewayApi
from tests.penstock_operator.reconcile.router_contract import NAMESPACE, REF, SPLIT, GatewayBench, a_route

from penstock_operator.core.conditions import Reason
from penstock_operator.core.objects import Manifest
from penstock_operator.core.routes import CookieKey, HeaderKey, Mirror
from penstock_operator.ports import RequestRejected
from penstock_operator.reconcile.gateway_router import GatewayRouter
from penstock_operator.reconcile.pod_sampling import PodSampler


@pytest.fixture
def bench() -> GatewayBench:
    made = GatewayBench()
    made.make_warm("a")
    return made


async def test_without_the_chart_setting_nothing_is_asked_and_the_fix_is_told(bench: GatewayBench) -> None:
    sampler = PodSampler(cluster=bench.cluster, pods=bench, clock=bench.clock, monotonic=bench.clock.monotonic)
    router = GatewayRouter(cluster=bench.cluster, api=None, sampler=sampler, monotonic=bench.clock.monotonic)
    problem = await router.prepare(bench.split)
    assert problem is not None
    assert problem.reason is Reason.GATEWAY_NOT_ENABLED
    assert "gateway.enabled=true" in problem.message
    assert await router.publish(bench.split, a_route(a=100)) is None
    assert await router.acknowledged(REF, timeout_seconds=1.0) is None
    assert await router.withdraw(REF) is None


async def test_where_the_crds_are_absent_the_condition_says_so_and_it_is_cured_by_installing_them(
    bench: GatewayBench,
) -> None:
    bench.api.installed = False
    assert await bench.router.prepare(bench.split) is None
    problem = await bench.router.publish(bench.split, a_route(a=100))
    assert problem is not None
    assert problem.reason is Reason.GATEWAY_API_MISSING
    assert await bench.router.acknowledged(REF, timeout_seconds=1.0) is None
    bench.api.installed = True
    assert (await bench.look(a=100)).complete


async def test_a_route_of_somebody_else_is_left_alone(bench: GatewayBench) -> None:
    mine: Manifest = {
        "metadata": {"namespace": NAMESPACE, "name": SPLIT, "uid": "theirs", "generation": 1},
        "spec": {"parentRefs": [{"name": "edge"}], "rules": [{"backendRefs": [{"name": "shop", "weight": 1}]}]},
    }
    bench.api.routes[NAMESPACE, SPLIT] = mine
    problem = await bench.router.prepare(bench.split)
    assert problem is not None
    assert problem.reason is Reason.NOT_OWNED
    assert await bench.router.publish(bench.split, a_route(a=100)) is None
    assert await bench.router.acknowledged(REF, timeout_seconds=1.0) is None
    await bench.router.withdraw(REF)
    assert bench.api.routes[NAMESPACE, SPLIT]["metadata"]["uid"] == "theirs"
    assert bench.api.writes == []


async def test_a_route_that_becomes_somebody_elses_acknowledges_nothing_any_more(bench: GatewayBench) -> None:
    assert (await bench.look(a=100)).complete
    bench.api.routes[NAMESPACE, SPLIT]["metadata"]["ownerReferences"][0]["uid"] = "theirs"
    assert await bench.look(a=95, b=5) is None


async def test_what_somebody_changes_in_the_route_is_put_back(bench: GatewayBench) -> None:
    await bench.look(a=95, b=5)
    bench.api.routes[NAMESPACE, SPLIT]["spec"]["rules"][0]["backendRefs"][0]["weight"] = 1
    bench.api.routes[NAMESPACE, SPLIT]["metadata"]["generation"] += 1
    assert (await bench.look(a=95, b=5)).complete
    assert bench.weights() == {"a": 95, "b": 5}


async def test_a_route_that_somebody_deletes_is_made_again(bench: GatewayBench) -> None:
    await bench.look(a=95, b=5)
    bench.api.remove(NAMESPACE, SPLIT)
    assert (await bench.look(a=95, b=5)).complete
    assert bench.weights() == {"a": 95, "b": 5}


async def test_a_host_of_an_older_split_is_not_taken(bench: GatewayBench) -> None:
    bench.cluster.put({**bench.manifest("aardvark")})
    problem = await bench.router.prepare(bench.split)
    assert problem is not None
    assert problem.reason is Reason.HOST_TAKEN
    await bench.router.publish(bench.split, a_route(a=100))
    assert bench.api.writes == []


async def test_a_gateway_that_is_missing_is_told_and_cured_by_making_it(bench: GatewayBench) -> None:
    bench.api.gateways.clear()
    told = await bench.look(a=100)
    assert "there is no such Gateway" in told.rejected["Gateway shop/edge"]
    bench.api.gateway(NAMESPACE, "edge")
    assert (await bench.look(a=100)).complete


async def test_an_operator_that_starts_again_writes_nothing_and_knows_what_is_run(bench: GatewayBench) -> None:
    await bench.look(a=95, b=5)
    again = GatewayBench()
    again.cluster, again.split, again.api = bench.cluster, bench.split, bench.api
    sampler = PodSampler(cluster=bench.cluster, pods=bench, clock=bench.clock, monotonic=bench.clock.monotonic)
    again.router = GatewayRouter(
        cluster=bench.cluster, api=bench.api, sampler=sampler, monotonic=bench.clock.monotonic, sleep=bench.pass_time
    )
    writes = list(bench.api.writes)
    assert (await again.look(a=95, b=5)).complete
    assert bench.api.writes == writes


async def test_what_cannot_be_said_is_refused_and_a_rollback_is_done_all_the_same(bench: GatewayBench) -> None:
    cookie = CookieKey(name="penstock", ttl_seconds=60)
    kept = replace(a_route(a=75, b=25), stickiness=cookie, mirrors=(Mirror(revision="b", percent=10),))
    await bench.router.prepare(bench.split)
    assert await bench.router.publish(bench.split, kept) is None

    back = replace(a_route(a=100), stickiness=HeaderKey(name="x-account"))
    problem = await bench.router.publish(bench.split, back)
    assert problem is not None
    assert problem.reason is Reason.UNSUPPORTED_BY_GATEWAY
    assert bench.weights() == {"a": 100}
    assert bench.api.routes[NAMESPACE, SPLIT]["spec"]["rules"][0]["sessionPersistence"]["sessionName"] == "penstock"
    assert await bench.router.acknowledged(REF, timeout_seconds=1.0) is None


async def test_a_cookie_where_the_crd_knows_no_sessions_is_refused_with_the_way_out(bench: GatewayBench) -> None:
    bench.api.unknown_fields = {"sessionPersistence"}
    await bench.router.prepare(bench.split)
    sticky = replace(a_route(a=100), stickiness=CookieKey(name="penstock", ttl_seconds=60))
    problem = await bench.router.publish(bench.split, sticky)
    assert problem is not None
    assert problem.reason is Reason.UNSUPPORTED_BY_GATEWAY
    assert "experimental channel" in problem.message
    assert bench.api.routes == {}


async def test_a_feature_that_the_class_does_not_publish_is_refused(bench: GatewayBench) -> None:
    bench.api.published = {"HTTPRouteRequestMirror"}
    await bench.router.prepare(bench.split)
    shadow = replace(a_route(a=100, b=0), mirrors=(Mirror(revision="b", percent=10),))
    problem = await bench.router.publish(bench.split, shadow)
    assert problem is not None
    assert "HTTPRouteRequestPercentageMirror" in problem.message


async def test_any_other_refusal_of_the_api_server_is_told_in_its_words(bench: GatewayBench) -> None:
    class Quota(FakeGatewayApi):
        async def apply(self, manifest: Manifest) -> Manifest:  # noqa: ARG002 - refused whatever it is
            raise RequestRejected("exceeded quota: none-left", 403, "Forbidden")

    quota = Quota()
    quota.gateway(NAMESPACE, "edge")
    sampler = PodSampler(cluster=bench.cluster, pods=bench, clock=bench.clock, monotonic=bench.clock.monotonic)
    router = GatewayRouter(cluster=bench.cluster, api=quota, sampler=sampler, monotonic=bench.clock.monotonic)
    await router.prepare(bench.split)
    problem = await router.publish(bench.split, a_route(a=100))
    assert problem is not None
    assert (problem.reason, problem.message) == (Reason.REJECTED_BY_SERVER, "exceeded quota: none-left")


async def test_the_route_of_a_deleted_split_is_left_to_its_owner_reference(bench: GatewayBench) -> None:
    await bench.look(a=100)
    bench.cluster.remove(REF)
    assert await bench.router.withdraw(REF) is None
    assert bench.api.writes == ["apply fraud"]


async def test_a_pod_that_makes_no_sense_counts_nothing(bench: GatewayBench) -> None:
    bench.make_warm("b")
    await bench.look(a=95, b=5)
    bench.answer("a", good=10)
    await bench.tick()
    bench.answered["a"][200] = -5
    bench.answer("b", good=4)
    await bench.tick()
    assert bench.taken() == [{"b": (4, 0)}]
