"""The rollout as it is kept in a TrafficSplit's status, so that a restart of the operator loses nothing."""

from collections.abc import Mapping, Sequence
from typing import Any

from penstock_operator.core.conditions import timestamp, unix_seconds
from penstock_operator.core.phases import Phase
from penstock_operator.core.rollout_state import Candidate, HistoryEntry, Rejected, RejectedFor, Rollout

#: The name of the one candidate that each new revision of the stable ModelDeployment becomes.
CANDIDATE_NAME = "candidate"
_ALL = 100


_MOVING = frozenset({Phase.WAITING, Phase.FAILED, Phase.PROGRESSING, Phase.PAUSED})


def parse_rollout(status: Mapping[str, Any]) -> Rollout:
    """Return the rollout that a status tells; an empty status is a rollout that has not begun.

    Whatever the schema admits is read, because somebody may have edited the status: without a candidate nothing is
    under way, and without something under way there is no candidate.
    """
    candidates: Sequence[Mapping[str, Any]] = status.get("candidates") or ({},)
    candidate = _parse_candidate(candidates[0])
    phase = Phase(status["phase"]) if status.get("phase") in set(Phase) else Phase.IDLE
    if candidate is None and phase in _MOVING:
        phase = Phase.IDLE
    return Rollout(
        phase=phase,
        stable=status.get("stableRevision"),
        candidate=candidate if phase in _MOVING else None,
        rejected=tuple(
            Rejected(
                revision=entry["revision"],
                at=_seconds(entry, "at"),
                by=entry.get("by", ""),
                reason=_rejected_for(entry.get("reason")),
                message=entry.get("message", ""),
            )
            for entry in status.get("rejected", ())
        ),
        history=tuple(
            HistoryEntry(
                revision=entry["revision"],
                outcome=entry["outcome"],
                started_at=_seconds(entry, "startedAt"),
                finished_at=_seconds(entry, "finishedAt"),
                by=entry.get("by", ""),
                message=entry.get("message", ""),
            )
            for entry in status.get("history", ())
            if "revision" in entry and "outcome" in entry
        ),
    )


def _parse_candidate(entry: Mapping[str, Any]) -> Candidate | None:
    if "revision" not in entry:
        return None
    return Candidate(
        revision=entry["revision"],
        started_at=_seconds(entry, "startedAt"),
        step=max(entry.get("step", 0), 0),
        weight=min(max(entry.get("weight", 0), 0), _ALL),
        step_started_at=_seconds(entry, "stepStartedAt") if "stepStartedAt" in entry else None,
        paused_by=entry.get("pausedBy"),
    )


def _rejected_for(reason: object) -> RejectedFor:
    match reason:
        case "PolicyBreached" | "Undecided":
            return reason
        case _:
            return "Aborted"


def _seconds(entry: Mapping[str, Any], field: str) -> float:
    return unix_seconds(entry[field]) if field in entry else 0.0


def rollout_to_wire(rollout: Rollout) -> dict[str, Any]:
    """Return the status fields of a rollout; ``parse_rollout`` reads them back."""
    wire: dict[str, Any] = {"phase": rollout.phase.value}
    if rollout.stable is not None:
        wire["stableRevision"] = rollout.stable
    if rollout.candidate is not None:
        wire["candidates"] = [_candidate_to_wire(rollout.candidate)]
    if rollout.rejected:
        wire["rejected"] = [
            {
                "revision": entry.revision,
                "at": timestamp(entry.at),
                "by": entry.by,
                "reason": entry.reason,
                "message": entry.message,
            }
            for entry in rollout.rejected
        ]
    if rollout.history:
        wire["history"] = [
            {
                "revision": entry.revision,
                "outcome": entry.outcome,
                "startedAt": timestamp(entry.started_at),
                "finishedAt": timestamp(entry.finished_at),
                "by": entry.by,
                "message": entry.message,
            }
            for entry in rollout.history
        ]
    return wire


def _candidate_to_wire(candidate: Candidate) -> dict[str, Any]:
    wire: dict[str, Any] = {
        "name": CANDIDATE_NAME,
        "revision": candidate.revision,
        "weight": candidate.weight,
        "step": candidate.step,
        "startedAt": timestamp(candidate.started_at),
    }
    if candidate.step_started_at is not None:
        wire["stepStartedAt"] = timestamp(candidate.step_started_at)
    if candidate.paused_by is not None:
        wire["pausedBy"] = candidate.paused_by
    return wire
