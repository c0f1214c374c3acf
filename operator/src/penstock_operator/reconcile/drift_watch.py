"""Keeps a watch over the live traffic of each revision that a policy watches."""

import asyncio
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from penstock_operator.core.conditions import Reason
from penstock_operator.core.drift.budget import REFERENCE_PER_BLOCK
from penstock_operator.core.drift.engine import Judge
from penstock_operator.core.drift.live.flat import Shape
from penstock_operator.core.drift.live.limits import Limits
from penstock_operator.core.drift.live.watch import Reference, Watch, after
from penstock_operator.core.drift_limits import limits_of
from penstock_operator.core.drift_sight import Problem, Sight, alarms_of
from penstock_operator.core.drift_status import report, restored
from penstock_operator.core.objects import ObjectRef
from penstock_operator.core.watched import Watched, watched
from penstock_operator.ports import Clock, Cluster, DriftObserver, ServingPods
from penstock_operator.reconcile.pod_counts import NO_POD, Known, PodCounts
from penstock_operator.reconcile.watching import Case, Seen

#: While only numbers change, they are written once in so many looks.
_NUMBERS_LOOKS = 10
#: Fewer rows say nothing about a distribution.
WINDOW_ROWS_MIN = 50
#: A policy of many models looks at as many as this time allows, and at the rest right afterwards.
_SLICE_SECONDS = 1.0
_SLICE_PAUSE_SECONDS = 0.05
_SLICES = 10
#: The judge's own budget only bounds the look-back; how rare alarms must be follows from the traffic.
_RARELY = 1e9

#: ModelDeployment and revision: a candidate that is promoted goes on as it was.
_Key = tuple[str, str]


@dataclass(slots=True, kw_only=True)
class _Policy:
    """What is kept for one policy; lives in memory, its numbers in status."""

    watches: dict[_Key, Watch] = field(default_factory=dict)
    problems: dict[_Key, Problem] = field(default_factory=dict)
    judges: dict[_Key, Judge] = field(default_factory=dict)
    due: dict[_Key, float] = field(default_factory=dict)


