"""What the judge is meant to reach, and whether it does."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from benchmarks.judge.results import Cell
from benchmarks.judge.scenarios import PENSTOCK, STRICT, planned_ticks


@dataclass(frozen=True, slots=True, kw_only=True)
class Goal:
    """One goal with what was measured."""

    name: str
    met: bool
    value: str


Check = Callable[[Cell], tuple[bool, str]]


def judged(cells: Sequence[Cell]) -> list[Goal]:
    """Return all goals whose scenarios were measured, for the strict policy and for the default one."""
    measured = {(one.scenario, one.rule): one for one in cells}
    goals = []
    for name, scenario, check in _asked():
        for rule in (STRICT, PENSTOCK):
            if (scenario, rule) in measured:
                met, value = check(measured[scenario, rule])
                goals.append(Goal(name=f"{name}, {scenario} ({rule})", met=met, value=value))
    return goals


def _asked() -> Iterator[tuple[str, str, Check]]:
    for requests in (60, 600):
        size = f"{requests} requests a tick"
        yield "at most 2.5% taken back", f"A/A, {size}", _at_most(0.025)
        yield "at most 2.5% taken back", f"A/A, weight and base rising, {size}", _at_most(0.025)
        yield "at most 2.5% taken back", f"5% more errors, {size}", _at_most(0.025)
        planned = planned_ticks(requests)
        for kind in ("A/A", "5% more errors"):
            name = f"95% pass without a person within {planned:.0f} ticks"
            yield name, f"{kind} until it passes, {size}", _pass_within(planned)
    for requests, times, most in ((60, 10, 2), (60, 4, 6), (600, 4, 1), (600, 2, 5)):
        yield f"median at most {most} ticks", f"errors x{times}, {requests} requests a tick", _median(most)
    yield "nine of ten within 3 ticks", "p99 x2, 600 requests a tick", _p90(3)
    yield "at most 5% taken back", "A/A of a mean, φ = 0.3", _at_most(0.05)


def _at_most(share: float) -> Check:
    return lambda one: (one.failed <= share, f"{one.failed:.1%} [{one.low:.1%}, {one.high:.1%}]")


def _median(most: float) -> Check:
    return lambda one: (one.median is not None and one.median <= most, f"{one.median}, p90 {one.p90}")


def _p90(most: float) -> Check:
    return lambda one: (one.p90 is not None and one.p90 <= most, f"median {one.median}, p90 {one.p90}")


def _pass_within(most: float) -> Check:
    return lambda one: (
        one.pass_p95 is not None and one.pass_p95 <= most,
        f"{one.passed:.1%} passed, median {one.pass_median}, p95 {one.pass_p95}",
    )
