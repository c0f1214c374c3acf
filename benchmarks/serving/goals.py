"""The goals of the serving image's speed, and whether a run met them."""

from collections.abc import Callable
from dataclasses import dataclass

from benchmarks.serving.results import Results
from benchmarks.serving.workloads import ROUTED

#: The line and the server that the goals are about: everything on, JSON.
SUBJECT_LINE = "penstock json"
SUBJECT_SERVER = "penstock"
#: The same server with and without the router in between, in turns: measured apart from the comparison of servers.
ROUTED_LINE = f"{SUBJECT_LINE}, routed"
DIRECT_LINE = f"{SUBJECT_LINE}, direct"


@dataclass(frozen=True, slots=True, kw_only=True)
class Goal:
    """One goal: a figure from the results and its limit. ``at_least`` False: the figure must not exceed it."""

    says: str
    limit: float
    figure: Callable[[Results], float | None]
    at_least: bool = True
    unit: str = "x"

    def met(self, results: Results) -> bool | None:
        """Return whether a run met the goal, None where it did not measure it."""
        value = self.figure(results)
        if value is None:
            return None
        return value >= self.limit if self.at_least else value <= self.limit


def goals() -> tuple[Goal, ...]:
    """Return all goals."""
    return (
        *(
            Goal(
                says=f"1 row, {connections} connection{'s' if connections > 1 else ''}, of the bare loop",
                limit=limit,
                figure=_rate_over("bare", "gbm-1", connections),
            )
            for connections, limit in ((1, 1.25), (16, 1.6), (64, 1.7))
        ),
        Goal(says="aim: 1 row, 16 connections, of the bare loop", limit=2.1, figure=_rate_over("bare", "gbm-1", 16)),
        Goal(says="32 rows, 16 connections, of the bare loop", limit=1.4, figure=_rate_over("bare", "gbm-32", 16)),
        Goal(says="p99 at 16 connections, of the bare loop's", limit=0.7, figure=_p99_over_bare, at_least=False),
        *(
            Goal(says=f"1 row, 16 connections, of {line}", limit=limit, figure=_rate_over(line, "gbm-1", 16))
            for line, limit in (("mlserver", 9), ("kserve-quiet", 9), ("litserve", 15), ("bentoml", 25))
        ),
        Goal(says="through the router at 16 connections, of direct", limit=0.45, figure=_routed_share),
        Goal(
            says="added by the router at p50, 1 connection", limit=0.3, figure=_routed_extra, at_least=False, unit="ms"
        ),
        Goal(
            says="process start to ready",
            limit=0.6,
            figure=lambda found: found.start(SUBJECT_SERVER),
            at_least=False,
            unit="s",
        ),
        Goal(
            says="resident memory, small model",
            limit=110,
            figure=lambda found: found.resident_megabytes.get(SUBJECT_SERVER),
            at_least=False,
            unit="MB",
        ),
    )


def _rate_over(line: str, workload: str, connections: int) -> Callable[[Results], float | None]:
    def figure(found: Results) -> float | None:
        return _over(found.rate(SUBJECT_LINE, workload, connections), found.rate(line, workload, connections))

    return figure


def _p99_over_bare(found: Results) -> float | None:
    ours, bare = (found.figures(line, "gbm-1", 16) for line in (SUBJECT_LINE, "bare"))
    return _over(ours.p99_ms, bare.p99_ms) if ours and bare else None


def _routed_share(found: Results) -> float | None:
    return _over(found.rate(ROUTED_LINE, ROUTED, 16), found.rate(DIRECT_LINE, ROUTED, 16))


def _routed_extra(found: Results) -> float | None:
    routed, direct = (found.figures(line, ROUTED, 1) for line in (ROUTED_LINE, DIRECT_LINE))
    return routed.p50_ms - direct.p50_ms if routed and direct else None


def _over(ours: float | None, theirs: float | None) -> float | None:
    return ours / theirs if ours is not None and theirs else None
