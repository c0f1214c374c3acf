"""What came of each rollout, as a row of the table, and whether the goals are met."""

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

#: How often the operator looks, in seconds.
TICK_SECONDS = 2.0
#: Of all requests of a bad rollout, so many may meet the bad version.
SHARE_MAX = 0.02
ERRORS_TO_FIND = 4.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One rollout. ``seconds`` and ``ticks`` count from the candidate's first answer to the end of the rollout.

    ``errors_times``: how many times the usual share of errors was injected; 1 where it was something else.
    ``requests``: everybody's, while the rollout lasted; ``candidate_requests``: those that the candidate answered.
    """

    name: str
    injected: str
    healthy: bool
    errors_times: float
    outcome: str
    by: str
    message: str
    seconds: float | None
    ticks: int | None
    candidate_requests: int
    requests: int

    @property
    def right(self) -> bool:
        """Whether a healthy candidate was promoted, a bad one taken back."""
        return self.outcome == ("Promoted" if self.healthy else "RolledBack")

    @property
    def share(self) -> float:
        """The candidate's share of all requests of the rollout."""
        return self.candidate_requests / self.requests if self.requests else 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Counted:
    """What a client saw of one rollout; ``first`` and ``last``: when the candidate answered, in Unix seconds."""

    requests: int
    candidate_requests: int
    first: float | None
    last: float | None


def counted(told: Iterable[Mapping[str, Any]], revision: str, *, started: float, finished: float) -> Counted:
    """Return what a client's lines, one for each second, say of a rollout.

    The rollout lasts until it is decided, and on while the candidate still answers. A line tells of the second before.
    """
    requests = mine = 0
    first = last = None
    for line in told:
        at, answers = float(line["t"]), line["answers"]
        here = sum(count for key, count in answers.items() if key.split()[0] == revision)
        if here:
            first, last = at - 1 if first is None else first, at
        mine += here
        if here or started < at <= finished + 1:
            requests += sum(answers.values())
    return Counted(requests=requests, candidate_requests=mine, first=first, last=last)


def ticks_of(seconds: float) -> int:
    """Return how many looks that took."""
    return max(1, math.ceil(seconds / TICK_SECONDS))


def goals(rows: Sequence[Row]) -> Iterator[tuple[str, bool, str]]:
    """Yield each goal, whether it is met, and what was seen; nothing for what no rollout tells."""
    errors = [row for row in rows if row.errors_times >= ERRORS_TO_FIND]
    if errors:
        found = sum(row.outcome == "RolledBack" for row in errors)
        told = f"{found} of {len(errors)}"
        yield f"errors x{ERRORS_TO_FIND:g} and more are all taken back", found == len(errors), told
    healthy = [row for row in rows if row.healthy]
    if healthy:
        wronged = sum(row.outcome == "RolledBack" for row in healthy)
        yield "no equal candidate is taken back", wronged == 0, f"{wronged} of {len(healthy)}"
        promoted = sum(row.right for row in healthy)
        yield "equal candidates are promoted", promoted == len(healthy), f"{promoted} of {len(healthy)}"
    bad = [row for row in rows if not row.healthy and row.requests]
    if bad:
        met = sum(row.candidate_requests for row in bad) / sum(row.requests for row in bad)
        worst = max(bad, key=lambda row: row.share)
        told = f"{met:.2%} in all; at most {worst.share:.2%} in one ({worst.name})"
        yield f"at most {SHARE_MAX:.0%} of the requests met a bad version", met <= SHARE_MAX, told


def table(rows: Iterable[Row]) -> Iterator[str]:
    """Yield the table's lines."""
    yield "| rollout | injected | verdict | by | ticks | seconds | requests that met it | of all | right |"
    yield "|---|---|---|---|---|---|---|---|---|"
    for row in rows:
        ticks = "-" if row.ticks is None else str(row.ticks)
        seconds = "-" if row.seconds is None else f"{row.seconds:.0f}"
        by = row.by.split("/")[-1] if row.outcome == "RolledBack" else ""
        met = "" if row.healthy else str(row.candidate_requests)
        share = "" if row.healthy else f"{row.share:.2%}"
        right = "yes" if row.right else "**no**"
        yield (
            f"| {row.name} | {row.injected} | {row.outcome} | {by} | {ticks} | {seconds} | {met} | {share} | {right} |"
        )
