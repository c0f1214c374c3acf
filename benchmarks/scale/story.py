"""One operator with so many splits: from the first pod over a while at rest to the last rollback."""

import asyncio
import math
import statistics
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from benchmarks.scale.figures import Reading, quantile, read
from benchmarks.scale.machine import Parties
from benchmarks.scale.routers import ScriptedRouter
from benchmarks.scale.world import change_models, names
from tests.controlplane.operator_process import OperatorProcess
from tests.fakes.people import People

from penstock_operator.core.objects import Kind

REQUESTS_PER_SECOND = 50.0
_USUAL_ERRORS, _BAD_ERRORS = 0.005, 0.5
_SETUP_SECONDS = 600.0
_CALM_SECONDS = 90.0
_LOOK_SECONDS = 5.0
_KIND = Kind.TRAFFIC_SPLIT.resource.kind
_WRITES = tuple(f'penstock_api_requests_total{{code="{code}"' for code in (200, 201))
_READ_VERBS = ('verb="get"', 'verb="list"')

Figures = dict[str, Any]


@dataclass(slots=True, kw_only=True)
class Story:
    """One operator with so many splits. ``parties``: whose processes use the machine, the operator's aside."""

    people: People
    namespace: str
    size: int
    operator: OperatorProcess
    parties: Parties
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
        await until(self._all(lambda status: status.get("weights")), "every stable revision serves")
        for split in await self.people.list(Kind.TRAFFIC_SPLIT, self.namespace):
            self.stable.add(split["status"]["stableRevision"])
        serving = time.monotonic()
        self._say("every stable revision serves")
        await self._calm()
        at_rest = await self._over(seconds)
        changed = time.monotonic()
        await change_models(self.people, self.namespace, names(self.size), "2")
        await until(self._all(_moving), "every candidate has traffic")
        moving = time.monotonic()
        self._say("every candidate has traffic")
        progressing = await self._over(seconds)
        assert await self._all(_on_trial)(), "a rollout ended while it was measured"
        bad_since = time.monotonic()
        self.candidates_fail = True
        await until(self._all(lambda status: status.get("phase") == "RolledBack"), "every candidate is taken back")
        return {
            "seconds_until_all_serve": round(serving - began, 1),
            "seconds_until_all_move": round(moving - changed, 1),
            **progressing,
            **_rollback_figures(routers, self.stable, bad_since),
            "at_rest": {name: at_rest[name] for name in _OF_REST},
        }

    def _say(self, what: str) -> None:
        print(f"{self.size} splits: {what}", flush=True)

    def _error_share(self, revision: str) -> float:
        return _BAD_ERRORS if self.candidates_fail and revision not in self.stable else _USUAL_ERRORS

    def _all(self, holds: Callable[[dict[str, Any]], object]) -> Callable[[], Awaitable[bool]]:
        async def asked() -> bool:
            found = await self.people.list(Kind.TRAFFIC_SPLIT, self.namespace)
            return sum(bool(holds(split.get("status", {}))) for split in found) == self.size

        return asked

    async def _calm(self) -> None:
        """Wait until the first endpoints, events and verdicts are written."""
        end = time.monotonic() + _CALM_SECONDS
        before = await self._read()
        while time.monotonic() < end:
            await asyncio.sleep(_LOOK_SECONDS)
            after = await self._read()
            if _writes(after) - _writes(before) <= self.size / 100:
                return
            before = after

    async def _over(self, seconds: float) -> Figures:
        before, began = await self._read(), time.monotonic()
        await asyncio.sleep(seconds)
        after, elapsed = await self._read(), time.monotonic() - began
        return _figures(before, after, elapsed, self.parties)

    async def _read(self) -> Reading:
        return await asyncio.to_thread(read, self.operator.ops_port, self.operator.pid)


def _on_trial(status: dict[str, Any]) -> bool:
    return status.get("phase") == "Progressing"


def _moving(status: dict[str, Any]) -> bool:
    return _on_trial(status) and "stepStartedAt" in status["candidates"][0]


#: Of a split at rest nothing is due at a tick.
_OF_REST = ("reconciles_per_second", "writes_per_minute", "cores", "memory_megabytes", "all_cores")


def _figures(before: Reading, after: Reading, elapsed: float, parties: Parties) -> Figures:
    def milliseconds(name: str, share: float) -> float:
        return round(1000 * quantile(before.histogram(name, _KIND), after.histogram(name, _KIND), share), 1)

    def rate(prefix: str) -> float:
        return (after.total(prefix) - before.total(prefix)) / elapsed

    late, long = "penstock_reconcile_lateness_seconds", "penstock_reconcile_duration_seconds"
    cores = parties.cores(before.machine, after.machine, elapsed)
    return {
        "tick_late_p50_ms": milliseconds(late, 0.5),
        "tick_late_p99_ms": milliseconds(late, 0.99),
        "reconcile_p50_ms": milliseconds(long, 0.5),
        "reconcile_p99_ms": milliseconds(long, 0.99),
        "reconciles_per_second": round(rate("penstock_reconcile_total"), 1),
        "writes_per_minute": round(60 * (_writes(after) - _writes(before)) / elapsed),
        "reconcile_errors": after.total("penstock_reconcile_errors_total")
        - before.total("penstock_reconcile_errors_total"),
        "cores": cores["operator"],
        "waited_for_a_processor": round((after.waited_seconds - before.waited_seconds) / elapsed, 3),
        "memory_megabytes": round(after.memory_megabytes, 1),
        "all_cores": cores,
    }


def _writes(reading: Reading) -> float:
    """Return how many writes were taken in since the operator began."""
    told = {key: value for key, value in reading.values.items() if key.startswith(_WRITES)}
    return sum(value for key, value in told.items() if not any(verb in key for verb in _READ_VERBS))


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


async def until(holds: Callable[[], Awaitable[bool]], what: str) -> None:
    """Wait until something holds; what it costs to ask is in no figure."""
    deadline = time.monotonic() + _SETUP_SECONDS
    while not await holds():
        if time.monotonic() > deadline:
            raise TimeoutError(f"not within {_SETUP_SECONDS:g} s: {what}")
        await asyncio.sleep(_LOOK_SECONDS / 2)
