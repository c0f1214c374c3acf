"""Gathers references from live rows and keeps them in the cluster, where restarts and other leaders find them."""

from collections.abc import Collection
from dataclasses import dataclass, replace

from penstock_operator.core.conditions import Reason
from penstock_operator.core.drift.live.against import Against
from penstock_operator.core.drift.live.flat import Shape
from penstock_operator.core.drift.live.gathering import PARTS_MAX, Gathering
from penstock_operator.core.drift.live.state import COVERAGE_MIN, Watch
from penstock_operator.core.drift_sight import Problem
from penstock_operator.core.manifests.kept_reference import (
    TEXT_MAX,
    belongs_to,
    kept_reference,
    labels,
    name_of,
    numbers_of,
)
from penstock_operator.core.objects import Kind, Manifest, ObjectRef
from penstock_operator.ports import Cluster, RequestRejected


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Whose reference it is: of a revision or a ``part`` of its rows, under a policy, counted in a shape."""

    owner: Manifest
    revision: str
    against: Against
    shape: Shape
    part: str = ""

    @property
    def namespace(self) -> str:
        """The namespace of policy and revision."""
        return str(self.owner["metadata"]["namespace"])

    def name(self, number: int) -> str:
        """Return the name of one of the objects that keep it."""
        identity = (str(self.owner["metadata"]["uid"]), str(self.against), self.shape.profile_hash, self.part)
        return name_of(self.revision, identity, number)


class KeptReferences:
    """The references of all policies. What the cluster has is what counts: a part that somebody deletes is gone."""

    def __init__(self, *, cluster: Cluster) -> None:
        self._cluster = cluster
        self._known: dict[str, Gathering] = {}

    def get(self, place: Place) -> Gathering | Problem:
        """Return what was gathered so far."""
        parts = self._parts(place)
        known = self._known.get(place.name(0))
        if known is not None and known.parts == len(parts):
            return known
        gathered = Gathering(kept=place.shape.zero(), waiting=place.shape.zero())
        for part in parts:
            try:
                numbers = numbers_of(part, place.shape)
            except ValueError as error:
                name = part["metadata"]["name"]
                text = f"the reference in ControllerRevision {name} cannot be used: {error}; delete it to begin anew"
                return Problem(reason=Reason.REFERENCE_DAMAGED, message=text)
            gathered = gathered.with_rows(numbers).with_part()
        self._known[place.name(0)] = gathered
        return gathered

    async def take(self, place: Place, watch: Watch, now: float) -> tuple[Watch, Gathering | Problem]:
        """Return the watch without the rows that it has gathered, and what there is with them.

        While too few pods can be read the watch keeps its rows.
        """
        gathered = self.get(place)
        if isinstance(gathered, Problem) or watch.partial is None or watch.coverage < COVERAGE_MIN:
            return watch, gathered
        if gathered.takes(place.against, watch.opened_at, watch.looked_at):
            gathered = gathered.with_rows(watch.partial)
        watch = replace(watch, partial=None, opened_at=watch.looked_at)
        self._known[place.name(0)] = gathered
        if gathered.is_part(place.against, now):
            kept = await self._keep(place, gathered)
            return watch, kept
        return watch, gathered

    def keep(self, used: Collection[str]) -> None:
        """Drop from memory what is not of these revisions."""
        self._known = {name: one for name, one in self._known.items() if name.rpartition("-reference-")[0] in used}

    async def tidy(self, owner: Manifest, revisions: Collection[str], against: Against) -> bool:
        """Delete a policy's references of revisions that are neither watched nor kept for a return.

        So it does with those of another question than it asks now. Returns whether some of revisions that are not
        watched are left, to be looked at again.
        """
        namespace, left = owner["metadata"]["namespace"], False
        for part in self._cluster.list(Kind.CONTROLLER_REVISION, namespace, labels()):
            metadata = part["metadata"]
            revision = metadata["name"].rpartition("-reference-")[0]
            if not belongs_to(part, owner):
                continue
            wanted = (part.get("data") or {}).get("reference") == str(against)
            if wanted and (revision in revisions or self._exists(namespace, revision)):
                left |= revision not in revisions
                continue
            ref = ObjectRef(kind=Kind.CONTROLLER_REVISION, namespace=namespace, name=metadata["name"])
            await self._cluster.delete(ref, uid=metadata["uid"])
        return left

    def _exists(self, namespace: str, revision: str) -> bool:
        return self._cluster.get(_ref(namespace, revision)) is not None

    def _parts(self, place: Place) -> list[Manifest]:
        parts: list[Manifest] = []
        for number in range(PARTS_MAX):
            part = self._cluster.get(_ref(place.namespace, place.name(number)))
            if part is None:
                break
            parts.append(part)
        return parts

    async def _keep(self, place: Place, gathered: Gathering) -> Gathering | Problem:
        name = place.name(gathered.parts)
        part = kept_reference(
            place.owner, place.revision, name, against=place.against, numbers=gathered.waiting, shape=place.shape
        )
        if (size := len(part["data"]["counts"])) > TEXT_MAX:
            text = f"the counts of the reference take {size} bytes, and an object may have {TEXT_MAX}"
            fix = "make a profile of fewer columns, or use reference: Profile"
            return Problem(reason=Reason.REFERENCE_TOO_LARGE, message=f"{text}: {fix}")
        try:
            await self._cluster.apply(part)
        except RequestRejected as error:
            text = f"the reference could not be kept as ControllerRevision {name}: {error}"
            return Problem(reason=Reason.REJECTED_BY_SERVER, message=text)
        kept = gathered.with_part()
        self._known[place.name(0)] = kept
        return kept


def _ref(namespace: str, name: str) -> ObjectRef:
    return ObjectRef(kind=Kind.CONTROLLER_REVISION, namespace=namespace, name=name)
