"""The rollout as it is kept in a TrafficSplit's status, so that a restart of the operator loses nothing."""

from collections.abc import Mapping
from typing import Any

from penstock_operator.core.conditions import timestamp, unix_seconds
from penstock_operator.core.rollout import Candidate, HistoryEntry, Phase, Rejected, Rollout

#: The name of the one candidate that each new revision of the stable ModelDeployment becomes.
CANDIDATE_NAME = "candidate"


def parse_rollout(status: Mapping[str, Any]) -> Rollout:
    """Return the rollout that a status tells; an empty status is a rollout that has not begun."""
    candidates = status.get("candidates") or ()
    candidate = _parse_candidate(candidates[0]) if candidates else None
    phase = Phase(status["phase"]) if status.get("phase") in set(Phase) else Phase.IDLE
    if candidate is None and phase in {Phase.WAITING, Phase.FAILED, Phase.PROGRESSING, Phase.PAUSED}:
        phase = Phase.IDLE  # somebody edited the status; without a candidate nothing is under way
    return Rollout(
        phase=phase,
        stable=status.get("stableRevision"),
        candidate=candidate,
        rejected=tuple(
            Rejected(
                revision=entry["revision"],
                at=unix_seconds(entry["at"]),
                by=entry["by"],
                reason=entry["reason"],
                message=entry["message"],
            )
            for entry in status.get("rejected", ())
        ),
        history=tuple(
            HistoryEntry(
                revision=entry["revision"],
                outcome=entry["outcome"],
                started_at=unix_seconds(entry["startedAt"]),
                finished_at=unix_seconds(entry["finishedAt"]),
                by=entry["by"],
                message=entry["message"],
            )
            for entry in status.get("history", ())
        ),
    )


def _parse_candidate(entry: Mapping[str, Any]) -> Candidate:
    step_started_at = entry.get("stepStartedAt")
    return Candidate(
        revision=entry["revision"],
        started_at=unix_seconds(entry["startedAt"]),
        step=entry.get("step", 0),
        weight=entry.get("weight", 0),
        step_started_at=unix_seconds(step_started_at) if step_started_at else None,
        paused_by=entry.get("pausedBy"),
    )


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
