"""How late an operator's ticks are while many rollouts progress at once, and what it costs.

A real API server, the operator as it is, and two scripted routers that acknowledge whatever they are told and count
requests by weight; kubelets are scripted too. All splits live in one namespace. At the end every candidate turns bad
at once, and the time until the routers have all traffic back is measured.

Run: python -m benchmarks.scale [--sizes 50 100 200] [--seconds 60]
"""

import argparse
import asyncio
import json
import math
import os
import statistics
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks.scale.figures import Reading, quantile, read
from benchmarks.scale.routers import ScriptedRouter
from benchmarks.scale.world import (
    Kubelets,
    change_models,
    create,
    drift_policy,
    model_deployment,
    names,
    traffic_split,
)
from cluster.embedded.control_plane import ControlPlane
from tests.controlplane.operator_process import OperatorProcess
from tests.fakes.people import People, install_crds

from penstock_operator.adapters.api_client import load_access
from penstock_operator.core.objects import Kind

RESULT = Path(__file__).parents[1] / "results" / "scale.json"
ROUTERS = ("127.0.0.2", "127.0.0.3")
TICK_SECONDS = 2.0
REQUESTS_PER_SECOND = 50.0
LATENESS_GOAL_SECONDS = 1.0
CORES_GOAL = 1.0
_USUAL_ERRORS, _BAD_ERRORS = 0.005, 0.5
_SETUP_SECONDS = 600.0
_KIND = Kind.TRAFFIC_SPLIT.resource.kind

Figures = dict[str, Any]


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--sizes", type=int, nargs="+", default=[50, 100, 200], help="numbers of splits")
    arguments.add_argument("--seconds", type=float, default=60, help="how long to measure at each size")
    arguments.add_argument("--every", default="30s", help="how long each step of a rollout is held")
    arguments.add_argument("--result", type=Path, default=RESULT)
    chosen = arguments.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        figures = asyncio.run(_measure_all(Path(folder), chosen.sizes, chosen.seconds, chosen.every))
    chosen.result.parent.mkdir(exist_ok=True)
    chosen.result.write_text(json.dumps(figures, indent=2) + "\n")
    _tell(figures["sizes"])


async def _measure_all(folder: Path, sizes: Sequence[int], seconds: float, every: str) -> Figures:
    measured = []
    with ControlPlane(folder / "control-plane", die_with_parent=True) as control_plane:
        install_crds(control_plane.kubeconfig)
        for size in sizes:
            measured.append(await _measure(control_plane.kubeconfig, folder, size, seconds, every))
            print(f"{size} splits: {json.dumps(measured[-1])}", flush=True)
    return {
        "tick_seconds": TICK_SECONDS,
        "measured_seconds": seconds,
        "step_every": every,
        "requests_per_second_of_a_split": REQUESTS_PER_SECOND * len(ROUTERS),
        "cores_of_the_machine": os.cpu_count(),
        "sizes": measured,
    }


async def _measure(kubeconfig: Path, folder: Path, size: int, seconds: float, every: str) -> Figures:
    namespace = f"scale-{size}"
    async with People(await load_access(str(kubeconfig))) as people, _background() as run:
        await people.create_namespace(namespace)
        for make in (drift_policy, model_deployment, partial(traffic_split, every=every)):
            await create(people, [make(namespace, name) for name in names(size)])
        kubelets = Kubelets(people, namespace, ROUTERS)
        run(kubelets.run())
        operator = OperatorProcess(
            f"operator-{size}",
            kubeconfig=kubeconfig,
            namespace=namespace,
            log=folder / f"operator-{size}.log",
            environment={"TICK_SECONDS": str(TICK_SECONDS), "LOG_LEVEL": "WARNING"},
        )
        try:
            await asyncio.to_thread(operator.wait_until_leading, 60)
            await _until(kubelets.have_routers, "there are routers")
            return await Story(people=people, namespace=namespace, size=size, operator=operator).tell(
                kubelets.routers, seconds
            )
        except Exception:
            print(operator.log.read_text()[-3000:])
            raise
        finally:
            operator.kill()


