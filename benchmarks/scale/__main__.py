"""How late an operator's ticks are while many rollouts progress at once, and what it costs.

A real API server, the operator as it is, and two scripted routers that acknowledge whatever they are told and count
requests by weight; kubelets are scripted too. All splits live in one namespace. First nothing is under way, then all
candidates move at once, and at the end every candidate turns bad at once: the time until the routers have all traffic
back is measured. What other sizes had is kept in the result.

Run: python -m benchmarks.scale [--sizes 50 100 200] [--seconds 60]
"""

import argparse
import asyncio
import json
import os
import tempfile
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks.scale.machine import Parties
from benchmarks.scale.story import REQUESTS_PER_SECOND, Figures, Story, until
from benchmarks.scale.world import (
    Kubelets,
    create,
    drift_policy,
    model_deployment,
    names,
    traffic_split,
)
from cluster.embedded import processes
from cluster.embedded.control_plane import ControlPlane
from tests.controlplane.operator_process import OperatorProcess
from tests.fakes.people import People, install_crds

from penstock_operator.adapters.api_client import load_access

RESULT = Path(__file__).parents[1] / "results" / "scale.json"
ROUTERS = ("127.0.0.2", "127.0.0.3")
TICK_SECONDS = 2.0
LATENESS_GOAL_SECONDS = 1.0
CORES_GOAL = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """How it is measured."""

    seconds: float
    every: str
    folder: Path

    @property
    def told(self) -> Figures:
        """What belongs to every figure."""
        return {
            "tick_seconds": TICK_SECONDS,
            "measured_seconds": self.seconds,
            "step_every": self.every,
            "requests_per_second_of_a_split": REQUESTS_PER_SECOND * len(ROUTERS),
            "cores_of_the_machine": os.cpu_count(),
        }


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--sizes", type=int, nargs="+", default=[50, 100, 200], help="numbers of splits")
    arguments.add_argument("--seconds", type=float, default=60, help="how long to measure at each size")
    arguments.add_argument("--every", default="30s", help="how long each step of a rollout is held")
    arguments.add_argument("--result", type=Path, default=RESULT)
    chosen = arguments.parse_args()
    chosen.result.parent.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        run = Run(seconds=chosen.seconds, every=chosen.every, folder=Path(folder))
        asyncio.run(_measure_all(run, chosen.sizes, chosen.result))
    _tell(json.loads(chosen.result.read_text())["sizes"])


async def _measure_all(run: Run, sizes: Sequence[int], result: Path) -> None:
    with ControlPlane(run.folder / "control-plane", die_with_parent=True) as control_plane:
        install_crds(control_plane.kubeconfig)
        for size in sizes:
            row = await _measure(control_plane, run, size)
            print(f"{size} splits: {json.dumps(row)}", flush=True)
            _keep(result, run, row)


def _keep(result: Path, run: Run, row: Figures) -> None:
    """Write a row among those of other sizes that were measured in the same way."""
    known: dict[str, Any] = json.loads(result.read_text()) if result.exists() else {}
    same = {key: value for key, value in known.items() if key != "sizes"} == run.told
    others = [one for one in known["sizes"] if one["splits"] != row["splits"]] if same else []
    rows = sorted([*others, row], key=lambda one: int(one["splits"]))
    result.write_text(json.dumps({**run.told, "sizes": rows}, indent=2) + "\n")


async def _measure(control_plane: ControlPlane, run: Run, size: int) -> Figures:
    namespace = f"scale-{size}"
    async with People(await load_access(str(control_plane.kubeconfig))) as people, _background() as beside:
        await people.create_namespace(namespace)
        for make in (drift_policy, model_deployment, partial(traffic_split, every=run.every)):
            await create(people, [make(namespace, name) for name in names(size)])
        kubelets = Kubelets(people, namespace, ROUTERS)
        beside(kubelets.run())
        operator = OperatorProcess(
            f"operator-{size}",
            kubeconfig=control_plane.kubeconfig,
            namespace=namespace,
            log=run.folder / f"operator-{size}.log",
            environment={"TICK_SECONDS": str(TICK_SECONDS), "LOG_LEVEL": "WARNING"},
        )
        try:
            await asyncio.to_thread(operator.wait_until_leading, 120)
            await until(kubelets.have_routers, "there are routers")
            story = Story(
                people=people,
                namespace=namespace,
                size=size,
                operator=operator,
                parties=Parties(pids=_pids(control_plane, operator)),
            )
            return await story.tell(kubelets.routers, run.seconds)
        except Exception:
            print(operator.log.read_text()[-3000:])
            raise
        finally:
            operator.kill()


def _pids(control_plane: ControlPlane, operator: OperatorProcess) -> Mapping[str, int]:
    found = {name: processes.find(control_plane.run_dir, name) for name in control_plane.components}
    known = {name: record.pid for name, record in found.items() if record is not None}
    return {"operator": operator.pid, "benchmark": os.getpid(), **known}


def _tell(sizes: Sequence[Figures]) -> None:
    print(
        f"{'splits':>8}{'late p50':>12}{'late p99':>12}{'look p99':>12}{'looks/s':>10}{'cores':>8}{'waited':>8}"
        f"{'memory':>11}{'back p99':>11}{'at rest: cores':>16}{'writes/min':>12}"
    )
    for row in sizes:
        print(
            f"{row['splits']:8}{row['tick_late_p50_ms']:9.1f} ms{row['tick_late_p99_ms']:9.1f} ms"
            f"{row['reconcile_p99_ms']:9.1f} ms{row['reconciles_per_second']:10.1f}{row['cores']:8.2f}"
            f"{row['waited_for_a_processor']:8.0%}{row['memory_megabytes']:8.0f} MB"
            f"{row['taken_back_p99_seconds']:9.1f} s{row['at_rest']['cores']:16.3f}"
            f"{row['at_rest']['writes_per_minute']:12}"
        )
    last = sizes[-1]
    late = "within" if last["tick_late_p99_ms"] <= 1000 * LATENESS_GOAL_SECONDS else "BEYOND"
    cores = "within" if last["cores"] < CORES_GOAL else "BEYOND"
    print(f"ticks of {last['splits']} splits: {late} the goal of {LATENESS_GOAL_SECONDS:g} s at p99; "
          f"processor: {cores} the goal of {CORES_GOAL:g} core")  # fmt: skip


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
