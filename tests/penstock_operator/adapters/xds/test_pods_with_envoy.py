"""How the router follows the pods of a revision, with a real Envoy."""

import asyncio
import contextlib
import signal

import aiohttp
import pytest
from tests.penstock_operator.adapters.xds.rig import LOOPBACK, NAMESPACE, Model, Rig, free_port, load, until

from penstock_operator.core.routes import RouterPod

pytestmark = pytest.mark.envoy

HOST = "fraud-a.shop.svc"


async def pods(rig: Rig, count: int) -> list[Model]:
    """Start pods of one revision: one port, an address each, one name."""
    port = free_port()
    started = [await rig.model("fraud-a", address=f"127.0.0.{number + 2}", port=port) for number in range(count)]
    rig.names.addresses[HOST] = [pod.address for pod in started]
    return started


async def test_an_unready_pod_gets_no_requests_while_another_is_ready(rig: Rig) -> None:
    first, second = await pods(rig, 2)
    await rig.router()
    await rig.serve(rig.route(first.backend(100, HOST)))
    await until(lambda: _healthy_hosts(rig, 2))
    async with load(rig.url()) as seen:
        await until(lambda: first.answered > 20 and second.answered > 20)
        second.ready = False
        await until(lambda: _healthy_hosts(rig, 1))
        before = second.answered
        await until(_grows(first, 200))
        # Those on their way when the check failed.
        assert second.answered - before <= 4
    assert seen.failures == []


async def test_the_only_pod_gets_requests_even_if_a_check_was_missed(rig: Rig) -> None:
    (only,) = await pods(rig, 1)
    await rig.router()
    await rig.serve(rig.route(only.backend(100, HOST)))
    only.ready = False
    await until(lambda: _healthy_hosts(rig, 0))
    async with rig.client.post(rig.url()) as response:
        assert response.status == 200


async def test_no_request_fails_while_pods_are_replaced_one_by_one(rig: Rig) -> None:
    first, _ = await pods(rig, 2)
    await rig.router()
    await rig.serve(rig.route(first.backend(100, HOST)))
    await until(lambda: _healthy_hosts(rig, 2))
    async with load(rig.url()) as seen:
        third = await rig.model("fraud-a", address="127.0.0.9", port=first.port)
        rig.names.addresses[HOST].append(third.address)
        await until(lambda: _healthy_hosts(rig, 3))
        # As a pod leaves: not ready any more, out of DNS, gone when the router has seen either.
        first.ready = False
        rig.names.addresses[HOST].remove(first.address)
        await until(lambda: _healthy_hosts(rig, 2))
        await first.stop()
        await until(_grows(third, 100))
    assert seen.failures == []


async def test_a_pod_that_dies_without_a_word_costs_no_request_when_it_refuses_connections(rig: Rig) -> None:
    first, second = await pods(rig, 2)
    await rig.router()
    await rig.serve(rig.route(first.backend(100, HOST)))
    await until(lambda: _healthy_hosts(rig, 2))
    # Between requests: a pod that dies with requests in it takes them along.
    await first.stop()
    async with load(rig.url()) as seen:
        await until(_grows(second, 200))
    assert seen.failures == []


async def test_an_address_that_left_dns_gets_no_requests_however_healthy_it_looks(rig: Rig) -> None:
    first, second = await pods(rig, 2)
    await rig.router()
    await rig.serve(rig.route(first.backend(100, HOST)))
    await until(lambda: _healthy_hosts(rig, 2))
    rig.names.addresses[HOST].remove(second.address)
    await until(lambda: _healthy_hosts(rig, 1))
    before = second.answered
    async with load(rig.url()) as seen:
        await until(_grows(first, 100))
    assert seen.failures == []
    assert second.answered == before


async def test_pods_are_followed_while_the_operator_is_away(rig: Rig) -> None:
    first, second = await pods(rig, 2)
    await rig.router()
    await rig.serve(rig.route(first.backend(100, HOST)))
    await until(lambda: _healthy_hosts(rig, 2))
    await rig.xds.stop()
    async with load(rig.url()) as seen:
        first.ready = False
        rig.names.addresses[HOST].remove(first.address)
        await until(lambda: _healthy_hosts(rig, 1))
        await first.stop()
        await until(_grows(second, 100))
    assert seen.failures == []


