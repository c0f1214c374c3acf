"""What is asked of the API server about HTTPRoutes and Gateways, and how its answers are understood."""

from collections.abc import Collection
from typing import Any

import pytest
from tests.fakes.clock import FakeClock

from penstock_operator.adapters.gateway_api.objects import KubernetesGatewayApi
from penstock_operator.core.gateway import Parent
from penstock_operator.core.objects import Manifest
from penstock_operator.ports import RequestRejected

EDGE, TLS = Parent(namespace="shop", name="edge"), Parent(namespace="infra", name="tls")
ROOT = "/apis/gateway.networking.k8s.io/v1"
ROUTE = {
    "apiVersion": "gateway.networking.k8s.io/v1",
    "kind": "HTTPRoute",
    "metadata": {"namespace": "shop", "name": "fraud", "uid": "u1", "managedFields": [{}]},
}


class Answers:
    """Answers by path, and remembers what was asked."""

    def __init__(self, **answers: Manifest | None) -> None:
        self.answers: dict[str, Manifest | None] = {path.replace("__", "/"): body for path, body in answers.items()}
        self.asked: list[tuple[str, str, dict[str, str] | None]] = []

    async def request(
        self,
        verb: str,
        path: str,
        *,
        resource: str,
        body: dict[str, Any] | None = None,
        query: dict[str, str] | None = None,
    ) -> dict[str, Any] | None:
        assert path.split("/")[-2] == resource
        self.asked.append((verb, path, query))
        return self.answers.get(path.removeprefix(f"{ROOT}/"), body if verb == "apply" else None)


def api(answers: Answers, *, namespaces: Collection[str] = ()) -> tuple[KubernetesGatewayApi, FakeClock]:
    clock = FakeClock()
    return KubernetesGatewayApi(answers, namespaces=namespaces, monotonic=clock.monotonic), clock


def gateway(programmed: str) -> Manifest:
    condition = {"type": "Programmed", "status": programmed}
    return {"kind": "Gateway", "metadata": {}, "spec": {}, "status": {"conditions": [condition]}}


async def test_a_route_is_read_without_the_bookkeeping_of_fields() -> None:
    found, _ = api(Answers(namespaces__shop__httproutes__fraud=ROUTE))
    live = await found.route("shop", "fraud")
    assert live is not None
    assert live["metadata"] == {"namespace": "shop", "name": "fraud", "uid": "u1"}
    assert await found.route("shop", "other") is None


async def test_a_field_that_the_cluster_does_not_know_is_refused_and_not_dropped() -> None:
    answers = Answers()
    found, _ = api(answers)
    await found.apply(ROUTE)
    ((verb, path, query),) = answers.asked
    assert (verb, path) == ("apply", f"{ROOT}/namespaces/shop/httproutes/fraud")
    assert query == {"fieldManager": "penstock", "force": "true", "fieldValidation": "Strict"}


async def test_applying_where_there_are_no_http_routes_says_what_to_install() -> None:
    found, _ = api(Answers(namespaces__shop__httproutes__fraud=None))
    with pytest.raises(RequestRejected, match="install the CRDs of the Gateway API") as refusal:
        await found.apply(ROUTE)
    assert refusal.value.status == 404


async def test_a_gateway_that_is_programmed_is_remembered_for_seconds_and_one_that_is_not_is_asked_again() -> None:
    answers = Answers(
        namespaces__shop__gateways__edge=gateway("True"), namespaces__infra__gateways__tls=gateway("False")
    )
    found, clock = api(answers)
    for _ in range(2):
        attachment = await found.attachment([EDGE, TLS])
        assert attachment.gateways == {EDGE: gateway("True"), TLS: gateway("False")}
    assert [path.rpartition("/")[2] for _, path, _ in answers.asked] == ["edge", "tls", "tls"]
    clock.move_to(clock.now() + 6)
    await found.attachment([EDGE])
    assert len(answers.asked) == 4


async def test_a_gateway_that_is_not_there_is_told_apart_from_one_that_may_not_be_read() -> None:
    answers = Answers()
    found, _ = api(answers, namespaces=("shop",))
    attachment = await found.attachment([EDGE, TLS])
    assert attachment.gateways == {EDGE: None}
    assert len(answers.asked) == 1


@pytest.mark.parametrize(
    ("told", "features"),
    [
        (["HTTPRoute", "Gateway"], {"HTTPRoute", "Gateway"}),
        ([{"name": "HTTPRoute"}], {"HTTPRoute"}),
        ([], set()),
        (None, set()),
    ],
)
async def test_features_are_read_in_both_forms_and_kept_for_minutes(told: Any, features: set[str]) -> None:
    answers = Answers(gatewayclasses__eg={"kind": "GatewayClass", "status": {"supportedFeatures": told}})
    found, _ = api(answers)
    for _ in range(2):
        assert await found.features("eg") == features
    assert len(answers.asked) == 1


async def test_what_belongs_to_no_namespace_is_not_asked_for_without_the_right() -> None:
    answers = Answers()
    found, _ = api(answers, namespaces=("shop",))
    assert await found.features("eg") == frozenset()
    assert answers.asked == []


async def test_a_route_is_deleted_only_if_it_is_the_one_that_was_seen() -> None:
    answers = Answers()
    found, _ = api(answers)
    await found.delete("shop", "fraud", uid="u1")
    assert answers.asked == [("delete", f"{ROOT}/namespaces/shop/httproutes/fraud", None)]
