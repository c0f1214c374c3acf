"""The xDS server: pushes each namespace's configuration to its routers over delta ADS."""

import asyncio
import contextlib
import time
from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any
from urllib.parse import unquote

import grpc
import grpc.aio
from envoy.service.discovery.v3 import discovery_pb2

from penstock_operator.adapters.xds.fleet import Fleet, Session
from penstock_operator.adapters.xds.resources import snapshot_of
from penstock_operator.adapters.xds.stream import RouterStream, Update
from penstock_operator.core.routes import Acknowledgement, RouterPod, SplitRoute

_SERVICE = "envoy.service.discovery.v3.AggregatedDiscoveryService"
# Routers ping every few seconds to notice a frozen operator; gRPC would take that for abuse by default.
_OPTIONS = (
    ("grpc.keepalive_permit_without_calls", 1),
    ("grpc.http2.min_ping_interval_without_data_ms", 500),
    ("grpc.http2.min_recv_ping_interval_without_data_ms", 500),
    ("grpc.http2.max_ping_strikes", 0),
    # And the other way round: a router that vanished without a word is forgotten after 15 s.
    ("grpc.keepalive_time_ms", 10_000),
    ("grpc.keepalive_timeout_ms", 5_000),
    # Two operators must never share the port by accident.
    ("grpc.so_reuseport", 0),
)
# In-flight requests of a revision that left the routes are answered and counted before its cluster goes.
_LINGER_SECONDS = 10.0


class XdsServer:
    """Implements the Router port. One per process; all methods belong to the event loop that started it.

    With ``verify_peers`` a router counts only if it connects from the address that the cluster's API knows for its
    pod. A namespace that was not published since the process started gets no answer, so its routers keep what they
    have.
    """

    def __init__(
        self,
        *,
        verify_peers: bool = False,
        linger_seconds: float = _LINGER_SECONDS,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._verify_peers = verify_peers
        self._linger_seconds = linger_seconds
        self._clock = clock
        self._fleets: defaultdict[str, Fleet] = defaultdict(Fleet)
        self._server: grpc.aio.Server | None = None

    async def start(self, host: str, port: int) -> int:
        """Listen and return the port (chosen by the system for 0). Raises RuntimeError if it is taken."""
        server = grpc.aio.server(options=_OPTIONS)
        handler = grpc.stream_stream_rpc_method_handler(
            self._serve,
            request_deserializer=discovery_pb2.DeltaDiscoveryRequest.FromString,
            response_serializer=discovery_pb2.DeltaDiscoveryResponse.SerializeToString,
        )
        service = grpc.method_handlers_generic_handler(_SERVICE, {"DeltaAggregatedResources": handler})
        server.add_generic_rpc_handlers((service,))
        bound = server.add_insecure_port(f"{host}:{port}")
        await server.start()
        self._server = server
        return bound

    async def stop(self, grace_seconds: float | None = None) -> None:
        """Stop listening and end all streams; routers keep what they have."""
        if self._server is not None:
            await self._server.stop(grace_seconds)
            self._server = None

    def publish(self, namespace: str, routes: Sequence[SplitRoute], pods: Sequence[RouterPod]) -> str:
        """Make ``routes`` the configuration of the namespace's routers and return its version.

        Raises ValueError if two routes share a name or a port.
        """
        fleet = self._fleets[namespace]
        snapshot = snapshot_of(routes, fleet.snapshot)
        fleet.publish(snapshot, pods)
        return snapshot.version

    async def acknowledged(
        self, namespace: str, timeout_seconds: float, *, split: str | None = None
    ) -> Acknowledgement:
        """Wait until every pod has acknowledged or rejected the last published version, at most this long.

        With ``split`` only that split's part of it counts, so that one that is rejected does not hold up others.
        Raises LookupError if the namespace was not published yet.
        """
        fleet = self._fleets.get(namespace) or Fleet()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(timeout_seconds):
                while fleet.acknowledgement(split, verify_peers=self._verify_peers).missing:
                    await fleet.changed()
        return fleet.acknowledgement(split, verify_peers=self._verify_peers)

    async def _serve(self, requests: AsyncIterator[Any], context: Any) -> None:
        first = await anext(requests, None)
        if first is None:
            return
        if not first.node.id or not first.node.cluster:
            await context.abort(
                grpc.StatusCode.INVALID_ARGUMENT, "node.id must be the pod's name and node.cluster its namespace"
            )
        fleet = self._fleets[first.node.cluster]
        session = Session(
            pod=first.node.id,
            address=_address(context.peer()),
            stream=RouterStream(linger_seconds=self._linger_seconds),
        )
        fleet.join(session)
        fleet.observed(session, session.stream.observe(first))
        sender = asyncio.create_task(self._send(fleet, session, context))
        try:
            async for request in requests:
                fleet.observed(session, session.stream.observe(request))
        finally:
            sender.cancel()
            fleet.leave(session)
            if fleet.is_forgettable:
                # Anybody can make up namespaces; they must not pile up.
                self._fleets.pop(first.node.cluster, None)
            with contextlib.suppress(asyncio.CancelledError):
                await sender

    async def _send(self, fleet: Fleet, session: Session, context: Any) -> None:
        while True:
            session.wake.clear()
            view = fleet.view(session)
            if view is not None:
                for update in session.stream.due(view, self._clock()):
                    await context.write(_response(update, view.version))
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._sleep_seconds(session)):
                    await session.wake.wait()

    def _sleep_seconds(self, session: Session) -> float | None:
        wake_at = session.stream.wake_at()
        return None if wake_at is None else max(wake_at - self._clock(), 0.05)


def _response(update: Update, version: str) -> Any:
    return discovery_pb2.DeltaDiscoveryResponse(
        type_url=update.type_url,
        system_version_info=version,
        nonce=update.nonce,
        resources=[
            discovery_pb2.Resource(name=resource.name, version=resource.version, resource=resource.body)
            for resource in update.resources
        ],
        removed_resources=update.removed,
    )


def _address(peer: str) -> str:
    """Return the IP of a gRPC peer.

    >>> _address("ipv4:10.1.2.3:4711"), _address("ipv6:%5B::1%5D:4711")
    ('10.1.2.3', '::1')
    """
    return unquote(peer).partition(":")[2].rpartition(":")[0].strip("[]")
