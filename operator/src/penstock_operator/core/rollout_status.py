"""The rollout as it is kept in a TrafficSplit's status, so that a restart of the operator loses nothing."""

from collections.abc import Iterator, Mapping
from typing import Any, get_args

from penstock_operator.core.conditions import timestamp, unix_seconds
from penstock_operator.core.phases import MOVING, RESTING, Phase
from penstock_operator.core.rollout_state import (
    CANDIDATE_NAME,
    Candidate,
    HistoryEntry,
    Rejected,
    RejectedFor,
    Returning,
    Rollout,
    Watch,
)

_ALL = 100


def parse_rollout(status: Mapping[str, Any]) -> Rollout:
    """Return the rollout that a status tells; an empty status is a rollout that has not begun.

    Whatever the schema admits is read, because somebody may have edited the status: without a candidate nothing is
    under way, and without something under way there is no candidate.
    """
    phase = Phase(status["phase"]) if status.get("phase") in set(Phase) else Phase.IDLE
    candidates = tuple(_parse_candidates(status, phase)) if phase in MOVING else ()
    returning = _parse_returning(status) if phase is Phase.RETURNING else None
    resting = phase in RESTING and (phase is not Phase.RETURNING or returning is not None)
    return Rollout(
        rest=phase if resting else Phase.IDLE,
        stable=status.get("stableRevision"),
        candidates=candidates,
        watch=_parse_watch(status) if phase is Phase.PROMOTED else None,
        returning=returning,
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
                stable=entry.get("stable", ""),
            )
            for entry in status.get("history", ())
            if "revision" in entry and "outcome" in entry
        ),
    )


def _parse_candidates(status: Mapping[str, Any], phase: Phase) -> Iterator[Candidate]:
    """Yield the candidates; together they have no more than all traffic, and no two have the same name or revision."""
    left, names, revisions = _ALL, set[str](), {status.get("stableRevision")}
    for entry in status.get("candidates") or ():
        name, revision = entry.get("name", CANDIDATE_NAME), entry.get("revision")
        if revision is None or revision in revisions or name in names:
            continue
        names.add(name)
        revisions.add(revision)
        candidate = _parse_candidate(name, entry, phase, left)
        left -= candidate.weight
        yield candidate


def _parse_candidate(name: str, entry: Mapping[str, Any], phase: Phase, left: int) -> Candidate:
    # Statuses of one candidate only did not tell its phase: it was the split's.
    own = Phase(entry["phase"]) if entry.get("phase") in set(MOVING) else phase
    return Candidate(
        name=name,
        revision=entry["revision"],
        started_at=_seconds(entry, "startedAt"),
        phase=own,
        step=max(entry.get("step", 0), 0),
        weight=min(max(entry.get("weight", 0), 0), left),
        step_started_at=_seconds(entry, "stepStartedAt") if "stepStartedAt" in entry else None,
        waiting_since=_seconds(entry, "waitingSince") if "waitingSince" in entry else None,
        paused_by=entry.get("pausedBy"),
    )


def _parse_watch(status: Mapping[str, Any]) -> Watch | None:
    entry = status.get("watch", {})
    if "revision" not in entry or entry["revision"] == status.get("stableRevision"):
        return None
    return Watch(revision=entry["revision"], started_at=_seconds(entry, "startedAt"))


def _parse_returning(status: Mapping[str, Any]) -> Returning | None:
    entry = status.get("returning", {})
    if "revision" not in entry or entry["revision"] == status.get("stableRevision"):
        return None
    return Returning(
        revision=entry["revision"],
        by=entry.get("by", ""),
        reason=_rejected_for(entry.get("reason")),
        message=entry.get("message", ""),
        asked_at=_seconds(entry, "askedAt"),
    )


def _rejected_for(reason: object) -> RejectedFor:
    return next((known for known in get_args(RejectedFor) if known == reason), "Aborted")


def _seconds(entry: Mapping[str, Any], field: str) -> float:
    return unix_seconds(entry[field]) if field in entry else 0.0


def rollout_to_wire(rollout: Rollout) -> dict[str, Any]:
    """Return the status fields of a rollout; ``parse_rollout`` reads them back."""
    wire: dict[str, Any] = {"phase": rollout.phase.value}
    if rollout.stable is not None:
        wire["stableRevision"] = rollout.stable
    if rollout.candidates:
        wire["candidates"] = [_candidate_to_wire(candidate) for candidate in rollout.candidates]
    if rollout.watch is not None:
        wire["watch"] = {"revision": rollout.watch.revision, "startedAt": timestamp(rollout.watch.started_at)}
    if rollout.returning is not None:
        wire["returning"] = _returning_to_wire(rollout.returning)
    if rollout.rejected:
        wire["rejected"] = [_rejected_to_wire(entry) for entry in rollout.rejected]
    if rollout.history:
        wire["history"] = [_history_to_wire(entry) for entry in rollout.history]
    return wire


def _candidate_to_wire(candidate: Candidate) -> dict[str, Any]:
    wire: dict[str, Any] = {
        "name": candidate.name,
        "revision": candidate.revision,
        "phase": candidate.phase.value,
        "weight": candidate.weight,
        "step": candidate.step,
        "startedAt": timestamp(candidate.started_at),
    }
    if candidate.step_started_at is not None:
        wire["stepStartedAt"] = timestamp(candidate.step_started_at)
    if candidate.waiting_since is not None:
        wire["waitingSince"] = timestamp(candidate.waiting_since)
    if candidate.paused_by is not None:
        wire["pausedBy"] = candidate.paused_by
    return wire


def _returning_to_wire(returning: Returning) -> dict[str, Any]:
    return {
        "revision": returning.revision,
        "by": returning.by,
        "reason": returning.reason,
        "message": returning.message,
        "askedAt": timestamp(returning.asked_at),
    }


def _rejected_to_wire(entry: Rejected) -> dict[str, Any]:
    return {
        "revision": entry.revision,
        "at": timestamp(entry.at),
        "by": entry.by,
        "reason": entry.reason,
        "message": entry.message,
    }


def _history_to_wire(entry: HistoryEntry) -> dict[str, Any]:
    wire = {
        "revision": entry.revision,
        "outcome": entry.outcome,
        "startedAt": timestamp(entry.started_at),
        "finishedAt": timestamp(entry.finished_at),
        "by": entry.by,
        "message": entry.message,
    }
    if entry.stable:
        wire["stable"] = entry.stable
    return wire
