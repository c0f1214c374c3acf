from xml.etree import ElementTree as ET

import pytest
from benchmarks.serving import plot, report
from benchmarks.serving.figures import Cell, Figures
from benchmarks.serving.goals import DIRECT_LINE, ROUTED_LINE, goals
from benchmarks.serving.results import Measured, Results
from benchmarks.serving.workloads import ROUTED


def results(**rates: float) -> Results:
    found = Results()
    for line, rate in rates.items():
        add(found, line.replace("_", " "), rate)
    return found


def add(
    found: Results,
    line: str,
    rate: float,
    *,
    connections: int = 16,
    p50: float = 1.0,
    p99: float = 2.0,
    workload: str = "gbm-1",
) -> None:
    figures = Figures(requests_per_second=rate, p50_ms=p50, p99_ms=p99, cpu_seconds_per_1000=0.1, client_share=0.5)
    found.cells[Cell(line=line, workload=workload, connections=connections)] = Measured(rounds=[figures])


def verdict(found: Results, says: str) -> bool | None:
    (goal,) = (each for each in goals() if each.says == says)
    return goal.met(found)


def test_a_goal_that_was_not_measured_is_neither_met_nor_missed() -> None:
    assert {goal.met(Results()) for goal in goals()} == {None}


@pytest.mark.parametrize(("rate", "met"), [(16_000, {True}), (15_900, {False})], ids=["just met", "just missed"])
def test_a_rate_is_held_against_the_bare_loops_in_the_same_run(rate: float, met: set[bool]) -> None:
    found = results(penstock_json=rate, bare=10_000)
    assert {verdict(found, "1 row, 16 connections, of the bare loop")} == met


def test_a_latency_goal_is_met_from_below() -> None:
    found = Results()
    add(found, "penstock json", 1, p99=1.4)
    add(found, "bare", 1, p99=2.0)
    assert verdict(found, "p99 at 16 connections, of the bare loop's") is True


def test_the_router_is_held_against_the_direct_calls_that_took_turns_with_it() -> None:
    found = results(penstock_json=99_000)
    for connections in (1, 16):
        add(found, DIRECT_LINE, 10_000, connections=connections, p50=0.1, workload=ROUTED)
        add(found, ROUTED_LINE, 4_400, connections=connections, p50=0.35, workload=ROUTED)
    assert verdict(found, "through the router at 16 connections, of direct") is False
    assert verdict(found, "added by the router at p50, 1 connection") is True


def test_start_is_the_median_of_the_starts() -> None:
    found = Results(start_seconds={"penstock": [3.0, 0.4, 0.5]})
    assert verdict(found, "process start to ready") is True


def test_the_tables_tell_rates_ratios_disturbance_and_what_failed() -> None:
    found = results(penstock_json=30_000, bare=10_000)
    bare = Cell(line="bare", workload="gbm-1", connections=16)
    found.cells[bare] = Measured(rounds=found.cells[bare].rounds, disturbed=["cc1 0.40 s of 1.5 s"])
    found.failures.append("bentoml, model gbm: not ready after 90 s")
    said = report.text(found, goals())
    ours, theirs = (
        next(line for line in said.splitlines() if line.startswith(f"  {name} ")) for name in ("penstock json", "bare")
    )
    assert "30,000" in ours
    assert " 3.00 " in ours
    assert theirs.endswith("disturbed")
    assert "NOT MET" not in next(line for line in said.splitlines() if line.startswith("1 row, 16 connections, of the"))
    assert "bentoml, model gbm: not ready after 90 s" in said


def test_the_results_file_holds_medians_rounds_and_ratios() -> None:
    written = results(penstock_json=30_000, bare=10_000).to_json({"command": "make bench-serving"}, [])
    assert written["command"] == "make bench-serving"
    ours = written["cells"][0]
    assert (ours["line"], ours["requests_per_second"], ours["ratio_to_bare"]) == ("penstock json", 30_000, 3.0)
    assert len(ours["rounds"]) == 1


def test_the_drawing_has_a_bar_for_each_line_and_the_longest_is_the_fastest() -> None:
    drawn = ET.fromstring(plot.svg(results(penstock_json=30_000, bare=10_000)))
    widths = [float(bar.attrib["width"]) for bar in drawn.iter("{http://www.w3.org/2000/svg}rect")]
    assert len(widths) == 2
    assert widths[0] == pytest.approx(3 * widths[1], rel=1e-3)