@dataclass(slots=True, kw_only=True)
class Story:
    """One operator with so many splits, from the first pod to the last rollback."""

    people: People
    namespace: str
    size: int
    operator: OperatorProcess
    stable: set[str] = field(default_factory=set)
    candidates_fail: bool = False

    async def tell(self, router_pods: Mapping[str, str], seconds: float) -> Figures:
        routers = [
            ScriptedRouter(
                pod=pod,
                address=address,
                namespace=self.namespace,
                requests_per_second=REQUESTS_PER_SECOND,
                error_share=self._error_share,
            )
            for pod, address in router_pods.items()
        ]
        for router in routers:
            await router.start(self.operator.xds_port)
        try:
            return {"splits": self.size, **await self._measured(routers, seconds)}
        finally:
            for router in routers:
                await router.stop()

    async def _measured(self, routers: Sequence[ScriptedRouter], seconds: float) -> Figures:
        began = time.monotonic()
        await _until(self._all(lambda status: status.get("weights")), "every stable revision serves")
        for split in await self.people.list(Kind.TRAFFIC_SPLIT, self.namespace):
            self.stable.add(split["status"]["stableRevision"])
        serving = time.monotonic()
        await change_models(self.people, self.namespace, names(self.size), "2")
        await _until(self._all(_moving), "every candidate has traffic")
        moving = time.monotonic()
        before = await self._read()
        await asyncio.sleep(seconds)
        after = await self._read()
        elapsed = time.monotonic() - moving
        assert await self._all(_on_trial)(), "a rollout ended while it was measured"
        bad_since = time.monotonic()
        self.candidates_fail = True
        await _until(self._all(lambda status: status.get("phase") == "RolledBack"), "every candidate is taken back")
        return {
            "seconds_until_all_serve": round(serving - began, 1),
            "seconds_until_all_move": round(moving - serving, 1),
            **_operator_figures(before, after, elapsed),
            **_rollback_figures(routers, self.stable, bad_since),
        }

    def _error_share(self, revision: str) -> float:
        return _BAD_ERRORS if self.candidates_fail and revision not in self.stable else _USUAL_ERRORS

    def _all(self, holds: Callable[[dict[str, Any]], object]) -> Callable[[], Awaitable[bool]]:
        async def asked() -> bool:
            found = await self.people.list(Kind.TRAFFIC_SPLIT, self.namespace)
            return sum(bool(holds(split.get("status", {}))) for split in found) == self.size

        return asked

    async def _read(self) -> Reading:
        return await asyncio.to_thread(read, self.operator.ops_port, self.operator.pid)


def _on_trial(status: dict[str, Any]) -> bool:
    return status.get("phase") == "Progressing"


def _moving(status: dict[str, Any]) -> bool:
    return _on_trial(status) and "stepStartedAt" in status["candidates"][0]


def _operator_figures(before: Reading, after: Reading, elapsed: float) -> Figures:
    def milliseconds(name: str, share: float) -> float:
        return round(1000 * quantile(before.histogram(name, _KIND), after.histogram(name, _KIND), share), 1)

    def rate(prefix: str) -> float:
        return round((after.total(prefix) - before.total(prefix)) / elapsed, 1)

    late, long = "penstock_reconcile_lateness_seconds", "penstock_reconcile_duration_seconds"
    return {
        "tick_late_p50_ms": milliseconds(late, 0.5),
        "tick_late_p99_ms": milliseconds(late, 0.99),
        "reconcile_p50_ms": milliseconds(long, 0.5),
        "reconcile_p99_ms": milliseconds(long, 0.99),
        "reconciles_per_second": rate("penstock_reconcile_total"),
        "writes_per_second": rate('penstock_api_requests_total{code="200"'),
        "reconcile_errors": after.total("penstock_reconcile_errors_total"),
        "cores": round((after.cpu_seconds - before.cpu_seconds) / elapsed, 3),
    }


def _rollback_figures(routers: Sequence[ScriptedRouter], stable: set[str], since: float) -> Figures:
    """Return how long after it turned bad each candidate had lost its traffic in both routers."""
    taken_back = []
    for split in routers[0].weights:
        moments = [
            at
            for router in routers
            for (of, cluster), at in router.told_at.items()
            if of == split and cluster.split("/")[2] in stable
        ]
        taken_back.append(max(moments) - since)
    taken_back.sort()
    return {
        "taken_back_p50_seconds": round(statistics.median(taken_back), 2),
        "taken_back_p99_seconds": round(taken_back[math.ceil(0.99 * len(taken_back)) - 1], 2),
    }


def _tell(sizes: Sequence[Figures]) -> None:
    print(f"{'splits':>8}{'late p50':>12}{'late p99':>12}{'look p99':>12}{'looks/s':>10}{'cores':>8}{'back p99':>11}")
    for row in sizes:
        print(
            f"{row['splits']:8}{row['tick_late_p50_ms']:9.1f} ms{row['tick_late_p99_ms']:9.1f} ms"
            f"{row['reconcile_p99_ms']:9.1f} ms{row['reconciles_per_second']:10.1f}{row['cores']:8.2f}"
            f"{row['taken_back_p99_seconds']:9.1f} s"
        )
    last = sizes[-1]
    late = "within" if last["tick_late_p99_ms"] <= 1000 * LATENESS_GOAL_SECONDS else "BEYOND"
    cores = "within" if last["cores"] < CORES_GOAL else "BEYOND"
    print(f"ticks of {last['splits']} splits: {late} the goal of {LATENESS_GOAL_SECONDS:g} s at p99; "
          f"processor: {cores} the goal of {CORES_GOAL:g} core")  # fmt: skip


async def _until(holds: Callable[[], Awaitable[bool]], what: str) -> None:
    deadline = time.monotonic() + _SETUP_SECONDS
    while not await holds():
        if time.monotonic() > deadline:
            raise TimeoutError(f"not within {_SETUP_SECONDS:g} s: {what}")
        await asyncio.sleep(1)


@asynccontextmanager
async def _background() -> AsyncIterator[Callable[[Any], None]]:
    """Run coroutines beside the block, and end them with it."""
    tasks: list[asyncio.Task[Any]] = []
    try:
        yield lambda coroutine: tasks.append(asyncio.create_task(coroutine))
    finally:
        for task in tasks:
            task.cancel()
        for task in tasks:
            with suppress(asyncio.CancelledError):
                await task


if __name__ == "__main__":
    main()
