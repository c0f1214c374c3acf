"""One look at one revision under watch: by its profile, by rows that were gathered, or beside the stable revision."""

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass, field, replace

from penstock_contract.segments import Segmentation
from penstock_operator.core.conditions import Reason
from penstock_operator.core.drift.engine import Judge
from penstock_operator.core.drift.live import paired
from penstock_operator.core.drift.live.against import Against, Source
from penstock_operator.core.drift.live.flat import Ints, Shape
from penstock_operator.core.drift.live.limits import Limits
from penstock_operator.core.drift.live.paired import Beside
from penstock_operator.core.drift.live.state import COVERAGE_MIN, Look, Reference, Watch, begin
from penstock_operator.core.drift.live.watch import after
from penstock_operator.core.drift_sight import Problem, uncovered
from penstock_operator.core.objects import Manifest
from penstock_operator.core.watched import Role, Watched
from penstock_operator.ports import Clock, Cluster
from penstock_operator.reconcile.judges import Judges
from penstock_operator.reconcile.kept_references import KeptReferences, Place
from penstock_operator.reconcile.pod_counts import NO_POD, Answers, Known, Part, PodCounts

#: ModelDeployment, revision and segment: a candidate that is promoted goes on as it was.
Key = tuple[str, str, str]


@dataclass(slots=True, kw_only=True)
class Kept:
    """What is kept for one policy; lives in memory, its numbers in status."""

    watches: dict[Key, Watch] = field(default_factory=dict)
    problems: dict[Key, Problem] = field(default_factory=dict)
    judges: dict[Key, Judge] = field(default_factory=dict)
    due: dict[Key, float] = field(default_factory=dict)
    beside: dict[Key, Beside] = field(default_factory=dict)
    #: Whether references of revisions that are not watched any more may have to be deleted.
    untidy: bool = False

    def drop(self, key: Key) -> None:
        """Forget a revision, or a segment of it."""
        for table in (self.watches, self.problems, self.judges, self.due, self.beside):
            table.pop(key, None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """What a policy (``owner``) asks of a revision. ``shared``: whether others ask its pods, too."""

    owner: Manifest
    one: Watched
    limits: Limits
    segments: Segmentation | None
    shared: bool

    @property
    def namespace(self) -> str:
        """Where policy and revision are."""
        return str(self.owner["metadata"]["namespace"])

    @property
    def query(self) -> str:
        """What pods are asked for beside the counts of all rows."""
        return self.segments.query() if self.segments is not None else ""

    @property
    def part(self) -> Part | None:
        """The rows that are meant, None: all of them."""
        if self.segments is None or not self.one.segment:
            return None
        return Part(by=self.segments.by, value=self.one.segment, values=self.segments.values)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Glance:
    """What was seen of a revision, and what it counts against."""

    asked: Question
    known: Known
    look: Look

    @property
    def key(self) -> Key:
        return key_of(self.asked.one)


class Looks:
    """Looks at revisions; references and judges are shared by all policies."""

    def __init__(self, *, cluster: Cluster, counts: PodCounts, clock: Clock) -> None:
        self._counts = counts
        self._clock = clock
        self._judges = Judges()
        self._references = KeptReferences(cluster=cluster)

    async def tidy(self, kept: Kept, owner: Manifest, revisions: Iterable[str], against: Against) -> None:
        """Delete what a policy kept of revisions that are gone, or kept for another question."""
        kept.untidy = await self._references.tidy(owner, frozenset(revisions), against)

    def keep(self, everything: Iterable[Kept], used: Iterable[tuple[str, str]]) -> None:
        """Drop references, answers and judges of revisions that are not ``used``, by namespace and name."""
        places = set(used)
        self._counts.keep(places)
        self._references.keep({revision for _, revision in places})
        self._judges.keep(judge for kept in everything for judge in kept.judges.values())

    async def look(self, kept: Kept, asked: Question) -> None:
        """Look at one revision, and keep what comes of it."""
        one, limits, key = asked.one, asked.limits, key_of(asked.one)
        answers = await self._counts.read(asked.namespace, one.revision, shared=asked.shared, query=asked.query)
        known = await self._counts.reference(asked.namespace, one.revision, answers)
        if isinstance(known, Problem):
            kept.problems[key] = known
            return
        look = answers.decoded(known.shape, self._clock.now(), asked.part)
        seen = _Glance(asked=asked, known=known, look=look)
        problem: Problem | None
        if limits.against.source is Source.STABLE and one.role is Role.CANDIDATE:
            problem = await self._beside(kept, seen)
        elif limits.against.gathered:
            problem = await self._gathered(kept, seen)
        else:
            problem = self._judged(kept, seen)
        if problem is None and not answers.ready:
            problem = NO_POD
        if problem is None:
            kept.problems.pop(key, None)
        else:
            kept.problems[key] = problem
        await asyncio.sleep(0)  # judging one takes milliseconds, and others wait

    def _judged(self, kept: Kept, seen: _Glance, gathered: Ints | None = None) -> Problem | None:
        """Look at one revision that is compared with its profile, or with what was gathered."""
        key, shape = seen.key, seen.known.shape
        rows = self._judges.rows(seen.known, seen.asked.part, gathered)
        if isinstance(rows, Problem):
            return rows
        judge = self._judges.of(seen.known, seen.asked.limits, rows)
        if isinstance(judge, Problem):
            return judge
        kept.judges[key] = judge
        reference = Reference(shape=shape, judge=judge, estimator=seen.known.estimator)
        kept.watches[key] = after(_fitting(kept.watches[key], shape, judge), seen.look, reference, seen.asked.limits)
        return None

    async def _gathered(self, kept: Kept, seen: _Glance) -> Problem | None:
        """Look at one revision whose reference is of live rows, which may still be gathered."""
        key, now, one, against = seen.key, seen.look.now, seen.asked.one, seen.asked.limits.against
        shape = seen.known.shape
        place = Place(owner=seen.asked.owner, revision=one.revision, against=against, shape=shape, part=one.segment)
        gathered = self._references.get(place)
        if isinstance(gathered, Problem):
            return gathered
        if gathered.is_complete(against, now):
            return self._judged(kept, seen, gathered.kept)
        kept.judges.pop(key, None)
        watch = after(_gathering(kept.watches[key], shape), seen.look, Reference(shape=shape), seen.asked.limits)
        kept.watches[key], gathered = await self._references.take(place, watch, now)
        if isinstance(gathered, Problem):
            return gathered
        if watch.coverage < COVERAGE_MIN:
            return Problem(reason=Reason.PARTIAL_COVERAGE, message=uncovered(watch))
        if against.source is Source.WINDOW and now > against.until and not gathered.rows:
            text = "no row was counted in spec.drift.window, and counts of the past are not kept: name a time to come"
            return Problem(reason=Reason.REFERENCE_MISSING, message=text)
        return Problem(reason=Reason.GATHERING_REFERENCE, message=gathered.progress(against, now))

    async def _beside(self, kept: Kept, seen: _Glance) -> Problem | None:
        """Look at a candidate that is compared with the stable revision of its endpoint, and at that one."""
        shape, asked, stable = seen.known.shape, seen.asked, seen.asked.one.beside
        if not stable:
            return Problem(reason=Reason.REFERENCE_MISSING, message="its split has no stable revision")
        answers = await self._counts.read(asked.namespace, stable, shared=True, query=asked.query)
        known = await self._counts.reference(asked.namespace, stable, answers)
        if isinstance(known, Problem):
            return Problem(reason=known.reason, message=f"the stable revision {stable}: {known.message}")
        if known.shape.profile_hash != shape.profile_hash:
            fix = "name the same profile in spec.model.profile of both, or use another reference"
            text = f"it counts against another profile than the stable revision {stable}: {fix}"
            return Problem(reason=Reason.PROFILE_MISMATCH, message=text)
        return self._compared(kept, seen, answers)

    def _compared(self, kept: Kept, seen: _Glance, answers: Answers) -> Problem | None:
        key, now, one, limits = seen.key, seen.look.now, seen.asked.one, seen.asked.limits
        reference = Reference(shape=seen.known.shape, estimator=seen.known.estimator)
        beside = kept.beside.get(key)
        if beside is None or beside.watch.revision != one.beside:
            # Both begin now, or what is compared would not be of the same time.
            beside = Beside(watch=begin(one.beside, now))
            kept.watches[key] = replace(kept.watches[key], partial=None, opened_at=now)
        watch = after(_gathering(kept.watches[key], reference.shape), seen.look, reference, limits)
        look = answers.decoded(reference.shape, now, seen.asked.part)
        beside = replace(beside, watch=after(beside.watch, look, reference, limits))
        if min(watch.coverage, beside.watch.coverage) >= COVERAGE_MIN and paired.is_full(
            watch, beside, limits.window_rows
        ):
            watch, beside = paired.judged(watch, beside, reference, limits)
        kept.watches[key], kept.beside[key] = watch, beside
        if watch.coverage < COVERAGE_MIN:
            return Problem(reason=Reason.PARTIAL_COVERAGE, message=uncovered(watch))
        if beside.watch.coverage < COVERAGE_MIN:
            text = f"only {beside.watch.coverage:.0%} of the stable revision's ready pods could be read"
            return Problem(reason=Reason.PARTIAL_COVERAGE, message=text)
        if beside.judge is None:
            rows = f"{watch.waiting} of {limits.window_rows} rows that a window needs"
            text = f"{rows}, and the stable revision has {beside.watch.waiting}"
            return Problem(reason=Reason.COLLECTING_ROWS, message=text)
        kept.judges[key] = beside.judge
        return None


def key_of(one: Watched) -> Key:
    """Return what is watched as the key of what is kept of it."""
    return one.model_deployment, one.revision, one.segment


def _gathering(watch: Watch, shape: Shape) -> Watch:
    """Return the watch without what it counted in another shape."""
    other = watch.partial is not None and len(watch.partial) != shape.size
    return replace(watch, partial=None, known={}) if other else watch


def _fitting(watch: Watch, shape: Shape, judge: Judge) -> Watch:
    """Return the watch without what it remembers of windows of another length, or of other kinds."""
    watch = _gathering(watch, shape)
    return watch if watch.memory is None or judge.fits(watch.memory) else replace(watch, memory=None)
