"""Which rollouts are played: every kind of injection in turn, so that a few of them are a fair part of all."""

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from benchmarks.judge.live.faults import BASE_ERRORS, Fault


@dataclass(frozen=True, slots=True, kw_only=True)
class Injection:
    """One kind of rollout. ``times``: how many times the usual share of errors; 1 where errors are as usual."""

    kind: str
    told: str
    fault: Fault
    times: float = 1.0
    healthy: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Planned:
    """One rollout that is to be played; its name says its number and its kind."""

    name: str
    injection: Injection


def _errors(times: int) -> Injection:
    share = BASE_ERRORS * times
    return Injection(
        kind=f"errors x{times}",
        told=f"errors x{times}: {share:.0%} of the inputs",
        fault=Fault(errors=share),
        times=times,
    )


EQUAL = Injection(kind="equal", told="nothing (A/A)", fault=Fault(), healthy=True)
INJECTIONS = (
    _errors(4),
    EQUAL,
    Injection(kind="slow", told="20 ms more CPU each", fault=Fault(slower_ms=20)),
    _errors(10),
    Injection(kind="slower and slower", told="1 ms more CPU each second", fault=Fault(slower_ms_a_second=1)),
    _errors(4),
    EQUAL,
    Injection(kind="memory leak", told="3 MB more each second", fault=Fault(memory_mb_a_second=3)),
)


def planned(rollouts: int, only: str) -> list[Planned]:
    """Return the rollouts, those whose name contains ``only``."""
    turns = itertools.islice(itertools.cycle(INJECTIONS), rollouts)
    named = (Planned(name=f"{number:02} {each.kind}", injection=each) for number, each in enumerate(turns, 1))
    return [each for each in named if only in each.name]


def dealt(rollouts: Sequence[Planned], shops: int) -> Iterator[list[Planned]]:
    """Yield what each of the shops plays: the healthy ones, which last longest, evenly, and first."""
    ordered = sorted(rollouts, key=lambda each: not each.injection.healthy)
    for shop in range(shops):
        yield ordered[shop::shops]
