"""A shadow from end to end: a real router copies, real servers answer, their answers are compared."""

import asyncio
import struct
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest
from tests.penstock_operator.adapters.xds.processes import Servers, plus
from tests.penstock_operator.adapters.xds.rig import LOOPBACK, Rig, until

from penstock_operator.adapters.serving_pods import HttpServingPods
from penstock_operator.core.comparison import Comparison, Tolerance
from penstock_operator.core.objects import Kind, ObjectRef
from penstock_operator.core.routes import Mirror
from penstock_operator.reconcile.comparing import Comparing
from penstock_server.grpc_service.messages import CALLS, SERVICE

pytestmark = pytest.mark.envoy

SPLIT = ObjectRef(kind=Kind.TRAFFIC_SPLIT, namespace="shop", name="fraud")
STABLE, SHADOW = "fraud-a", "fraud-b"


@pytest.fixture
def servers(tmp_path: Path) -> Iterator[Servers]:
    servers = Servers(tmp_path, grpc=True)
    yield servers
    servers.stop()


async def infer(rig: Rig, value: float) -> Any:
    message = {"inputs": [{"name": "x", "shape": [1, 1], "datatype": "FP32", "data": [value]}]}
    async with rig.client.post(rig.url(), json=message) as response:
        return (await response.json())["outputs"][0]["data"][0] if response.status == 200 else None


async def call(rig: Rig, value: float) -> Any:
    """Ask the same as ``infer`` by gRPC."""
    asked, answered = CALLS["ModelInfer"]
    message = asked(model_name="fraud", raw_input_contents=[struct.pack("<f", value)])
    message.inputs.add(name="x", datatype="FP32", shape=[1, 1])
    async with grpc.aio.insecure_channel(f"{LOOPBACK}:{rig.port}") as channel:
        ask = channel.unary_unary(f"/{SERVICE}/ModelInfer", lambda sent: sent.SerializeToString(), answered.FromString)
        return struct.unpack("<f", (await ask(message, timeout=10)).raw_output_contents[0])[0]


@pytest.mark.parametrize("ask", [infer, call], ids=["REST", "gRPC"])
async def test_what_a_shadow_answers_otherwise_is_found_on_the_very_requests(
    rig: Rig, servers: Servers, ask: Callable[[Rig, float], Awaitable[Any]]
) -> None:
    backends = (
        servers.start(STABLE, "127.0.0.2", plus(1), weight=100),
        servers.start(SHADOW, "127.0.0.3", plus(3), weight=0),
    )
    await rig.router()
    mirrors = (Mirror(revision=SHADOW, percent=100, compare=True),)
    rig.publish(rig.route(*backends, mirrors=mirrors))
    assert (await rig.acknowledged()).complete
    await rig.healthy(STABLE, SHADOW, seconds=60)
    comparing = Comparing(
        cluster=servers.cluster,
        pods=HttpServingPods(rig.client, port=servers.management_port),
        monotonic=asyncio.get_running_loop().time,
        interval_seconds=0.05,
    )
    total = Comparison()

    async def compared(count: int) -> bool:
        nonlocal total
        found = comparing.take(SPLIT, stable=STABLE, shadows=[SHADOW], tolerance=Tolerance.parse("1%"))
        total += found.get(SHADOW, Comparison())
        return total.n >= count

    await compared(0)
    await asyncio.sleep(0.5)  # the first look counts nothing
    assert [await ask(rig, value) for value in range(40)] == [value + 1 for value in range(40)]
    await until(lambda: compared(40))
    comparing.forget(SPLIT)
    assert (total.n, total.disagreements, total.incomparable) == (40, 40, 0)
    assert total.score.mean == pytest.approx(2.0)
    assert abs(total.latency.mean) < 1.0
