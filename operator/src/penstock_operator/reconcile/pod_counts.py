"""Asks the pods of a revision what they have counted, and against which profile."""

import asyncio
import hashlib
import zlib
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field

from penstock_contract.counts import InvalidCounts, ProfileMismatch
from penstock_contract.profile import InvalidProfile, Profile
from penstock_contract.profile import parse as parse_profile
from penstock_operator.core.conditions import Reason
from penstock_operator.core.drift.live.fitting import shape_of
from penstock_operator.core.drift.live.flat import Read, Shape, unprofiled
from penstock_operator.core.drift.live.state import Look
from penstock_operator.core.drift.performance import Estimator, estimator_of
from penstock_operator.core.drift_sight import Problem
from penstock_operator.core.names import REVISION
from penstock_operator.core.objects import Kind
from penstock_operator.core.serving_pods import ServingPod, leaving_serving_pods, ready_serving_pods
from penstock_operator.ports import Cluster, ServingPods

COUNTS_PATH = "/v1/profile"
REFERENCE_PATH = "/v1/profile/reference"
#: So many pods must say the same of the reference, where there are as many.
_WITNESSES = 3

NO_POD = Problem(reason=Reason.NO_READY_PODS, message="no pod of it is ready")

#: Namespace and revision.
_Place = tuple[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Known:
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


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """A part of the rows: those of one value of an input, or of all that are not among ``values``."""

    by: str
    value: str
    values: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Answers:
    """What the pods of a revision said at one time, for every policy that asks."""

    at: float
    ready: tuple[str, ...]
    present: frozenset[str]
    bodies: Mapping[str, bytes]
    #: What was read of it, by pod and input: reading it for each segment would cost as many times.
    segments: dict[tuple[str, str], Mapping[str, Read]] = field(default_factory=dict, compare=False)

    def decoded(self, shape: Shape, now: float, part: Part | None = None) -> Look:
        """Return what they said, of all rows or of a part of them; of those that made no sense, why."""
        reads: dict[str, Read] = {}
        refused: dict[str, str] = {}
        for pod, body in self.bodies.items():
            try:
                if part is None:
                    reads[pod] = shape.decode(body)
                elif (read := self._segments(pod, body, shape, part.by).get(part.value)) is not None:
                    reads[pod] = read
                else:
                    refused[pod] = f"pod {pod} counts other segments"
            except ProfileMismatch as error:
                refused[pod] = f"pod {pod} counts against another profile: {error}"
            except InvalidCounts as error:
                refused[pod] = f"pod {pod} is not believed: {error}"
        return Look(now=now, reads=reads, ready=self.ready, present=self.present, refused=refused)

    def _segments(self, pod: str, body: bytes, shape: Shape, by: str) -> Mapping[str, Read]:
        if (pod, by) not in self.segments:
            self.segments[pod, by] = shape.decode_segments(body, by)
        return self.segments[pod, by]


class PodCounts:
    """What pods say, kept for as long as another policy may ask for the same; references until nobody needs them."""

    def __init__(
        self, *, cluster: Cluster, pods: ServingPods, monotonic: Callable[[], float], fresh_seconds: float
    ) -> None:
        self._cluster = cluster
        self._pods = pods
        self._monotonic = monotonic
        self._fresh_seconds = fresh_seconds
        self._references: dict[_Place, Known] = {}
        self._answers: dict[tuple[str, str, str], Answers] = {}

    def keep(self, used: Collection[_Place]) -> None:
        """Drop what is known of all other revisions."""
        self._references = {place: known for place, known in self._references.items() if place in used}
        self._answers = {key: answers for key, answers in self._answers.items() if key[:2] in used}

    async def read(self, namespace: str, revision: str, *, shared: bool, query: str = "") -> Answers:
        """Return what the pods of a revision have counted. ``shared``: whether others ask for the same.

        ``query`` asks for segments.
        """
        now, path = self._monotonic(), f"{COUNTS_PATH}?{query}" if query else COUNTS_PATH
        fresh = self._answers.get((namespace, revision, query))
        if fresh is not None and now - fresh.at < self._fresh_seconds:
            return fresh
        pods = self._cluster.list(Kind.POD, namespace, {REVISION: revision})
        ready, leaving = ready_serving_pods(pods), leaving_serving_pods(pods)
        bodies = await self._ask(namespace, [*ready, *leaving], path)
        answers = Answers(
            at=now,
            ready=tuple(pod.name for pod in ready),
            present=frozenset(str(pod["metadata"]["name"]) for pod in pods),
            bodies=bodies,
        )
        if shared:
            self._answers[namespace, revision, query] = answers
        return answers

    async def reference(self, namespace: str, revision: str, answers: Answers) -> Known | Problem:
        """Return the profile that a revision's pods count against; it is asked for once."""
        known = self._references.get((namespace, revision))
        if known is not None:
            return known
        if not answers.ready:
            return NO_POD
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
        try:
            found = _known(next(iter(texts.values())))
        except InvalidProfile as error:
            return Problem(reason=Reason.PROFILE_MISMATCH, message=f"its profile cannot be used: {error}")
        self._references[namespace, revision] = found
        return found

    async def _ask(self, namespace: str, pods: Sequence[ServingPod], path: str) -> dict[str, bytes]:
        bodies = await asyncio.gather(*(self._pods.get(namespace, pod, path) for pod in pods))
        return {pod.name: body for pod, body in zip(pods, bodies, strict=True) if body is not None}


def _known(text: bytes) -> Known:
    profile = parse_profile(text)
    return Known(
        packed=zlib.compress(text),
        rows=profile.rows,
        shape=shape_of(profile),
        digest=hashlib.sha256(text).hexdigest(),
        estimator=estimator_of(profile),
    )


def _missing(body: bytes) -> Problem:
    error = unprofiled(body)
    if error is None:
        old = "its pods do not tell the profile that they count against: they run an older serving image"
        return Problem(reason=Reason.REFERENCE_MISSING, message=old)
    fix = "make one with penstock-profile and name it in spec.model.profile"
    return Problem(reason=Reason.REFERENCE_MISSING, message=f"{error or 'the model has no profile'}; {fix}")
