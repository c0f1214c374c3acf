"""The phases of a rollout, and the one table of all moves between them."""

from enum import StrEnum


class Phase(StrEnum):
    """Where a split is."""

    IDLE = "Idle"
    WAITING = "Waiting"
    FAILED = "Failed"
    PROGRESSING = "Progressing"
    PAUSED = "Paused"
    PROMOTED = "Promoted"
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
    STABLE_LOST = "StableLost"


def _table() -> dict[tuple[Phase, Trigger], Phase]:
    resting = (Phase.IDLE, Phase.PROMOTED, Phase.ROLLED_BACK)
    moving = (Phase.WAITING, Phase.FAILED, Phase.PROGRESSING, Phase.PAUSED)
    table: dict[tuple[Phase, Trigger], Phase] = {}
    for phase in (*resting, *moving):
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
    return table


#: The one table of all transitions; a pair that is not in it cannot happen.
TRANSITIONS = _table()
