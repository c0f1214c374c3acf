"""The moves of a rollout: forward, back, held, and the end."""

from dataclasses import dataclass, replace

from penstock_operator.api.v1alpha1.traffic_split import Step
from penstock_operator.core.phases import Phase, Trigger, next_phase
from penstock_operator.core.plan import EventRecord
from penstock_operator.core.rollout_state import (
    Candidate,
    Ending,
    HistoryEntry,
    Rejected,
    RejectedFor,
    Rollout,
    Watch,
)

#: How much of the past is kept in status: a test of all the candidates that a split may have, and some before it.
HISTORY_LIMIT = 20
REJECTED_LIMIT = 20
_ENDINGS: dict[RejectedFor, Ending] = {"Aborted": "Aborted", "Lost": "Lost"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """The rollout after one look, what to tell about it, and why it holds."""

    rollout: Rollout
    events: tuple[EventRecord, ...] = ()
    holding: str = ""

    def after(self, *events: EventRecord) -> "Decision":
        """Return the same decision with events that came before its own."""
        return replace(self, events=(*events, *self.events))


def take_back(rollout: Rollout, name: str, *, by: str, reason: RejectedFor, message: str, now: float) -> Decision:
    """Return the rollout with a candidate's traffic on stable, and the candidate remembered as rejected."""
    candidate = rollout.named(name)
    outcome = _ENDINGS.get(reason, "RolledBack")
    text = f"{candidate.revision} taken back at {candidate.weight}% by {by}: {message}"
    ended = end(rollout, name, Trigger.TAKEN_BACK, outcome=outcome, by=by, message=message, now=now)
    return Decision(
        rollout=reject(ended, candidate.revision, by=by, reason=reason, message=message, now=now),
        events=(EventRecord(type="Warning", reason=outcome, message=text),),
    )


def reject(rollout: Rollout, revision: str, *, by: str, reason: RejectedFor, message: str, now: float) -> Rollout:
    """Return the rollout that remembers not to try a revision again."""
    rejected = Rejected(revision=revision, at=now, by=by, reason=reason, message=f"{by}: {message}")
    others = (old for old in rollout.rejected if old.revision != revision)
    return replace(rollout, rejected=(rejected, *others)[:REJECTED_LIMIT])


def complete(rollout: Rollout, name: str, *, by: str, message: str, now: float, watched: bool = False) -> Decision:
    """Return the rollout with a candidate as the new stable revision; those that it competed with have lost.

    With ``watched`` the old stable revision is kept to return to.
    """
    events: tuple[EventRecord, ...] = ()
    for other in rollout.candidates:
        if other.name != name:
            lost = take_back(rollout, other.name, by=by, reason="Lost", message=f"{name} won", now=now)
            rollout, events = lost.rollout, (*events, *lost.events)
    candidate, old = rollout.named(name), rollout.stable
    ended = end(rollout, name, Trigger.COMPLETED, outcome="Promoted", by=by, message=message, now=now)
    text = f"{candidate.revision} is the stable revision now ({by})"
    return Decision(
        rollout=replace(
            ended,
            stable=candidate.revision,
            watch=Watch(revision=old, started_at=now) if watched and old is not None else None,
        ),
        events=(*events, EventRecord(type="Normal", reason="Promoted", message=text)),
    )


def forgive(rollout: Rollout, revision: str) -> Rollout:
    """Return the rollout in which a rejected revision may be tried again."""
    kept = tuple(entry for entry in rollout.rejected if entry.revision != revision)
    is_last = bool(rollout.rejected) and rollout.rejected[0].revision == revision
    ended = rollout.rest is Phase.ROLLED_BACK and is_last
    return replace(rollout, rejected=kept, rest=next_phase(rollout.rest, Trigger.RETRY) if ended else rollout.rest)


def begin(rollout: Rollout, name: str, revision: str, *, now: float) -> Decision:
    """Return the rollout with one more candidate, which has no traffic yet."""
    before = Phase.IDLE if rollout.candidates else rollout.rest
    candidate = Candidate(
        name=name,
        revision=revision,
        started_at=now,
        phase=next_phase(before, Trigger.NEW_CANDIDATE),
        waiting_since=now,
    )
    text = f"{revision} is the candidate against {rollout.stable}"
    return Decision(
        # Whoever rolls out over a revision has accepted it.
        rollout=replace(rollout, rest=Phase.IDLE, candidates=(*rollout.candidates, candidate), watch=None),
        events=(EventRecord(type="Normal", reason="RolloutStarted", message=text),),
    )


def enter_step(rollout: Rollout, name: str, steps: tuple[Step, ...], index: int) -> Rollout:
    """Return the rollout with a candidate at a step. A pause has the weight of the steps before it."""
    candidate = rollout.named(name)
    step = steps[index]
    weight = max((before.weight or 0 for before in steps[: index + 1]), default=0)
    return rollout.changed(
        replace(
            candidate,
            phase=next_phase(candidate.phase, Trigger.PAUSE) if step.pause is not None else candidate.phase,
            step=index,
            weight=min(weight, rollout.room_for(name)),
            step_started_at=None,
            paused_by=None,
        )
    )


def position(candidate: Candidate, steps: tuple[Step, ...]) -> int:
    """Return the index of the step that a candidate is at, also after somebody changed the steps under way.

    Then it is the last one with no more weight than the candidate has, so that a change skips no step; -1 if even
    the first has more.
    """
    at = candidate.step
    if at < len(steps) and (steps[at].pause is not None or steps[at].weight == candidate.weight):
        return at
    weights = [(index, step.weight) for index, step in enumerate(steps)]
    return max((index for index, weight in weights if weight is not None and weight <= candidate.weight), default=-1)


def pause(rollout: Rollout, name: str, *, by: str) -> Rollout:
    """Return the rollout with a candidate held at its weight by a person."""
    candidate = rollout.named(name)
    return rollout.changed(replace(candidate, phase=next_phase(candidate.phase, Trigger.PAUSE), paused_by=by))


def resume(rollout: Rollout, name: str) -> Rollout:
    """Return the rollout with a candidate going on from where it was held."""
    candidate = rollout.named(name)
    return rollout.changed(replace(candidate, phase=next_phase(candidate.phase, Trigger.RESUME), paused_by=None))


def lose_pods(rollout: Rollout, name: str, *, now: float) -> Rollout:
    """Return the rollout with a candidate that waits for its pods again, without traffic."""
    candidate = rollout.named(name)
    return rollout.changed(
        replace(
            candidate,
            phase=next_phase(candidate.phase, Trigger.CANDIDATE_UNREADY),
            weight=0,
            step_started_at=None,
            waiting_since=candidate.waiting_since if candidate.phase is Phase.FAILED else now,
        )
    )


def end(
    rollout: Rollout, name: str, trigger: Trigger, *, outcome: Ending, by: str, message: str, now: float
) -> Rollout:
    """Return the rollout without a candidate, which history remembers."""
    candidate = rollout.named(name)
    left = tuple(other for other in rollout.candidates if other.name != name)
    return remember(
        replace(rollout, candidates=left, rest=Phase.IDLE if left else next_phase(candidate.phase, trigger)),
        HistoryEntry(
            revision=candidate.revision,
            outcome=outcome,
            started_at=candidate.started_at,
            finished_at=now,
            by=by,
            message=message,
            stable=rollout.stable or "",
        ),
    )


def remember(rollout: Rollout, entry: HistoryEntry) -> Rollout:
    """Return the rollout with one more entry in its history."""
    return replace(rollout, history=(entry, *rollout.history)[:HISTORY_LIMIT])
