"""What the Envoy router costs: the same server directly and through a router, in turns."""

import asyncio
import threading
from collections.abc import Coroutine
from pathlib import Path
from typing import Any, TypeVar

from benchmarks.router_overhead import route, start_router, wait_for
from benchmarks.serving import wire
from benchmarks.serving.comparison import Pace, Running
from benchmarks.serving.figures import Cell
from benchmarks.serving.goals import DIRECT_LINE, ROUTED_LINE
from benchmarks.serving.models import Subject
from benchmarks.serving.processes import HOST, free_port, pinned
from benchmarks.serving.results import Results
from benchmarks.serving.rounds import Load, Patience, Round, RoundFailed, measured, play
from benchmarks.serving.workloads import ROUTED

from penstock_operator.adapters.xds.server import XdsServer
from penstock_operator.core.routes import RouterPod

_CONNECTIONS = (1, 16)
_CONFIGURED_SECONDS_MAX = 20

_Value = TypeVar("_Value")


class Router:
    """Envoy as the operator configures it, on the client's core: the server keeps its core for itself."""

    def __init__(self, *, model_port: int, core: int, log: Path) -> None:
        self.port = free_port()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        self._xds = XdsServer()
        xds_port = self._wait(self._xds.start(HOST, 0))
        with pinned(core), log.open("wb") as output:
            self._envoy = start_router(xds_port, free_port(), free_port(), output=output)
        self._wait(self._configure(model_port))
        wait_for(self.port)

    @property
    def pid(self) -> int:
        """Envoy's process."""
        return self._envoy.pid

    def end(self) -> None:
        """Stop Envoy and what configures it."""
        self._envoy.kill()
        self._envoy.wait()
        self._wait(self._xds.stop())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    async def _configure(self, model_port: int) -> None:
        self._xds.publish("bench", [route(self.port, model_port)], [RouterPod(name="router", ip=HOST)])
        acknowledgement = await self._xds.acknowledged("bench", _CONFIGURED_SECONDS_MAX)
        if not acknowledgement.complete:
            raise RoundFailed(f"Envoy did not take its configuration: {acknowledgement}")

    def _wait(self, awaited: Coroutine[Any, Any, _Value]) -> _Value:
        return asyncio.run_coroutine_threadsafe(awaited, self._loop).result(_CONFIGURED_SECONDS_MAX * 2)


def compare_routed(
    running: Running, subject: Subject, *, folder: Path, pace: Pace, patience: Patience, results: Results
) -> None:
    """Measure one row as JSON directly and through the router, in turns, and add both to the results."""
    print("directly, and through the Envoy router", flush=True)
    running.process.resume()
    router = Router(model_port=running.start.port, core=pace.client_core, log=folder / "envoy.log")
    try:
        for connections in _CONNECTIONS:
            _in_turns(running, router, subject, connections, pace=pace, patience=patience, results=results)
    except RoundFailed as error:
        results.failures.append(f"{ROUTED_LINE}: {error}")
        print(f"  {ROUTED_LINE}: FAILED: {error}", flush=True)
    finally:
        router.end()
        running.process.pause()


def _in_turns(
    running: Running,
    router: Router,
    subject: Subject,
    connections: int,
    *,
    pace: Pace,
    patience: Patience,
    results: Results,
) -> None:
    load = Load(
        dialect=wire.V2_JSON,
        payload=wire.V2_JSON.ask(subject.input_name, subject.rows[:1]),
        expected=subject.expected(1),
        connections=connections,
        seconds=pace.seconds,
        warm_up_seconds=pace.warm_up_seconds,
        core=pace.client_core,
    )
    ways = {DIRECT_LINE: (running.start.port, [running.process.pid])}
    ways[ROUTED_LINE] = (router.port, [running.process.pid, router.pid])
    found: dict[str, list[Round]] = {line: [] for line in ways}
    for turn in range(pace.rounds):
        # Who begins changes.
        for line in sorted(ways, reverse=turn % 2 == 1):
            port, pids = ways[line]
            one = play(load, port=port, server_pids=pids, patience=patience)
            found[line].append(one)
            print(f"  {turn + 1}/{pace.rounds} {line:24} {one.figures.requests_per_second:10,.0f}/s", flush=True)
    for line, rounds in found.items():
        results.cells[Cell(line=line, workload=ROUTED, connections=connections)] = measured(rounds)