class DriftWatch:
    """The watches of all policies. A restart begins them anew from what status has kept."""

    def __init__(
        self,
        *,
        cluster: Cluster,
        pods: ServingPods,
        clock: Clock,
        monotonic: Callable[[], float],
        interval_seconds: float,
        observer: DriftObserver,
    ) -> None:
        # Policies of one model look at about the same time.
        self._counts = PodCounts(cluster=cluster, pods=pods, monotonic=monotonic, fresh_seconds=interval_seconds / 2)
        self._clock = clock
        self._monotonic = monotonic
        self._interval_seconds = interval_seconds
        self._observer = observer
        self._policies: defaultdict[ObjectRef, _Policy] = defaultdict(_Policy)
        self._judges: dict[tuple[str, int, frozenset[Any]], Judge] = {}

    def forget(self, ref: ObjectRef) -> None:
        """Drop what is kept of a policy that is gone, or watches nothing any more."""
        if self._policies.pop(ref, None) is not None:
            self._tidy()
            self._observer.watched(ref, ())

    async def look(self, case: Case) -> Seen:
        """Look at those that are due, and return all. Watches that are new here begin from the policy's status."""
        chosen = watched(case.spec, case.split, case.deployments)
        limits = limits_of(case.spec, among=len(chosen))
        sights, again = await self._look(case.ref, chosen, limits, case.live)
        self._observer.watched(case.ref, sights)
        return Seen(
            report=report(sights, self._clock.now()),
            alarms=alarms_of(sights),
            again_seconds=again,
            numbers_seconds=_NUMBERS_LOOKS * self._interval_seconds,
        )

    async def _look(
        self, ref: ObjectRef, watched: Sequence[Watched], limits: Limits, live: Mapping[str, Any]
    ) -> tuple[tuple[Sight, ...], float]:
        kept = self._policies[ref]
        self._select(kept, watched, live)
        began = self._monotonic()
        for key in sorted(kept.due, key=lambda key: kept.due[key]):
            now = self._monotonic()
            if kept.due[key] > now or now - began > _SLICE_SECONDS:
                break
            await self._look_at(ref.namespace, kept, key, limits)
            kept.due[key] = max(now, kept.due[key]) + self._interval_seconds
        sights = tuple(
            Sight(
                watched=one,
                watch=kept.watches[key],
                limits=limits,
                judge=kept.judges.get(key),
                problem=kept.problems.get(key),
            )
            for one in watched
            for key in (_key(one),)
        )
        now = self._monotonic()
        soonest = min(kept.due.values(), default=now + self._interval_seconds)
        # Few looks at many, not many looks at few: each ends with a status over all.
        pause = _SLICE_PAUSE_SECONDS if soonest <= now else self._interval_seconds / _SLICES
        return sights, max(soonest - now, pause)

    def _select(self, kept: _Policy, watched: Sequence[Watched], live: Mapping[str, Any]) -> None:
        """Begin what is new, drop what is no more; looks at many are spread over the interval."""
        gone = kept.watches.keys() - {_key(one) for one in watched}
        for key in gone:
            for table in (kept.watches, kept.problems, kept.judges, kept.due):
                table.pop(key, None)
        now, monotonic = self._clock.now(), self._monotonic()
        fresh = [one for one in watched if _key(one) not in kept.watches]
        for place, one in enumerate(fresh):
            kept.watches[_key(one)] = restored(one, live, now)
            kept.due[_key(one)] = monotonic + place / len(fresh) * self._interval_seconds
        if gone:
            self._tidy()

    def _tidy(self) -> None:
        """Drop references, answers and judges that no watch uses any more."""
        used = {(ref.namespace, revision) for ref, kept in self._policies.items() for _, revision in kept.watches}
        self._counts.keep(used)
        judges = {id(judge) for kept in self._policies.values() for judge in kept.judges.values()}
        self._judges = {key: judge for key, judge in self._judges.items() if id(judge) in judges}

    async def _look_at(self, namespace: str, kept: _Policy, key: _Key, limits: Limits) -> None:
        _, revision = key
        answers = await self._counts.read(namespace, revision, shared=self._watchers(namespace, revision) > 1)
        known = await self._counts.reference(namespace, revision, answers)
        if isinstance(known, Problem):
            kept.problems[key] = known
            return
        window_rows = min(limits.window_rows, known.rows // REFERENCE_PER_BLOCK)
        if window_rows < WINDOW_ROWS_MIN:
            kept.problems[key] = _too_small(known.rows)
            return
        if answers.ready:
            kept.problems.pop(key, None)
        else:
            kept.problems[key] = NO_POD
        judge = kept.judges[key] = self._judge(known, window_rows, limits)
        look = answers.decoded(known.shape, self._clock.now())
        reference = Reference(shape=known.shape, judge=judge, estimator=known.estimator)
        kept.watches[key] = after(_fitting(kept.watches[key], known.shape, judge), look, reference, limits)
        await asyncio.sleep(0)  # judging one takes milliseconds, and others wait

    def _watchers(self, namespace: str, revision: str) -> int:
        """Return how many policies watch a revision."""
        return sum(
            any(watched == revision for _, watched in kept.watches)
            for ref, kept in self._policies.items()
            if ref.namespace == namespace
        )

    def _judge(self, known: Known, window_rows: int, limits: Limits) -> Judge:
        key = (known.digest, window_rows, limits.kinds)
        if key not in self._judges:
            self._judges[key] = Judge(
                known.profile, window_rows=window_rows, false_alarm_every=_RARELY, kinds=limits.kinds
            )
        return self._judges[key]


def _key(one: Watched) -> _Key:
    return one.model_deployment, one.revision


def _fitting(watch: Watch, shape: Shape, judge: Judge) -> Watch:
    """Return the watch without what it remembers of windows of another length, or of other kinds."""
    if watch.partial is not None and len(watch.partial) != shape.size:
        watch = replace(watch, partial=None, known={})
    return watch if watch.memory is None or judge.fits(watch.memory) else replace(watch, memory=None)


def _too_small(rows: int) -> Problem:
    needed = WINDOW_ROWS_MIN * REFERENCE_PER_BLOCK
    text = f"the reference has {rows} rows, and the shortest windows need {needed}: make a profile of more rows"
    return Problem(reason=Reason.REFERENCE_TOO_SMALL, message=text)
