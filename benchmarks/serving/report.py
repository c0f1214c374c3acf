"""The results as tables for a terminal."""

from collections.abc import Iterator, Sequence

from benchmarks.serving.figures import Cell, spread
from benchmarks.serving.goals import DIRECT_LINE, SUBJECT_LINE, Goal
from benchmarks.serving.results import Measured, Results
from benchmarks.serving.workloads import ROUTED, says

_CLIENT_SHARE_MAX = 0.9


def text(results: Results, goals: Sequence[Goal]) -> str:
    """Return all tables."""
    return "\n".join([*_cells(results), *_servers(results), *_goals(results, goals), *_failures(results)])


def _cells(results: Results) -> Iterator[str]:
    to_base, to_ours = {**results.ratios_to(DIRECT_LINE), **results.ratios_to("bare")}, results.ratios_to(SUBJECT_LINE)
    before = None
    for cell, found in results.cells.items():
        if (cell.workload, cell.connections) != before:
            before = (cell.workload, cell.connections)
            base = "direct" if cell.workload == ROUTED else "bare"
            yield ""
            yield f"{says(cell.workload)}, {cell.connections} connection{'s' if cell.connections > 1 else ''}"
            yield (
                f"  {'':26}{'req/s':>9}{'p50 ms':>9}{'p99 ms':>9}{'CPU s/1000':>12}{f'of {base}':>11}"
                f"{'Penstock/it':>13}{'spread':>8}"
            )
        yield _cell(cell, found, to_base.get(cell), to_ours.get(cell))


def _cell(cell: Cell, found: Measured, to_base: float | None, to_ours: float | None) -> str:
    figures = found.median
    marks = " disturbed" if found.disturbed else ""
    if figures.client_share > _CLIENT_SHARE_MAX:
        marks += " client at its limit"
    return (
        f"  {cell.line:26}{figures.requests_per_second:9,.0f}{figures.p50_ms:9.2f}{figures.p99_ms:9.2f}"
        f"{figures.cpu_seconds_per_1000:12.3f}{_ratio(to_base):>11}"
        f"{_ratio(1 / to_ours if to_ours else None):>13}{spread(found.rounds):8.0%}{marks}"
    )


def _servers(results: Results) -> Iterator[str]:
    yield ""
    yield f"{'':28}{'start to ready':>15}{'resident':>11}"
    for name in results.start_seconds:
        size = results.resident_megabytes.get(name)
        yield f"  {name:26}{results.start(name) or 0:13.2f} s{'' if size is None else f'{size:.0f} MB':>11}"


def _goals(results: Results, goals: Sequence[Goal]) -> Iterator[str]:
    yield ""
    yield f"{'goal':50}{'wanted':>11}{'found':>10}"
    for goal in goals:
        value, met = goal.figure(results), goal.met(results)
        wanted = f"{'>=' if goal.at_least else '<='} {goal.limit:g} {goal.unit}"
        found = "" if value is None else f"{value:.2f} {goal.unit}"
        verdict = {True: "met", False: "NOT MET", None: "not measured"}[met]
        yield f"{goal.says:50}{wanted:>11}{found:>10}  {verdict}"


def _failures(results: Results) -> Iterator[str]:
    if results.failures:
        yield ""
        yield "failed, and left out:"
        yield from (f"  {one}" for one in results.failures)


def _ratio(value: float | None) -> str:
    return "" if value is None else f"{value:.2f}"