async def test_a_name_that_is_lost_for_a_while_keeps_its_pods(rig: Rig) -> None:
    first, _ = await pods(rig, 2)
    await rig.router()
    await rig.serve(rig.route(first.backend(100, HOST)))
    await until(lambda: _healthy_hosts(rig, 2))
    rig.names.stop()
    async with load(rig.url()) as seen:
        await until(_grows(first, 300), seconds=20)
        await asyncio.sleep(3)
    assert seen.failures == []


async def test_a_frozen_router_is_missing_and_catches_up(rig: Rig) -> None:
    good, new = await rig.model("fraud-a"), await rig.model("fraud-b")
    router = await rig.router()
    await rig.serve(rig.route(good.backend(100), new.backend(0)))
    assert router.process is not None
    router.process.send_signal(signal.SIGSTOP)
    try:
        for weight in range(1, 20):
            rig.publish(rig.route(good.backend(100 - weight), new.backend(weight)))
        assert (await rig.acknowledged(0.2)).missing == {"router-a"}
    finally:
        router.process.send_signal(signal.SIGCONT)
    assert (await rig.acknowledged()).complete


async def test_a_router_at_another_address_than_its_pods_is_not_counted(rig: Rig) -> None:
    good = await rig.model("fraud-a")
    await rig.router()
    rig.xds._verify_peers = True
    route = rig.route(good.backend(100))
    rig.xds.publish(NAMESPACE, [route], [RouterPod(name="router-a", ip="127.0.0.1")])
    assert (await rig.acknowledged()).complete
    rig.xds.publish(NAMESPACE, [route], [RouterPod(name="router-a", ip="10.1.2.3")])
    assert (await rig.acknowledged(0.2)).missing == {"router-a"}


async def test_a_router_that_is_gone_is_missing(rig: Rig) -> None:
    good = await rig.model("fraud-a")
    router = await rig.router()
    await rig.serve(rig.route(good.backend(100)))
    await router.stop()
    await until(lambda: _missing(rig))


async def _missing(rig: Rig) -> bool:
    return bool((await rig.acknowledged(0)).missing)


async def _healthy_hosts(rig: Rig, count: int) -> bool:
    try:
        return (await rig.counters())["fraud", "fraud-a"].healthy_hosts == count
    except (KeyError, aiohttp.ClientError):
        return False


def _grows(model: Model, requests: int) -> "_Grown":
    return _Grown(model, model.answered + requests)


class _Grown:
    """Whether a model has answered so many more."""

    def __init__(self, model: Model, goal: int) -> None:
        self._model, self._goal = model, goal

    def __call__(self) -> bool:
        return self._model.answered >= self._goal


class Relay:
    """Stands between routers and operator like a Service; can freeze what goes through existing connections."""

    def __init__(self, target: int) -> None:
        self._target = target
        self._tasks: set[asyncio.Task[None]] = set()
        self.connections = 0
        self._frozen: set[int] = set()

    async def start(self) -> int:
        self._server = await asyncio.start_server(self._relay, LOOPBACK, 0)
        return int(self._server.sockets[0].getsockname()[1])

    def freeze(self) -> None:
        """Whoever is connected now hears nothing any more, as of a process that is stopped."""
        self._frozen = set(range(self.connections))

    async def stop(self) -> None:
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _relay(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        number = self.connections
        self.connections += 1
        there, back = await asyncio.open_connection(LOOPBACK, self._target)
        for source, sink in ((reader, back), (there, writer)):
            task = asyncio.create_task(self._copy(number, source, sink))
            self._tasks.add(task)

    async def _copy(self, number: int, source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
        with contextlib.closing(sink):
            while data := await source.read(65_536):
                if number not in self._frozen:
                    sink.write(data)


async def test_a_frozen_operator_is_left_for_one_that_answers(rig: Rig) -> None:
    good, new = await rig.model("fraud-a"), await rig.model("fraud-b")
    relay = Relay(rig.xds_port)
    rig.xds_port = await relay.start()
    await rig.router()
    await rig.serve(rig.route(good.backend(100), new.backend(0)))
    relay.freeze()
    rig.publish(rig.route(good.backend(50), new.backend(50)))
    assert not (await rig.acknowledged(0.2)).complete
    # Its pings come every 5 s and wait for 3 s.
    acknowledgement = await rig.acknowledged(15)
    assert acknowledgement.complete
    assert relay.connections == 2
    await relay.stop()
