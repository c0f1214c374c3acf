"""Keeps a watch over the live traffic of each revision that a policy watches."""

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from penstock_contract.segments import Segmentation
from penstock_operator.core.drift.budget import Signal
from penstock_operator.core.drift.live import labels
from penstock_operator.core.drift.live.against import Against, Source
from penstock_operator.core.drift.live.limits import Limits
from penstock_operator.core.drift_limits import limits_of, of_part
from penstock_operator.core.drift_sight import Sight, alarms_of
from penstock_operator.core.drift_status import report, restored
from penstock_operator.core.objects import Manifest, ObjectRef
from penstock_operator.core.watched import Role, Watched, segmentation, segmented, watched
from penstock_operator.ports import Clock, Cluster, DriftObserver, ServingPods
from penstock_operator.reconcile.looks import Kept, Looks, Question, key_of
from penstock_operator.reconcile.pod_counts import PodCounts
from penstock_operator.reconcile.watching import Case, Seen

#: While only numbers change, they are written once in so many looks.
_NUMBERS_LOOKS = 10
#: A policy of many models looks at as many as this time allows, and at the rest right afterwards.
_SLICE_SECONDS = 1.0
_SLICE_PAUSE_SECONDS = 0.05
_SLICES = 10


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
        counts = PodCounts(cluster=cluster, pods=pods, monotonic=monotonic, fresh_seconds=interval_seconds / 2)
        self._looks = Looks(cluster=cluster, counts=counts, clock=clock)
        self._clock = clock
        self._monotonic = monotonic
        self._interval_seconds = interval_seconds
        self._observer = observer
        self._policies: defaultdict[ObjectRef, Kept] = defaultdict(Kept)

    def forget(self, ref: ObjectRef) -> None:
        """Drop what is kept of a policy that is gone, or watches nothing any more."""
        if self._policies.pop(ref, None) is not None:
            self._tidy()
            self._observer.watched(ref, ())

    async def look(self, case: Case) -> Seen:
        """Look at those that are due, and return all. Watches that are new here begin from the policy's status."""
        revisions = watched(case.spec, case.split, case.deployments)
        limits = limits_of(case.spec, among=len(revisions))
        sights, again = await self._look(case, segmented(case.spec, revisions), limits)
        self._observer.watched(case.ref, sights)
        return Seen(
            report=report(sights, self._clock.now()),
            alarms=alarms_of(sights),
            again_seconds=again,
            numbers_seconds=_NUMBERS_LOOKS * self._interval_seconds,
        )

    async def _look(self, case: Case, watched: Sequence[Watched], limits: Limits) -> tuple[tuple[Sight, ...], float]:
        kept, places = self._policies[case.ref], {key_of(one): one for one in watched}
        if self._select(kept, watched, case.live) or kept.untidy:
            await self._looks.tidy(kept, case.owner, (one.revision for one in watched), limits.against)
        segments = segmentation(case.spec) if case.spec.segment_by is not None else None
        asked = {key_of(one): _asked_of(one, limits, segments) for one in watched}
        began = self._monotonic()
        for key in sorted(kept.due, key=lambda key: kept.due[key]):
            now = self._monotonic()
            if kept.due[key] > now or now - began > _SLICE_SECONDS:
                break
            await self._looks.look(kept, self._question(case.owner, places[key], asked[key], segments))
            if places[key].beside and not places[key].segment:
                stable = next((other for at, other in kept.watches.items() if at[1:] == (places[key].beside, "")), None)
                kept.watches[key] = labels.compared(kept.watches[key], stable, limits)
            kept.due[key] = max(now, kept.due[key]) + self._interval_seconds
        sights = tuple(
            Sight(
                watched=one,
                watch=kept.watches[key],
                limits=asked[key],
                judge=kept.judges.get(key),
                problem=kept.problems.get(key),
            )
            for one in watched
            for key in (key_of(one),)
        )
        now = self._monotonic()
        soonest = min(kept.due.values(), default=now + self._interval_seconds)
        # Few looks at many, not many looks at few: each ends with a status over all.
        pause = _SLICE_PAUSE_SECONDS if soonest <= now else self._interval_seconds / _SLICES
        return sights, max(soonest - now, pause)

    def _select(self, kept: Kept, watched: Sequence[Watched], live: Mapping[str, Any]) -> bool:
        """Begin what is new, drop what is no more; looks at many are spread over the interval.

        Returns whether anything was begun or dropped.
        """
        gone = kept.watches.keys() - {key_of(one) for one in watched}
        for key in gone:
            kept.drop(key)
        now, monotonic = self._clock.now(), self._monotonic()
        fresh = [one for one in watched if key_of(one) not in kept.watches]
        # All segments of a revision are looked at together: its pods tell of all at once.
        revisions = list(dict.fromkeys(key_of(one)[:2] for one in fresh))
        turns = {revision: place / len(revisions) for place, revision in enumerate(revisions)}
        for one in fresh:
            kept.watches[key_of(one)] = restored(one, live, now)
            kept.due[key_of(one)] = monotonic + turns[key_of(one)[:2]] * self._interval_seconds
        if gone:
            self._tidy()
        return bool(gone or fresh)

    def _tidy(self) -> None:
        """Drop references, answers and judges that no watch uses any more."""
        used = {(ref.namespace, revision) for ref, kept in self._policies.items() for _, revision, _ in kept.watches}
        self._looks.keep(self._policies.values(), used)

    def _question(self, owner: Manifest, one: Watched, limits: Limits, segments: Segmentation | None) -> Question:
        shared = segments is not None or self._watchers(owner["metadata"]["namespace"], one.revision) > 1
        return Question(owner=owner, one=one, limits=limits, segments=segments, shared=shared)

    def _watchers(self, namespace: str, revision: str) -> int:
        """Return how many policies watch a revision."""
        return sum(
            any(watched == revision for _, watched, _ in kept.watches)
            for ref, kept in self._policies.items()
            if ref.namespace == namespace
        )


def _asked_of(one: Watched, limits: Limits, segments: Segmentation | None) -> Limits:
    """Return what is asked of one revision: of the stable, where others are compared with it, only sound values."""
    limits = of_part(limits, one.segment, len(segments.names) if segments is not None else 0)
    if limits.against.source is not Source.STABLE or one.role is Role.CANDIDATE:
        return limits
    return replace(limits, kinds=limits.kinds & {Signal.DATA_QUALITY}, against=Against())
