"""What a person asks of a rollout by the audited annotation, and what comes of it."""

import json
from dataclasses import dataclass, replace
from typing import Any

from penstock_operator.api.v1alpha1.traffic_split import Step
from penstock_operator.core.phases import Phase
from penstock_operator.core.plan import EventRecord
from penstock_operator.core.rollout_moves import (
    Decision,
    complete,
    enter_step,
    forgive,
    pause,
    position,
    resume,
    take_back,
)
from penstock_operator.core.rollout_state import Rollout

VERBS = ("promote", "pause", "resume", "abort", "retry")
_TEXT_LIMIT = 200


class InvalidCommand(ValueError):  # noqa: N818 - it is an answer to a person, not a failure
    """The annotation is not a command; the message says what to write."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Command:
    """One command. It is carried out once per id."""

    id: str
    verb: str
    by: str
    full: bool = False
    revision: str | None = None


def parse_command(text: str) -> Command:
    """Return the command that an annotation holds. Raises InvalidCommand."""
    try:
        wire: Any = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise InvalidCommand(f"the annotation is not JSON ({error}); use `kubectl penstock`") from error
    if not isinstance(wire, dict) or not all(
        isinstance(wire.get(field), str) and wire[field] for field in ("id", "verb", "by")
    ):
        raise InvalidCommand('write {"verb": "promote", "id": "<any new text>", "by": "<who>"}')
    if wire["verb"] not in VERBS:
        raise InvalidCommand(f"unknown verb {wire['verb'][:_TEXT_LIMIT]!r}; there are {', '.join(VERBS)}")
    revision = wire.get("revision")
    return Command(
        id=wire["id"][:_TEXT_LIMIT],
        verb=wire["verb"],
        by=wire["by"][:_TEXT_LIMIT],
        full=wire.get("full") is True,
        revision=revision if isinstance(revision, str) else None,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """The rollout after a command, and the answer to the person."""

    rollout: Rollout
    answer: str
    events: tuple[EventRecord, ...] = ()


def carry_out(command: Command, rollout: Rollout, steps: tuple[Step, ...], *, now: float) -> Outcome:
    """Return what comes of a command. A command that does not fit is refused with the reason and changes nothing."""
    match command.verb:
        case "promote":
            outcome = _promote(command, rollout, steps, now=now)
        case "pause":
            outcome = _pause(command, rollout)
        case "resume":
            outcome = _resume(rollout)
        case "abort":
            outcome = _abort(command, rollout, now=now)
        case _:
            outcome = _retry(command, rollout)
    text = f"{command.verb} by {command.by}: {outcome.answer}"
    return replace(
        outcome, events=(*outcome.events, EventRecord(type="Normal", reason="CommandReceived", message=text))
    )


def _refused(rollout: Rollout, why: str) -> Outcome:
    return Outcome(rollout=rollout, answer=f"Refused: {why}")


def _done(decision: Decision, answer: str) -> Outcome:
    return Outcome(rollout=decision.rollout, answer=answer, events=decision.events)


def _promote(command: Command, rollout: Rollout, steps: tuple[Step, ...], *, now: float) -> Outcome:
    candidate = rollout.candidate
    if candidate is None or rollout.phase not in {Phase.PROGRESSING, Phase.PAUSED}:
        return _refused(rollout, f"the split is {rollout.phase.value}; there is no rollout to promote")
    if command.full:
        last = len(steps) - 1
        if position(candidate, steps) == last:
            return _done(complete(rollout, by=command.by, message="promoted by a person", now=now), "promoted")
        going = resume(rollout) if rollout.phase is Phase.PAUSED else rollout
        return Outcome(rollout=enter_step(going, steps, last), answer="going to the last step")
    if rollout.phase is not Phase.PAUSED:
        return _refused(rollout, "no pause to open; use --full to skip the remaining steps")
    if candidate.paused_by is not None:
        return _refused(rollout, f"paused by {candidate.paused_by}; use resume")
    index = position(candidate, steps)
    if index + 1 == len(steps):
        return _done(complete(rollout, by=command.by, message="promoted by a person", now=now), "promoted")
    return Outcome(
        rollout=enter_step(resume(rollout), steps, index + 1), answer=f"going on with step {index + 2} of {len(steps)}"
    )


def _pause(command: Command, rollout: Rollout) -> Outcome:
    if rollout.candidate is None or rollout.phase is not Phase.PROGRESSING:
        return _refused(rollout, f"the split is {rollout.phase.value}; only a rollout in progress can be paused")
    return Outcome(rollout=pause(rollout, by=command.by), answer=f"held at {rollout.candidate.weight}%")


def _resume(rollout: Rollout) -> Outcome:
    if rollout.candidate is None or rollout.phase is not Phase.PAUSED:
        return _refused(rollout, f"the split is {rollout.phase.value}; nothing is paused")
    if rollout.candidate.paused_by is None:
        return _refused(rollout, "this is a pause step of the strategy; use promote")
    return Outcome(rollout=resume(rollout), answer="going on")


def _abort(command: Command, rollout: Rollout, *, now: float) -> Outcome:
    if rollout.candidate is None:
        return _refused(rollout, f"the split is {rollout.phase.value}; there is no rollout to abort")
    taken = take_back(rollout, by=command.by, reason="Aborted", message="aborted by a person", now=now)
    return _done(taken, f"{rollout.candidate.revision} taken back")


def _retry(command: Command, rollout: Rollout) -> Outcome:
    wanted = command.revision or next((entry.revision for entry in rollout.rejected), None)
    if wanted is None:
        return _refused(rollout, "no revision was taken back; there is nothing to retry")
    if not rollout.is_rejected(wanted):
        known = ", ".join(entry.revision for entry in rollout.rejected) or "none"
        return _refused(rollout, f"{wanted} was not taken back; these were: {known}")
    return Outcome(rollout=forgive(rollout, wanted), answer=f"{wanted} may be tried again")
