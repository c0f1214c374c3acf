"""The progress of a split that must survive a restart."""

from dataclasses import dataclass
from typing import Literal

from penstock_operator.core.phases import Phase

_ALL = 100
RejectedFor = Literal["PolicyBreached", "Undecided", "Aborted"]
Ending = Literal["Promoted", "RolledBack", "Aborted", "Superseded", "Withdrawn"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """The revision on trial."""

    revision: str
    started_at: float
    step: int = 0
    weight: int = 0
    step_started_at: float | None = None
    """When the weight of this step was acknowledged by all routers."""
    paused_by: str | None = None


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
    """How one rollout ended."""

    revision: str
    outcome: Ending
    started_at: float
    finished_at: float
    by: str
    message: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Rollout:
    """All progress of a split that must survive a restart."""

    phase: Phase = Phase.IDLE
    stable: str | None = None
    candidate: Candidate | None = None
    rejected: tuple[Rejected, ...] = ()
    history: tuple[HistoryEntry, ...] = ()

    @property
    def weights(self) -> dict[str, int]:
        """The intended weights in percent; empty before there is a stable revision."""
        if self.stable is None:
            return {}
        if self.candidate is None:
            return {self.stable: _ALL}
        return {self.stable: _ALL - self.candidate.weight, self.candidate.revision: self.candidate.weight}

    def is_rejected(self, revision: str) -> bool:
        """Return whether a revision was taken back and not retried since."""
        return any(entry.revision == revision for entry in self.rejected)
