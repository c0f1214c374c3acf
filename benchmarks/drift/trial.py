"""Runs the contenders of one tool on all scenarios; a program of its own, in the environment of the tool.

    python -m benchmarks.drift.trial TOOL TASK.json

prints one line of JSON for each thing that was measured, one at the end of each contender and length of windows, and
how far it has come to the other stream.
"""

import gc
import importlib
import json
import resource
import sys
import time
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from benchmarks.drift import datasets, streams
from benchmarks.drift.tool import SOMETHING, Contender, Tool, Window, length

#: A budget that is spent often enough for false alarms to be counted: one window in so many.
COUNTABLE = 50.0
ERT_ROWS = 500_000.0
#: How many windows are timed.
_TIMED = 6
#: Of so few windows nothing can be said.
_FEWEST = 20

Record = dict[str, Any]


def compare(contender: Contender, size: int, task: Record) -> Iterator[Record]:
    """Yield one record per run of a scenario, and one per reference of false alarms; until the time is over."""
    ends = time.monotonic() + contender.patience * task["seconds"]
    for seed in range(task["runs"]):
        if seed and time.monotonic() > ends:
            return
        _say(f"{contender.name}, windows of {size}: run {seed + 1} of {task['runs']}")
        tool = contender.make(size, ERT_ROWS / size)
        tool.fit(streams.reference(seed), ())
        # The change comes anywhere between the ends of longer blocks.
        tool.warm(streams.healthy(1000 + seed, size * (40 + seed * 7 % 20)))
        for scenario in streams.SCENARIOS:
            yield _delay(contender, size, tool, scenario, seed)
        yield from _false_alarms(contender, size, tool, seed, task)


def _delay(contender: Contender, size: int, tool: Tool, scenario: streams.Scenario, seed: int) -> Record:
    wanted = {streams.NAME} if contender.names else {SOMETHING}
    found: int | None = None
    named: set[str] = set()
    passed = 0
    for window in tool.windows(streams.changed(scenario, seed)):
        passed += window.rows
        named |= window.named
        if wanted & window.named or (not scenario.alarm and window.named):
            found = passed
            break
        if not scenario.alarm and passed >= 10 * size:
            break
    return _record(contender, size, scenario.name) | {
        "kind": "delay" if scenario.alarm else "nothing",
        "seed": seed,
        "rows": found,
        "named": sorted(named),
    }


def _false_alarms(contender: Contender, size: int, tool: Tool, seed: int, task: Record) -> Iterator[Record]:
    count = task["windows"] * contender.thorough
    looks = [(ERT_ROWS / size, tool, count)]
    if contender.budgeted:
        often = contender.make(size, COUNTABLE)
        often.fit(streams.reference(seed), ())
        looks = [(COUNTABLE, often, count), (ERT_ROWS / size, tool, count // 4)]
    for every, one, at_most in looks:
        ends = time.monotonic() + contender.patience * task["seconds"] / task["references"]
        rows = windows = alarms = 0
        for window in one.windows(streams.healthy(seed, size * at_most)):
            rows += window.rows
            windows += 1
            alarms += bool(window.named)
            if windows >= _FEWEST and time.monotonic() > ends:
                break
        yield _record(contender, size, "no drift") | {
            "kind": "false alarms",
            "seed": seed,
            "every": every if contender.budgeted else None,
            "windows": windows,
            "rows": rows,
            "alarms": alarms,
        }


def data(contender: Contender, size: int, task: Record) -> Iterator[Record]:
    """Yield what is said of each real data set."""
    for case in datasets.load(Path(task["data"])):
        # A quarter of what there is before the change, at most: small sets have small windows.
        rows = min(size, max(50, length(case.before) // 4 // 50 * 50))
        _say(f"{contender.name}: {case.name}")
        tool = contender.make(rows, ERT_ROWS / rows)
        record = _record(contender, rows, case.name) | {"kind": "data"}
        try:
            tool.fit(case.reference, case.categorical)
            before = list(tool.windows(case.before))
            tool.warm(case.before)
            after = list(tool.windows(case.after))
        except Exception as error:  # noqa: BLE001 - a tool that cannot read a data set is a result
            yield record | {"error": f"{type(error).__name__}: {error}"[:200]}
            continue
        yield record | _told(before, after, case)


def _told(before: Sequence[Window], after: Sequence[Window], case: datasets.Case) -> Record:
    first: dict[str, int] = {}
    passed = 0
    for window in after:
        passed += window.rows
        for name in window.named:
            first.setdefault(name, passed)
    return {
        "windows": len(before),
        "alarms": sum(bool(window.named) for window in before),
        "found": {name: first.get(name) for name in sorted(case.drifted)},
        "wrong": sorted(name for name in first if case.judged and not set(name.split("~")) & case.drifted),
        "any": min(first.values(), default=None),
        "afterRows": passed,
    }


def cost(contender: Contender, size: int, task: Record) -> Iterator[Record]:
    """Yield what a window costs once everything is learned; and the memory of the process at its largest."""
    tool = contender.make(size, ERT_ROWS / size)
    started = time.process_time()
    tool.fit(streams.reference(0), ())
    fitted = time.process_time() - started
    tool.warm(streams.healthy(1000, size * 4))
    gc.collect()
    rows = streams.healthy(0, size * _TIMED)
    spent = []
    for _ in range(task["rounds"]):
        started = time.process_time()
        for _ in tool.windows(rows):
            pass
        spent.append((time.process_time() - started) / _TIMED)
    yield _record(contender, size, "cost") | {
        "kind": "cost",
        "millisecondsPerWindow": round(min(spent) * 1000, 3),
        "secondsToLearn": round(fitted, 2),
        "megabytes": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1000),
    }


def _record(contender: Contender, size: int, scenario: str) -> Record:
    return {"contender": contender.name, "size": size, "scenario": scenario}


def _say(message: str) -> None:
    print(message, file=sys.stderr, flush=True)


_PARTS = {"compare": compare, "data": data, "cost": cost}


def main() -> None:
    """Do the task."""
    warnings.simplefilter("ignore")
    tool, task = sys.argv[1], json.loads(Path(sys.argv[2]).read_text(encoding="utf-8"))
    # What tools print is not for the program that reads this.
    out, sys.stdout = sys.stdout, sys.stderr
    contenders: Sequence[Contender] = importlib.import_module(f"benchmarks.drift.peers.{tool}_side").CONTENDERS
    for contender in contenders:
        if task["part"] not in contender.parts:
            continue
        for size in contender.sizes if task["part"] != "data" else contender.sizes[-1:]:
            if [contender.name, size] in task["done"]:
                continue
            for record in _PARTS[task["part"]](contender, size, task):
                print(json.dumps(record), file=out, flush=True)
            print(json.dumps({"kind": "end", "contender": contender.name, "size": size}), file=out, flush=True)


if __name__ == "__main__":
    main()
