"""The server's edges, with a client that is no Envoy."""

import contextlib
from collections.abc import AsyncIterator
from typing import Any

import grpc.aio
import pytest
from envoy.service.discovery.v3 import discovery_pb2
from tests.penstock_operator.adapters.xds.rig import until

from penstock_operator.adapters.xds.resources import CLUSTER_TYPE
from penstock_operator.adapters.xds.server import XdsServer
from penstock_operator.core.routes import RouterPod
from penstock_operator.ports import Router

METHOD = "/envoy.service.discovery.v3.AggregatedDiscoveryService/DeltaAggregatedResources"


@contextlib.asynccontextmanager
async def connected() -> AsyncIterator[tuple[XdsServer, Any]]:
    server = XdsServer()
    port = await server.start("127.0.0.1", 0)
    # The published types do not know calls that are written to one by one.
    opened: Any = grpc.aio.insecure_channel(f"127.0.0.1:{port}")
    async with opened as channel:
        call = channel.stream_stream(
            METHOD,
            request_serializer=discovery_pb2.DeltaDiscoveryRequest.SerializeToString,
            response_deserializer=discovery_pb2.DeltaDiscoveryResponse.FromString,
        )()
        yield server, call
    await server.stop()


def hello(node: str, cluster: str) -> Any:
    request = discovery_pb2.DeltaDiscoveryRequest(type_url=CLUSTER_TYPE)
    request.node.id, request.node.cluster = node, cluster
    return request


async def test_a_router_without_a_name_is_told_what_is_missing() -> None:
    async with connected() as (_, call):
        await call.write(hello("", "shop"))
        with pytest.raises(grpc.aio.AioRpcError) as raised:
            await call.read()
        assert raised.value.code() is grpc.StatusCode.INVALID_ARGUMENT
        assert "node.id must be the pod's name" in (raised.value.details() or "")


async def test_a_namespace_that_nobody_published_leaves_no_trace() -> None:
    async with connected() as (server, call):
        await call.write(hello("router-a", "made-up"))
        await until(lambda: "made-up" in server._fleets)
        call.cancel()
        await until(lambda: "made-up" not in server._fleets)


async def test_waiting_for_a_namespace_that_was_not_published_is_an_error() -> None:
    with pytest.raises(LookupError, match="publish its routes first"):
        await XdsServer().acknowledged("shop", 0)


async def test_without_routers_nothing_is_complete() -> None:
    router: Router = XdsServer()
    version = router.publish("shop", [], [])
    acknowledgement = await router.acknowledged("shop", 0)
    assert not acknowledgement.complete
    assert acknowledgement.version == version


async def test_a_router_that_never_came_is_missing() -> None:
    router = XdsServer()
    router.publish("shop", [], [RouterPod(name="router-a", ip="10.0.0.1")])
    assert (await router.acknowledged("shop", 0)).missing == {"router-a"}


async def test_a_port_that_is_taken_is_an_error() -> None:
    async with connected() as (server, _):
        bound = server._server
        assert bound is not None
        other = XdsServer()
        port = await other.start("127.0.0.1", 0)
        with pytest.raises(RuntimeError):
            await XdsServer().start("127.0.0.1", port)
        await other.stop()
