"""Compares the judge with other rules: ``make bench-judge``, a few minutes on one core. Same seeds, same table.

With --only or --rules a part is measured; what was measured before of the others stays in judge.json.
"""

import argparse
import json
import time
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path

from benchmarks.judge import goals, plot
from benchmarks.judge.late import HEALTHY_TICKS, Late, late
from benchmarks.judge.results import Cell, cell
from benchmarks.judge.scenarios import Scenario, scenarios
from benchmarks.judge.streams import BASE, TICKS

RESULTS = Path(__file__).parents[1] / "results"
_RUNS_MIN = 20


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=600, help="runs of each A/A scenario; others take a part of it")
    parser.add_argument("--only", default="", help="scenarios whose name contains this")
    parser.add_argument("--rules", default="", help="rules whose name contains this")
    parser.add_argument("--out", type=Path, default=RESULTS, help="folder of judge.json and judge.svg")
    arguments = parser.parse_args()
    started = time.monotonic()
    cells: list[Cell] = []
    for scenario in scenarios():
        if arguments.only in scenario.name:
            found = measured(scenario, max(_RUNS_MIN, round(arguments.runs * scenario.weight)), arguments.rules)
            print_table(scenario, found)
            cells += found
    before = kept(arguments.out / "judge.json") if arguments.only or arguments.rules else ([], [])
    after_long = before[1] if arguments.only else list(late(max(_RUNS_MIN, arguments.runs // 20)))
    print_late(after_long)
    cells = in_order(before[0], cells)
    arguments.out.mkdir(parents=True, exist_ok=True)
    document = {
        "ticks": TICKS,
        "baseErrorRate": BASE,
        "goals": [asdict(goal) for goal in goals.judged(cells)],
        "late": [asdict(one) for one in after_long],
        "cells": [asdict(one) for one in cells],
    }
    (arguments.out / "judge.json").write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
    (arguments.out / "judge.svg").write_text(plot.svg(cells), encoding="utf-8")
    print("\nGoals")
    for goal in goals.judged(cells):
        print(f"  {'met   ' if goal.met else 'NOT MET'} {goal.name}: {goal.value}")
    print(f"\n{time.monotonic() - started:.0f} s; {arguments.out}/judge.json and judge.svg")


def kept(path: Path) -> tuple[list[Cell], list[Late]]:
    """Return what was measured before."""
    if not path.exists():
        return [], []
    document = json.loads(path.read_text(encoding="utf-8"))
    return [Cell(**one) for one in document["cells"]], [Late(**one) for one in document["late"]]


def in_order(before: Iterable[Cell], now: Iterable[Cell]) -> list[Cell]:
    """Return all cells in the order of the scenarios and rules; what was measured now replaces what was before."""
    found = {(one.scenario, one.rule): one for one in (*before, *now)}
    places = [(scenario.name, rule) for scenario in scenarios() for rule in scenario.rules]
    return [found[place] for place in places if place in found]


def measured(scenario: Scenario, runs: int, rules: str) -> list[Cell]:
    rollouts = [scenario.stream(seed) for seed in range(runs)]
    return [
        cell(
            scenario.name,
            name,
            rollouts,
            [rule(moments) for moments in rollouts],
            healthy=scenario.healthy,
            passes=name.startswith("Penstock"),
        )
        for name, rule in scenario.rules.items()
        if rules in name
    ]


def print_table(scenario: Scenario, cells: Iterable[Cell]) -> None:
    kind = "taken back by mistake" if scenario.healthy else "found"
    print(
        f"\n{scenario.name}\n  {'':28} {kind + ' [95%]':26} {'after, p90':>12} {'served':>9} {'share':>7} {'passed':>8}"
    )
    for one in cells:
        share = f"{one.failed:6.1%} [{one.low:.1%}, {one.high:.1%}]"
        passed = "" if one.passed is None else f"{one.passed:.1%}"
        print(
            f"  {one.rule:28} {share:26} {told(one.median):>6}{told(one.p90):>6} {one.exposed:9.0f} "
            f"{one.exposed_share:7.2%} {passed:>8}",
            flush=True,
        )


def print_late(found: Iterable[Late]) -> None:
    for one in found:
        print(
            f"{HEALTHY_TICKS} healthy ticks, then errors x{one.times:g}, {one.requests} requests a tick: "
            f"{one.rule:34} after {told(one.median)} ({told(one.p90)}), {one.false_alarms} of {one.runs} before"
        )


def told(delay: float | None) -> str:
    return "-" if delay is None else f"{delay:.0f}"


if __name__ == "__main__":
    main()
