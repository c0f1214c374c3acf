"""Reads what serving pods count and keeps a watch over each revision that a policy watches."""

import asyncio
import hashlib
import zlib
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from penstock_contract.counts import InvalidCounts, ProfileMismatch
from penstock_contract.profile import InvalidProfile, Profile
from penstock_contract.profile import parse as parse_profile
from penstock_operator.core.conditions import Reason
from penstock_operator.core.drift.budget import REFERENCE_PER_BLOCK
from penstock_operator.core.drift.engine import Judge
from penstock_operator.core.drift.live.flat import Read, Shape, unprofiled
from penstock_operator.core.drift.live.limits import Limits
from penstock_operator.core.drift.live.watch import Look, Reference, Watch, after
from penstock_operator.core.drift.performance import Estimator, estimator_of
from penstock_operator.core.drift_limits import limits_of
from penstock_operator.core.drift_sight import Problem, Sight, alarms_of
from penstock_operator.core.drift_status import report, restored
from penstock_operator.core.names import REVISION
from penstock_operator.core.objects import Kind, Manifest, ObjectRef
from penstock_operator.core.serving_pods import ServingPod, leaving_serving_pods, ready_serving_pods
from penstock_operator.core.watched import Watched, watched
from penstock_operator.ports import Clock, Cluster, DriftObserver, ServingPods
from penstock_operator.reconcile.watching import Case, Seen

COUNTS_PATH = "/v1/profile"
REFERENCE_PATH = "/v1/profile/reference"
#: While only numbers change, they are written once in so many looks.
_NUMBERS_LOOKS = 10
#: Fewer rows say nothing about a distribution.
WINDOW_ROWS_MIN = 50
#: So many pods must say the same of the reference, where there are as many.
_WITNESSES = 3
#: A policy of many models looks at as many as this time allows, and at the rest right afterwards.
_SLICE_SECONDS = 1.0
_SLICE_PAUSE_SECONDS = 0.05
_SLICES = 10
#: The judge's own budget only bounds the look-back; how rare alarms must be follows from the traffic.
_RARELY = 1e9


_NO_POD = Problem(reason=Reason.NO_READY_PODS, message="no pod of it is ready")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Known:
    """The profile that the pods of a revision count against; ``digest`` is of all of it, not of its layout alone.

    As a whole it is needed when a judge is made, once; until then, its compressed text takes a tenth of the memory.
    """

    packed: bytes
    rows: int
    shape: Shape
    digest: str
    estimator: Estimator | None

    @property
    def profile(self) -> Profile:
        """All of it."""
        return parse_profile(zlib.decompress(self.packed))


#: ModelDeployment and revision: a candidate that is promoted goes on as it was.
_Key = tuple[str, str]


