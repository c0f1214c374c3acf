"""`make bench-serving`: Penstock's server side by side with others.

One core for the server, another one for the load client; servers take turns, figures are medians over the rounds. Every
server has an environment of its own, made the first time and kept. Writes benchmarks/results/serving.json and .svg.
"""

import argparse
import datetime as dt
import json
import os
import platform
import signal
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from benchmarks.serving import plot, report
from benchmarks.serving.comparison import Pace, all_running, compare
from benchmarks.serving.contenders import Contender, contenders, penstock_python
from benchmarks.serving.environments import CACHE, ROOT, versions
from benchmarks.serving.goals import SUBJECT_SERVER, goals
from benchmarks.serving.models import subjects
from benchmarks.serving.processes import ServerFailed, pinned
from benchmarks.serving.results import Results
from benchmarks.serving.rounds import Patience
from benchmarks.serving.workloads import WORKLOADS, Workload

_REPEATS_IN_ALL = 40


def main() -> None:
    chosen = _parser().parse_args()
    cores = sorted(os.sched_getaffinity(0))
    if len(cores) < 2:
        raise SystemExit("bench-serving needs two cores: one for the server, one for the client")
    pace = Pace(
        seconds=0.5 if chosen.quick else chosen.seconds,
        warm_up_seconds=0.2 if chosen.quick else 0.4,
        rounds=1 if chosen.quick else chosen.rounds,
        starts=1 if chosen.quick else chosen.starts,
        server_core=cores[-1],
        client_core=cores[0],
    )
    workloads = _chosen_workloads(chosen.models, chosen.connections)
    servers = _chosen_servers(chosen.only)
    patience = Patience(0 if chosen.quick else _REPEATS_IN_ALL)
    results = Results()
    began = time.monotonic()
    # Ended politely, it takes its servers with it.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    # This process only waits while the clock runs; where it wakes up, it is the client's core that pays.
    with pinned(pace.client_core):
        _run(servers, workloads, pace=pace, patience=patience, results=results, routed=not chosen.no_router)
    about = _about(pace, seconds=time.monotonic() - began)
    wanted = goals()
    print(report.text(results, wanted))
    print(f"\n{about['seconds']:.0f} s in all; versions: {about['versions']}")
    chosen.out.mkdir(parents=True, exist_ok=True)
    judged = [
        {"goal": one.says, "limit": one.limit, "found": one.figure(results), "met": one.met(results)} for one in wanted
    ]
    (chosen.out / "serving.json").write_text(json.dumps(results.to_json(about, judged), indent=1) + "\n")
    (chosen.out / "serving.svg").write_text(plot.svg(results))
    print(f"written: {chosen.out / 'serving.json'}, {chosen.out / 'serving.svg'}")


def _run(
    servers: Sequence[Contender],
    workloads: Sequence[Workload],
    *,
    pace: Pace,
    patience: Patience,
    results: Results,
    routed: bool,
) -> None:
    models = subjects(CACHE)
    for name in dict.fromkeys(workload.model for workload in workloads):
        subject = models[name]
        print(f"starting the servers with model {name} ({subject.path.stat().st_size / 1000:.1f} kB)", flush=True)
        with all_running(servers, subject, pace, results) as running:
            for workload in (each for each in workloads if each.model == name):
                for connections in workload.connections:
                    compare(workload, connections, running, subject, pace=pace, patience=patience, results=results)
            ours = next((each for each in running if each.contender.name == SUBJECT_SERVER), None)
            if routed and name == "gbm" and ours is not None:
                # Imported here: it needs the operator's packages, which the comparison alone does not.
                from benchmarks.serving.routed import compare_routed  # noqa: PLC0415

                with tempfile.TemporaryDirectory(prefix="penstock-bench-") as folder:
                    compare_routed(ours, subject, folder=Path(folder), pace=pace, patience=patience, results=results)


def _about(pace: Pace, *, seconds: float) -> dict[str, Any]:
    found = versions(penstock_python(), "aiohttp", "onnxruntime", "orjson", "uvloop", "numpy", "grpcio")
    return {
        "command": "make bench-serving",
        "at": dt.datetime.now(dt.UTC).isoformat(timespec="seconds"),
        "seconds": round(seconds),
        "machine": {"cpu": _cpu_model(), "cores": os.cpu_count(), "kernel": platform.release()},
        "python": platform.python_version(),
        "versions": found,
        "round_seconds": pace.seconds,
        "rounds": pace.rounds,
    }


def _cpu_model() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()


def _chosen_workloads(names: Sequence[str], connections: Sequence[int]) -> list[Workload]:
    found = [workload for workload in WORKLOADS if not names or workload.name in names]
    return [replace(workload, connections=tuple(connections) or workload.connections) for workload in found]


def _chosen_servers(names: Sequence[str]) -> list[Contender]:
    return [contender for contender in contenders() if not names or contender.name in names]


def _parser() -> argparse.ArgumentParser:
    known = [contender.name for contender in contenders()]
    parser = argparse.ArgumentParser(prog="bench-serving", description=__doc__.split("\n\n")[1] if __doc__ else None)
    parser.add_argument("--only", type=_names(known), default=(), help=f"some servers only: {', '.join(known)}")
    workloads = [workload.name for workload in WORKLOADS]
    parser.add_argument(
        "--models", type=_names(workloads), default=(), help=f"some workloads only: {', '.join(workloads)}"
    )
    parser.add_argument("--connections", type=_numbers, default=(), help="instead of each workload's own: 1,16,64")
    parser.add_argument("--seconds", type=float, default=1.5, help="length of a round (default: %(default)s)")
    parser.add_argument("--rounds", type=int, default=3, help="rounds of each server (default: %(default)s)")
    parser.add_argument("--starts", type=int, default=3, help="starts of each server (default: %(default)s)")
    parser.add_argument("--quick", action="store_true", help="one short round each: does everything still work?")
    parser.add_argument("--no-router", action="store_true", help="leave out the way through the Envoy router")
    parser.add_argument(
        "--out", type=Path, default=ROOT / "benchmarks" / "results", help="folder of the results (default: %(default)s)"
    )
    return parser


def _names(known: Sequence[str]) -> Any:
    def parse(text: str) -> tuple[str, ...]:
        names = tuple(text.split(","))
        for name in names:
            if name not in known:
                raise argparse.ArgumentTypeError(f"{name!r} is none of {', '.join(known)}")
        return names

    return parse


def _numbers(text: str) -> tuple[int, ...]:
    return tuple(int(each) for each in text.split(","))


if __name__ == "__main__":
    try:
        main()
    except ServerFailed as error:
        raise SystemExit(f"bench-serving: {error}") from error
