"""HTTPRoutes at a real API server: without their CRD, with that of the standard channel, with the experimental one."""

import asyncio
import time
from dataclasses import replace
from typing import Any

import pytest
import yaml
from cluster.embedded.envoy_gateway import GATEWAY_API, sources
from tests.fakes.people import People
from tests.penstock_operator.core.manifests.test_http_route import TARGET, backend, route

from penstock_operator.adapters.gateway_api.objects import KubernetesGatewayApi
from penstock_operator.core.difference import differs
from penstock_operator.core.gateway import Parent
from penstock_operator.core.manifests.http_route import http_route
from penstock_operator.core.objects import Manifest
from penstock_operator.core.routes import CookieKey, HeaderMatch, MatchKind, Mirror, SplitRoute
from penstock_operator.ports import ClusterUnavailable, RequestRejected

pytestmark = pytest.mark.controlplane

CRDS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
RICH = replace(
    route(backends=(backend("fraud-1", 75), backend("fraud-2", 25), backend("fraud-3", 0))),
    matches=(
        HeaderMatch(header="x-beta", kind=MatchKind.EXACT, value="yes", revision="fraud-2"),
        HeaderMatch(header="x-beta", kind=MatchKind.PREFIX, value="a.b", revision="fraud-3"),
        HeaderMatch(header="x-staff", kind=MatchKind.PRESENT, revision="fraud-3"),
    ),
    mirrors=(Mirror(revision="fraud-3", percent=20),),
    request_timeout_seconds=2.5,
)
STICKY = replace(RICH, stickiness=CookieKey(name="penstock", ttl_seconds=3600))


async def install(people: People, channel: str) -> None:
    """Create or replace the CRDs of a channel, and wait until they are served."""
    for plural in ("httproutes", "gateways", "gatewayclasses"):
        file = sources(GATEWAY_API) / "config" / "crd" / channel / f"gateway.networking.k8s.io_{plural}.yaml"
        body = yaml.safe_load(file.read_text())
        where = f"{CRDS}/{body['metadata']['name']}"
        live = await people.client.request("get", where, resource="customresourcedefinitions")
        if live is None:
            await people.client.request("create", CRDS, resource="customresourcedefinitions", body=body)
        else:
            body["metadata"]["resourceVersion"] = live["metadata"]["resourceVersion"]
            await people.client.request("replace", where, resource="customresourcedefinitions", body=body)


async def until_applied(api: KubernetesGatewayApi, manifest: Manifest) -> Manifest:
    """Apply until the API server has learned the CRDs."""
    for _ in range(100):
        try:
            return await api.apply(manifest)
        except (RequestRejected, ClusterUnavailable) as error:
            refusal = error
        await asyncio.sleep(0.1)
    raise refusal


async def test_routes_of_splits_are_what_real_http_routes_take(people: People, namespace: str) -> None:
    api = KubernetesGatewayApi(people.client, namespaces=(), monotonic=time.monotonic)
    owner: dict[str, Any] = {
        "apiVersion": "penstock.dev/v1alpha1",
        "kind": "TrafficSplit",
        "metadata": {"name": "fraud", "namespace": namespace, "uid": "0f3a1c9e-0000-4000-8000-000000000000"},
    }

    def made(of: SplitRoute) -> Manifest:
        return http_route(owner, of, TARGET)

    assert await api.route(namespace, "fraud") is None
    with pytest.raises(RequestRejected, match="install the CRDs of the Gateway API"):
        await api.apply(made(RICH))
    edge = Parent(namespace=namespace, name="edge")
    assert (await api.attachment([edge])).gateways == {edge: None}
    assert await api.features("none") == frozenset()

    await install(people, "standard")
    applied = await until_applied(api, made(RICH))
    live = await api.route(namespace, "fraud")
    assert live is not None
    assert not differs(live, made(RICH))
    assert live["metadata"]["generation"] == applied["metadata"]["generation"] == 1
    assert (await api.apply(made(RICH)))["metadata"]["resourceVersion"] == live["metadata"]["resourceVersion"]

    with pytest.raises(RequestRejected, match="sessionPersistence"):
        await api.apply(made(STICKY))
    assert not differs(await api.route(namespace, "fraud"), made(RICH))

    await install(people, "experimental")
    await until_applied(api, made(STICKY))
    live = await api.route(namespace, "fraud")
    assert live is not None
    assert not differs(live, made(STICKY))
    await api.apply(made(RICH))
    live = await api.route(namespace, "fraud")
    assert live is not None
    assert "sessionPersistence" not in live["spec"]["rules"][0]

    with pytest.raises(ClusterUnavailable):
        await api.delete(namespace, "fraud", uid="another")
    await api.delete(namespace, "fraud", uid=live["metadata"]["uid"])
    assert await api.route(namespace, "fraud") is None