@dataclass(slots=True, kw_only=True)
class _Policy:
    """What is kept for one policy; lives in memory, its numbers in status."""

    watches: dict[_Key, Watch] = field(default_factory=dict)
    problems: dict[_Key, Problem] = field(default_factory=dict)
    judges: dict[_Key, Judge] = field(default_factory=dict)
    due: dict[_Key, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Answers:
    """What the pods of a revision said at one time, for every policy that asks."""

    at: float
    ready: tuple[str, ...]
    present: frozenset[str]
    bodies: Mapping[str, bytes]


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
        self._cluster = cluster
        self._pods = pods
        self._clock = clock
        self._monotonic = monotonic
        self._interval_seconds = interval_seconds
        self._observer = observer
        self._policies: defaultdict[ObjectRef, _Policy] = defaultdict(_Policy)
        self._references: dict[tuple[str, str], _Known] = {}
        self._answers: dict[tuple[str, str], _Answers] = {}
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
        for table in (self._references, self._answers):
            for key in table.keys() - used:
                del table[key]
        judges = {id(judge) for kept in self._policies.values() for judge in kept.judges.values()}
        self._judges = {key: judge for key, judge in self._judges.items() if id(judge) in judges}

    async def _look_at(self, namespace: str, kept: _Policy, key: _Key, limits: Limits) -> None:
        _, revision = key
        answers = await self._read(namespace, revision)
        known = await self._reference(namespace, revision, answers)
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
            kept.problems[key] = _NO_POD
        judge = kept.judges[key] = self._judge(known, window_rows, limits)
        look = _decoded(answers, known.shape, self._clock.now())
        reference = Reference(shape=known.shape, judge=judge, estimator=known.estimator)
        kept.watches[key] = after(_fitting(kept.watches[key], known.shape, judge), look, reference, limits)
        await asyncio.sleep(0)  # judging one takes milliseconds, and others wait

    async def _read(self, namespace: str, revision: str) -> _Answers:
        """Return what the pods of a revision count, read anew unless another policy has just done so."""
        key, now = (namespace, revision), self._monotonic()
        fresh = self._answers.get(key)
        if fresh is not None and now - fresh.at < self._interval_seconds / 2:
            return fresh
        pods = self._cluster.list(Kind.POD, namespace, {REVISION: revision})
        ready, leaving = ready_serving_pods(pods), leaving_serving_pods(pods)
        bodies = await self._ask(namespace, [*ready, *leaving], COUNTS_PATH)
        answers = _Answers(
            at=now,
            ready=tuple(pod.name for pod in ready),
            present=frozenset(_name(pod) for pod in pods),
            bodies=bodies,
        )
        if self._watchers(namespace, revision) > 1:
            self._answers[key] = answers
        return answers

    def _watchers(self, namespace: str, revision: str) -> int:
        """Return how many policies watch a revision."""
        return sum(
            any(watched == revision for _, watched in kept.watches)
            for ref, kept in self._policies.items()
            if ref.namespace == namespace
        )

    async def _ask(self, namespace: str, pods: Sequence[ServingPod], path: str) -> dict[str, bytes]:
        bodies = await asyncio.gather(*(self._pods.get(namespace, pod, path) for pod in pods))
        return {pod.name: body for pod, body in zip(pods, bodies, strict=True) if body is not None}

    async def _reference(self, namespace: str, revision: str, answers: _Answers) -> _Known | Problem:
        """Return the profile that a revision's pods count against; it is asked for once."""
        known = self._references.get((namespace, revision))
        if known is not None:
            return known
        if not answers.ready:
            return _NO_POD
        if not answers.bodies:
            unread = "none of its ready pods could be read; the operator must reach port 8081 of serving pods"
            return Problem(reason=Reason.PARTIAL_COVERAGE, message=unread)
        pods = ready_serving_pods(self._cluster.list(Kind.POD, namespace, {REVISION: revision}))[:_WITNESSES]
        texts = await self._ask(namespace, pods, REFERENCE_PATH)
        if not texts:
            return _missing(next(iter(answers.bodies.values())))
        if len({hashlib.sha256(text).digest() for text in texts.values()}) > 1:
            words = f"pods {', '.join(sorted(texts))} count against different profiles"
            return Problem(reason=Reason.PROFILE_MISMATCH, message=words)
        text = next(iter(texts.values()))
        try:
            profile = parse_profile(text)
        except InvalidProfile as error:
            return Problem(reason=Reason.PROFILE_MISMATCH, message=f"its profile cannot be used: {error}")
        found = _Known(
            packed=zlib.compress(text),
            rows=profile.rows,
            shape=Shape(profile),
            digest=hashlib.sha256(text).hexdigest(),
            estimator=estimator_of(profile),
        )
        self._references[namespace, revision] = found
        return found

    def _judge(self, known: _Known, window_rows: int, limits: Limits) -> Judge:
        key = (known.digest, window_rows, limits.kinds)
        if key not in self._judges:
            self._judges[key] = Judge(
                known.profile, window_rows=window_rows, false_alarm_every=_RARELY, kinds=limits.kinds
            )
        return self._judges[key]


def _key(one: Watched) -> _Key:
    return one.model_deployment, one.revision


def _decoded(answers: _Answers, shape: Shape, now: float) -> Look:
    reads: dict[str, Read] = {}
    refused: dict[str, str] = {}
    for pod, body in answers.bodies.items():
        try:
            reads[pod] = shape.decode(body)
        except ProfileMismatch as error:
            refused[pod] = f"pod {pod} counts against another profile: {error}"
        except InvalidCounts as error:
            refused[pod] = f"pod {pod} is not believed: {error}"
    return Look(now=now, reads=reads, ready=answers.ready, present=answers.present, refused=refused)


def _fitting(watch: Watch, shape: Shape, judge: Judge) -> Watch:
    """Return the watch without what it remembers of windows of another length, or of other kinds."""
    if watch.partial is not None and len(watch.partial) != shape.size:
        watch = replace(watch, partial=None, known={})
    return watch if watch.memory is None or judge.fits(watch.memory) else replace(watch, memory=None)


def _missing(body: bytes) -> Problem:
    error = unprofiled(body)
    fix = "make one with penstock-profile and name it in spec.model.profile"
    if error is None:
        return Problem(
            reason=Reason.REFERENCE_MISSING,
            message="its pods do not tell the profile that they count against: they run an older serving image",
        )
    return Problem(
        reason=Reason.REFERENCE_MISSING, message=f"{error}; {fix}" if error else f"the model has no profile; {fix}"
    )


def _too_small(rows: int) -> Problem:
    needed = WINDOW_ROWS_MIN * REFERENCE_PER_BLOCK
    text = f"the reference has {rows} rows, and the shortest windows need {needed}: make a profile of more rows"
    return Problem(reason=Reason.REFERENCE_TOO_SMALL, message=text)


def _name(pod: Manifest) -> str:
    return str(pod["metadata"]["name"])
