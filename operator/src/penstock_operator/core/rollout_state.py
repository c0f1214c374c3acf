"""The progress of a split that must survive a restart."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Literal

from penstock_operator.core.phases import Phase

_ALL = 100
#: The name of the one candidate where spec declares none: each new revision of the stable ModelDeployment.
CANDIDATE_NAME = "candidate"
RejectedFor = Literal["PolicyBreached", "Undecided", "Aborted", "RolledBack", "Lost"]
Ending = Literal["Promoted", "RolledBack", "Aborted", "Superseded", "Withdrawn", "Lost"]
#: Which phase a split with several candidates is said to be in: the first of these that one of them is in.
_MOST_ADVANCED = (Phase.PROGRESSING, Phase.PAUSED, Phase.WAITING, Phase.FAILED)


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """A revision on trial."""

    revision: str
    started_at: float
    name: str = CANDIDATE_NAME
    phase: Phase = Phase.WAITING
    step: int = 0
    weight: int = 0
    step_started_at: float | None = None
    """When the weight of this step was acknowledged by all routers."""
    waiting_since: float | None = None
    """Since when it waits for its pods; None where it does not wait."""
    paused_by: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Watch:
    """The revision that was stable before the last promotion, kept warm to return to."""

    revision: str
    started_at: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Returning:
    """A revision that shall be stable again as soon as its pods are ready."""

    revision: str
    by: str
    reason: RejectedFor
    message: str
    asked_at: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Rejected:
    """A revision that was taken back."""

    revision: str
    at: float
    by: str
    reason: RejectedFor
    message: str


@dataclass(frozen=True, slots=True, kw_only=True)
class HistoryEntry:
    """How one trial ended."""

    revision: str
    outcome: Ending
    started_at: float
    finished_at: float
    by: str
    message: str
    stable: str = ""
    """The revision that was stable until then."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rollout:
    """All progress of a split that must survive a restart.

    ``rest`` is the phase of a split without candidates; with candidates it says nothing and is Idle.
    """

    rest: Phase = Phase.IDLE
    stable: str | None = None
    candidates: tuple[Candidate, ...] = ()
    watch: Watch | None = None
    returning: Returning | None = None
    rejected: tuple[Rejected, ...] = ()
    history: tuple[HistoryEntry, ...] = ()

    @property
    def phase(self) -> Phase:
        """Where the split is: where its most advanced candidate is, if it has any."""
        phases = {candidate.phase for candidate in self.candidates}
        return next((phase for phase in _MOST_ADVANCED if phase in phases), self.rest)

    @property
    def weights(self) -> dict[str, int]:
        """The intended weights in percent; empty before there is a stable revision.

        What is kept warm without traffic has weight 0.
        """
        if self.stable is None:
            return {}
        warm = [kept.revision for kept in (self.watch, self.returning) if kept is not None]
        shares = {candidate.revision: candidate.weight for candidate in self.candidates}
        return {**dict.fromkeys(warm, 0), **shares, self.stable: _ALL - sum(shares.values())}

    @property
    def kept(self) -> frozenset[str]:
        """The revisions whose pods the split needs."""
        return frozenset(self.weights)

    def named(self, name: str) -> Candidate:
        """Return the candidate of a name. Raises ValueError where there is none."""
        for candidate in self.candidates:
            if candidate.name == name:
                return candidate
        raise ValueError(f"a rollout in phase {self.phase} has no candidate {name}")

    def changed(self, candidate: Candidate) -> "Rollout":
        """Return the rollout in which the candidate of that name is as given."""
        return replace(
            self, candidates=tuple(candidate if old.name == candidate.name else old for old in self.candidates)
        )

    def room_for(self, name: str) -> int:
        """Return the largest weight that the candidate of a name may have beside the others."""
        return _ALL - sum(other.weight for other in self.candidates if other.name != name)

    def is_rejected(self, revision: str) -> bool:
        """Return whether a revision was taken back and not retried since."""
        return any(entry.revision == revision for entry in self.rejected)


def names_of(candidates: Iterable[Candidate]) -> str:
    """Return the names of candidates for a sentence."""
    return ", ".join(candidate.name for candidate in candidates)
