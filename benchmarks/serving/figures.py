"""From single rounds to figures: quantiles, medians over rounds, ratios."""

import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """What one round of load showed, or the medians over several rounds. Times are the client's."""

    requests_per_second: float
    p50_ms: float
    p99_ms: float
    cpu_seconds_per_1000: float
    """CPU time of all processes of the server, user and system, for 1,000 requests."""
    client_share: float
    """Share of its core that the client used: near 1 it is the client that is measured."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """One line of the tables: which server, spoken to how, with what, over how many connections."""

    line: str
    workload: str
    connections: int


def quantile(ascending: Sequence[float], share: float) -> float:
    """Return the smallest value that at least ``share`` of the values do not exceed (nearest rank).

    >>> quantile([1, 2, 3, 4], 0.5), quantile([1, 2, 3, 4], 0.99), quantile([7], 0.5)
    (2, 4, 7)
    """
    if not ascending:
        raise ValueError("no values: a round without a single answer has no quantiles")
    if not 0 < share <= 1:
        raise ValueError(f"share must be in (0, 1], not {share}")
    rank = -(-len(ascending) * share // 1)
    return ascending[int(rank) - 1]


def medians(rounds: Sequence[Figures]) -> Figures:
    """Return the median of each figure over the rounds."""
    return Figures(
        **{one.name: statistics.median(getattr(each, one.name) for each in rounds) for one in fields(Figures)}
    )


def spread(rounds: Iterable[Figures]) -> float:
    """Return how far the rounds lie apart: (fastest - slowest) / median of requests per second."""
    rates = sorted(each.requests_per_second for each in rounds)
    middle = statistics.median(rates)
    return (rates[-1] - rates[0]) / middle if middle else 0.0


def ratios(rates: Mapping[Cell, float], to: str) -> dict[Cell, float]:
    """Return every rate over that of the line ``to`` with equal workload and connections, where there is one."""
    found: dict[Cell, float] = {}
    for cell, rate in rates.items():
        base = rates.get(Cell(line=to, workload=cell.workload, connections=cell.connections))
        if base:
            found[cell] = rate / base
    return found
