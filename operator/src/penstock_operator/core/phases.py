"""The phases of a rollout, and the one table of all moves between them."""

from enum import StrEnum


class Phase(StrEnum):
    """Where a split, or one of its candidates, is."""

    IDLE = "Idle"
    WAITING = "Waiting"
    FAILED = "Failed"
    PROGRESSING = "Progressing"
    PAUSED = "Paused"
    PROMOTED = "Promoted"
    RETURNING = "Returning"
    ROLLED_BACK = "RolledBack"


class Trigger(StrEnum):
    """What may happen to a split."""

    NEW_CANDIDATE = "NewCandidate"
    WITHDRAWN = "Withdrawn"
    CANDIDATE_READY = "CandidateReady"
    CANDIDATE_UNREADY = "CandidateUnready"
    CANDIDATE_FAILED = "CandidateFailed"
    PAUSE = "Pause"
    RESUME = "Resume"
    COMPLETED = "Completed"
    TAKEN_BACK = "TakenBack"
    RETRY = "Retry"
    RETURN = "Return"
    RETURNED = "Returned"
    STABLE_LOST = "StableLost"


#: Phases in which there is no candidate.
RESTING = frozenset({Phase.IDLE, Phase.PROMOTED, Phase.RETURNING, Phase.ROLLED_BACK})
#: Phases of a candidate; those of a split with candidates too.
MOVING = frozenset({Phase.WAITING, Phase.FAILED, Phase.PROGRESSING, Phase.PAUSED})
#: Phases in which a candidate may have traffic and is judged.
ON_TRIAL = frozenset({Phase.PROGRESSING, Phase.PAUSED})


def _table() -> dict[tuple[Phase, Trigger], Phase]:
    settled = (Phase.IDLE, Phase.PROMOTED, Phase.ROLLED_BACK)
    moving = (Phase.WAITING, Phase.FAILED, Phase.PROGRESSING, Phase.PAUSED)
    table: dict[tuple[Phase, Trigger], Phase] = {}
    for phase in (*settled, *moving):
        table[phase, Trigger.NEW_CANDIDATE] = Phase.WAITING
        table[phase, Trigger.STABLE_LOST] = Phase.IDLE
    for phase in moving:
        table[phase, Trigger.WITHDRAWN] = Phase.IDLE
        table[phase, Trigger.TAKEN_BACK] = Phase.ROLLED_BACK
    for phase in (Phase.WAITING, Phase.FAILED):
        table[phase, Trigger.CANDIDATE_READY] = Phase.PROGRESSING
        table[phase, Trigger.CANDIDATE_FAILED] = Phase.FAILED
    for phase in (Phase.PROGRESSING, Phase.PAUSED):
        table[phase, Trigger.COMPLETED] = Phase.PROMOTED
    for phase in (Phase.FAILED, Phase.PROGRESSING, Phase.PAUSED):
        table[phase, Trigger.CANDIDATE_UNREADY] = Phase.WAITING
    table[Phase.PROGRESSING, Trigger.PAUSE] = Phase.PAUSED
    table[Phase.PAUSED, Trigger.RESUME] = Phase.PROGRESSING
    for trigger in (Trigger.WITHDRAWN, Trigger.RETRY):
        table[Phase.ROLLED_BACK, trigger] = Phase.IDLE
    # After a promotion, while the old revision is kept warm: back to it at once.
    table[Phase.PROMOTED, Trigger.TAKEN_BACK] = Phase.ROLLED_BACK
    table[Phase.PROMOTED, Trigger.WITHDRAWN] = Phase.IDLE
    # Back to a revision whose pods must start first.
    for phase in (*settled, Phase.RETURNING):
        table[phase, Trigger.RETURN] = Phase.RETURNING
    table[Phase.RETURNING, Trigger.RETURNED] = Phase.ROLLED_BACK
    table[Phase.RETURNING, Trigger.WITHDRAWN] = Phase.IDLE
    table[Phase.RETURNING, Trigger.STABLE_LOST] = Phase.IDLE
    return table


#: The one table of all transitions; a pair that is not in it cannot happen.
TRANSITIONS = _table()


def next_phase(phase: Phase, trigger: Trigger) -> Phase:
    """Return the phase that a trigger leads to. Raises KeyError for what the table does not have."""
    return TRANSITIONS[phase, trigger]
