"""The moves of a rollout: forward, back, held, and the end."""

from dataclasses import dataclass, replace

from penstock_operator.api.v1alpha1.traffic_split import Step
from penstock_operator.core.phases import TRANSITIONS, Phase, Trigger
from penstock_operator.core.plan import EventRecord
from penstock_operator.core.rollout_state import Candidate, Ending, HistoryEntry, Rejected, RejectedFor, Rollout

#: How much of the past is kept in status.
HISTORY_LIMIT = 10
REJECTED_LIMIT = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """The rollout after one look, what to tell about it, and why it holds."""

    rollout: Rollout
    events: tuple[EventRecord, ...] = ()
    holding: str = ""


def take_back(rollout: Rollout, *, by: str, reason: RejectedFor, message: str, now: float) -> Decision:
    """Return the rollout with all traffic on stable and the candidate remembered as rejected."""
    candidate = candidate_of(rollout)
    outcome: Ending = "Aborted" if reason == "Aborted" else "RolledBack"
    text = f"{candidate.revision} taken back at {candidate.weight}% by {by}: {message}"
    rejected = Rejected(revision=candidate.revision, at=now, by=by, reason=reason, message=f"{by}: {message}")
    ended = end(rollout, outcome=outcome, by=by, message=message, now=now)
    return Decision(
        rollout=replace(
            ended,
            phase=next_phase(rollout.phase, Trigger.TAKEN_BACK),
            rejected=(rejected, *(old for old in ended.rejected if old.revision != rejected.revision))[:REJECTED_LIMIT],
        ),
        events=(EventRecord(type="Warning", reason=outcome, message=text),),
    )


def complete(rollout: Rollout, *, by: str, message: str, now: float) -> Decision:
    """Return the rollout with the candidate as the new stable revision."""
    candidate = candidate_of(rollout)
    ended = end(rollout, outcome="Promoted", by=by, message=message, now=now)
    return Decision(
        rollout=replace(ended, phase=next_phase(rollout.phase, Trigger.COMPLETED), stable=candidate.revision),
        events=(
            EventRecord(
                type="Normal", reason="Promoted", message=f"{candidate.revision} is the stable revision now ({by})"
            ),
        ),
    )


def forgive(rollout: Rollout, revision: str) -> Rollout:
    """Return the rollout in which a rejected revision may be tried again."""
    kept = tuple(entry for entry in rollout.rejected if entry.revision != revision)
    is_last = bool(rollout.rejected) and rollout.rejected[0].revision == revision
    ended = rollout.phase is Phase.ROLLED_BACK and is_last
    return replace(rollout, rejected=kept, phase=next_phase(rollout.phase, Trigger.RETRY) if ended else rollout.phase)


def enter_step(rollout: Rollout, steps: tuple[Step, ...], index: int) -> Rollout:
    """Return the rollout at a step. A pause has the weight of the steps before it."""
    candidate = candidate_of(rollout)
    step = steps[index]
    weight = max((before.weight or 0 for before in steps[: index + 1]), default=0)
    changed = replace(candidate, step=index, weight=weight, step_started_at=None, paused_by=None)
    phase = next_phase(rollout.phase, Trigger.PAUSE) if step.pause is not None else rollout.phase
    return replace(rollout, candidate=changed, phase=phase)


def position(candidate: Candidate, steps: tuple[Step, ...]) -> int:
    """Return the index of the step that a candidate is at, also after somebody changed the steps under way.

    Then it is the last one with no more weight than the candidate has, so that a change skips no step; -1 if even
    the first has more.
    """
    at = candidate.step
    if at < len(steps) and (steps[at].pause is not None or steps[at].weight == candidate.weight):
        return at
    reached = [index for index, step in enumerate(steps) if (step.weight or 0) <= candidate.weight and step.weight]
    return max(reached, default=-1)


def pause(rollout: Rollout, *, by: str) -> Rollout:
    """Return the rollout held at its weight by a person."""
    return replace(
        rollout,
        phase=next_phase(rollout.phase, Trigger.PAUSE),
        candidate=replace(candidate_of(rollout), paused_by=by),
    )


def resume(rollout: Rollout) -> Rollout:
    """Return the rollout going on from where it was held."""
    return replace(
        rollout,
        phase=next_phase(rollout.phase, Trigger.RESUME),
        candidate=replace(candidate_of(rollout), paused_by=None),
    )


def candidate_of(rollout: Rollout) -> Candidate:
    """Return the candidate. Raises ValueError where there is none."""
    if rollout.candidate is None:
        raise ValueError(f"a rollout in phase {rollout.phase} has no candidate")
    return rollout.candidate


def next_phase(phase: Phase, trigger: Trigger) -> Phase:
    """Return the phase that a trigger leads to. Raises KeyError for what the table does not have."""
    return TRANSITIONS[phase, trigger]


def end(
    rollout: Rollout,
    *,
    outcome: Ending,
    by: str,
    message: str,
    now: float,
) -> Rollout:
    """Return the rollout without its candidate, which history remembers."""
    candidate = candidate_of(rollout)
    entry = HistoryEntry(
        revision=candidate.revision,
        outcome=outcome,
        started_at=candidate.started_at,
        finished_at=now,
        by=by,
        message=message,
    )
    return replace(rollout, candidate=None, history=(entry, *rollout.history)[:HISTORY_LIMIT])
