"""Two routers as the operator sees them: they take in and acknowledge configuration over ADS, and count by weight."""

import asyncio
import itertools
import time
import uuid
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from typing import Any

import grpc
import grpc.aio
from aiohttp import web
from envoy.config.route.v3 import route_pb2
from envoy.service.discovery.v3 import discovery_pb2

from penstock_operator.adapters.xds.resources import CLUSTER_TYPE, LISTENER_TYPE, ROUTE_TYPE
from penstock_operator.core.manifests.router import STATS_PORT
from penstock_operator.core.manifests.router_bootstrap import (
    BOOT_HEADER,
    EDGE_SHIFT_MS,
    LATENCY_EDGES_MS,
    LATENCY_END_MS,
)

_ADS = "/envoy.service.discovery.v3.AggregatedDiscoveryService/DeltaAggregatedResources"
#: Share of the requests in each of these buckets, by their upper edges in milliseconds.
_LATENCY = {5: 0.2, 8: 0.5, 12: 0.25, 25: 0.04, 50: 0.01}

#: Returns the share of a revision's requests that fail.
ErrorShare = Callable[[str], float]


@dataclass(slots=True)
class Counted:
    """What one router counted of one cluster."""

    requests: float = 0.0
    errors: float = 0.0


@dataclass(slots=True, kw_only=True)
class ScriptedRouter:
    """One router on a loopback address of its own. ``weights`` are what it was told: split to cluster to weight."""

    pod: str
    address: str
    namespace: str
    requests_per_second: float
    error_share: ErrorShare
    weights: dict[str, dict[str, int]] = field(default_factory=dict)
    clusters: set[str] = field(default_factory=set)
    told_at: dict[tuple[str, str], float] = field(default_factory=dict)
    boot: str = field(default_factory=lambda: uuid.uuid4().hex)
    _counted: dict[str, Counted] = field(default_factory=dict)
    _served_at: float = field(default_factory=time.monotonic)
    _runner: web.AppRunner | None = None
    _stream: asyncio.Task[None] | None = None

    async def start(self, operator_port: int) -> None:
        """Listen on the statistics port and follow the operator."""
        app = web.Application()
        app.router.add_get("/stats", self._stats)
        self._runner = web.AppRunner(app, access_log=None)
        await self._runner.setup()
        await web.TCPSite(self._runner, self.address, STATS_PORT).start()
        self._stream = asyncio.create_task(self._follow(operator_port))

    async def stop(self) -> None:
        """Stop both."""
        if self._stream is not None:
            self._stream.cancel()
        if self._runner is not None:
            await self._runner.cleanup()

    # --- configuration ---

    async def _follow(self, port: int) -> None:
        while True:
            try:
                async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
                    await self._talk(channel)
            except grpc.aio.AioRpcError:
                await asyncio.sleep(0.2)

    async def _talk(self, channel: Any) -> None:
        answers: asyncio.Queue[Any] = asyncio.Queue()
        node = {"id": self.pod, "cluster": self.namespace}
        for kind in (CLUSTER_TYPE, LISTENER_TYPE):
            answers.put_nowait(discovery_pb2.DeltaDiscoveryRequest(type_url=kind, node=node))
        method = channel.stream_stream(
            _ADS,
            request_serializer=discovery_pb2.DeltaDiscoveryRequest.SerializeToString,
            response_deserializer=discovery_pb2.DeltaDiscoveryResponse.FromString,
        )
        async for response in method(_each(answers)):
            answers.put_nowait(
                discovery_pb2.DeltaDiscoveryRequest(type_url=response.type_url, response_nonce=response.nonce)
            )
            names = [resource.name for resource in response.resources]
            match response.type_url:
                case str(kind) if kind == CLUSTER_TYPE:
                    self.clusters = (self.clusters | set(names)) - set(response.removed_resources)
                case str(kind) if kind == LISTENER_TYPE and (names or response.removed_resources):
                    answers.put_nowait(
                        discovery_pb2.DeltaDiscoveryRequest(
                            type_url=ROUTE_TYPE,
                            resource_names_subscribe=names,
                            resource_names_unsubscribe=list(response.removed_resources),
                        )
                    )
                case _:
                    self._route(response.resources)

    def _route(self, resources: Any) -> None:
        self._serve()
        for resource in resources:
            table = route_pb2.RouteConfiguration()
            resource.resource.Unpack(table)
            weights = dict(_weights(table))
            split = resource.name.rpartition("/")[2]
            for cluster, weight in weights.items():
                if self.weights.get(split, {}).get(cluster) != weight:
                    self.told_at[split, cluster] = time.monotonic()
            self.weights[split] = weights

    # --- statistics ---

    def _serve(self) -> None:
        """Count the requests since the last look, as the weights were."""
        now = time.monotonic()
        elapsed, self._served_at = now - self._served_at, now
        for weights in self.weights.values():
            total = sum(weights.values())
            for cluster, weight in weights.items():
                counted = self._counted.setdefault(cluster, Counted())
                requests = self.requests_per_second * elapsed * weight / total if total else 0.0
                counted.requests += requests
                counted.errors += requests * self.error_share(cluster.split("/")[2])

    async def _stats(self, _: web.Request) -> web.Response:
        self._serve()
        text = "".join(itertools.chain.from_iterable(map(self._lines, sorted(self.clusters))))
        return web.Response(text=text, headers={BOOT_HEADER: self.boot})

    def _lines(self, cluster: str) -> list[str]:
        counted = self._counted.setdefault(cluster, Counted())
        requests, errors = int(counted.requests), int(counted.errors)
        name = "cluster." + cluster.replace(".", "_")
        lines = [f"{name}.membership_healthy: 1\n", f"{name}.membership_total: 1\n"]
        if requests:
            lines += [
                f"{name}.upstream_rq_2xx: {requests - errors}\n",
                f"{name}.upstream_rq_5xx: {errors}\n",
                f"{name}.upstream_rq_completed: {requests}\n",
                f"{name}.upstream_rq_time: {_histogram(requests)}\n",
            ]
        return lines


def _histogram(requests: int) -> str:
    share, parts = 0.0, []
    for edge in LATENCY_EDGES_MS:
        share += _LATENCY.get(edge, 0.0)
        parts.append(f"B{edge - EDGE_SHIFT_MS:g}(0,{int(requests * share + 1e-6)})")
    return " ".join([*parts, f"B{LATENCY_END_MS:g}(0,{requests})"])


def _weights(table: Any) -> list[tuple[str, int]]:
    """Return the weights of the last route that has some, which is the one for everybody."""
    spread = [route.route for route in table.virtual_hosts[0].routes if route.route.weighted_clusters.clusters]
    return [(cluster.name, cluster.weight.value) for cluster in spread[-1].weighted_clusters.clusters]


async def _each(queue: asyncio.Queue[Any]) -> AsyncIterator[Any]:
    while True:
        yield await queue.get()
