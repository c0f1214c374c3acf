"""What a person asks of a rollout by the audited annotation, and what comes of it."""

import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

from penstock_operator.core.phases import ON_TRIAL, Phase, Trigger, next_phase
from penstock_operator.core.plan import EventRecord
from penstock_operator.core.rollout_moves import (
    complete,
    enter_step,
    forgive,
    pause,
    position,
    resume,
    take_back,
)
from penstock_operator.core.rollout_return import before_last_promotion, go_back, stop_return
from penstock_operator.core.rollout_state import Candidate, Rollout, names_of
from penstock_operator.core.tactics import Tactics
from penstock_operator.core.world import World

VERBS = ("promote", "pause", "resume", "abort", "retry", "rollback")
_TEXT_LIMIT = 200


class InvalidCommand(ValueError):  # noqa: N818 - it is an answer to a person, not a failure
    """The annotation is not a command; the message says what to write."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Command:
    """One command. It is carried out once per id.

    ``candidate`` names one of several candidates; ``revision`` is what to retry, or to roll back to.
    """

    id: str
    verb: str
    by: str
    full: bool = False
    candidate: str | None = None
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
    return Command(
        id=wire["id"][:_TEXT_LIMIT],
        verb=wire["verb"],
        by=wire["by"][:_TEXT_LIMIT],
        full=wire.get("full") is True,
        candidate=_text(wire.get("candidate")),
        revision=_text(wire.get("revision")),
    )


def _text(value: object) -> str | None:
    return value[:_TEXT_LIMIT] if isinstance(value, str) and value else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """The rollout after a command, and the answer to the person."""

    rollout: Rollout
    answer: str
    events: tuple[EventRecord, ...] = ()

    @property
    def refused(self) -> bool:
        """Whether the command did not fit and changed nothing."""
        return self.answer.startswith("Refused: ")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Asked:
    """A command where it meets a rollout."""

    command: Command
    rollout: Rollout
    tactics: Tactics
    world: World

    @property
    def now(self) -> float:
        return self.world.now

    def refused(self, why: str) -> Outcome:
        return Outcome(rollout=self.rollout, answer=f"Refused: {why}")


class _Refusal(Exception):  # noqa: N818 - it is an answer to a person, not a failure
    """Why a command does not fit."""


def carry_out(command: Command, rollout: Rollout, tactics: Tactics, world: World) -> Outcome:
    """Return what comes of a command. A command that does not fit is refused with the reason and changes nothing."""
    asked = _Asked(command=command, rollout=rollout, tactics=tactics, world=world)
    try:
        outcome = _DEEDS[command.verb](asked)
    except _Refusal as refusal:
        outcome = asked.refused(str(refusal))
    text = f"{command.verb} by {command.by}: {outcome.answer}"
    return replace(
        outcome, events=(*outcome.events, EventRecord(type="Normal", reason="CommandReceived", message=text))
    )


def _meant(asked: _Asked, *, otherwise: str) -> list[Candidate]:
    """Return the candidates that a command means: the named one, or all. Raises _Refusal."""
    rollout, name = asked.rollout, asked.command.candidate
    if not rollout.candidates:
        raise _Refusal(f"the split is {rollout.phase.value}; {otherwise}")
    meant = [candidate for candidate in rollout.candidates if name in (None, candidate.name)]
    if not meant:
        raise _Refusal(f"there is no candidate {name}; there are: {names_of(rollout.candidates)}")
    return meant


def _promote(asked: _Asked) -> Outcome:
    otherwise = "there is no rollout to promote"
    meant = [one for one in _meant(asked, otherwise=otherwise) if one.phase in ON_TRIAL]
    if not meant:
        raise _Refusal(f"{_phase_of(asked)}; {otherwise}")
    if len(meant) > 1:
        raise _Refusal(f"several compete; name the winner with --candidate: {names_of(meant)}")
    if asked.world.frozen:
        raise _Refusal(f"{asked.world.frozen}; rollback and abort work")
    candidate = meant[0]
    if asked.world.state_of(candidate.revision).ready == 0:
        raise _Refusal(f"no pod of {candidate.revision} is ready")
    if asked.tactics.open_ended or candidate.name in asked.tactics.own:
        return _promoted(asked, candidate)
    return _promote_full(asked, candidate) if asked.command.full else _open(asked, candidate)


def _phase_of(asked: _Asked) -> str:
    name = asked.command.candidate
    if name is None:
        return f"the split is {asked.rollout.phase.value}"
    return f"{name} is {asked.rollout.named(name).phase.value}"


def _promoted(asked: _Asked, candidate: Candidate) -> Outcome:
    decision = complete(
        asked.rollout,
        candidate.name,
        by=asked.command.by,
        message="promoted by a person",
        now=asked.now,
        watched=asked.tactics.watch_seconds > 0,
    )
    return Outcome(rollout=decision.rollout, answer="promoted", events=decision.events)


def _promote_full(asked: _Asked, candidate: Candidate) -> Outcome:
    steps = asked.tactics.steps_for(candidate.name)
    last = len(steps) - 1
    if position(candidate, steps) == last:
        return _promoted(asked, candidate)
    going = _going(asked.rollout, candidate)
    return Outcome(rollout=enter_step(going, candidate.name, steps, last), answer="going to the last step")


def _open(asked: _Asked, candidate: Candidate) -> Outcome:
    if candidate.phase is not Phase.PAUSED:
        raise _Refusal("no pause to open; use --full to skip the remaining steps")
    if candidate.paused_by is not None:
        raise _Refusal(f"paused by {candidate.paused_by}; use resume")
    steps = asked.tactics.steps_for(candidate.name)
    index = position(candidate, steps)
    if index + 1 == len(steps):
        return _promoted(asked, candidate)
    return Outcome(
        rollout=enter_step(resume(asked.rollout, candidate.name), candidate.name, steps, index + 1),
        answer=f"going on with step {index + 2} of {len(steps)}",
    )


def _going(rollout: Rollout, candidate: Candidate) -> Rollout:
    return resume(rollout, candidate.name) if candidate.phase is Phase.PAUSED else rollout


def _pause(asked: _Asked) -> Outcome:
    otherwise = "only a rollout in progress can be paused"
    meant = [one for one in _meant(asked, otherwise=otherwise) if one.phase is Phase.PROGRESSING]
    if not meant:
        raise _Refusal(f"{_phase_of(asked)}; {otherwise}")
    rollout = asked.rollout
    for candidate in meant:
        rollout = pause(rollout, candidate.name, by=asked.command.by)
    return Outcome(rollout=rollout, answer=f"held at {', '.join(_shares(meant))}")


def _shares(candidates: list[Candidate]) -> Iterator[str]:
    for candidate in candidates:
        yield f"{candidate.weight}%" if len(candidates) == 1 else f"{candidate.name} {candidate.weight}%"


def _resume(asked: _Asked) -> Outcome:
    held = [one for one in _meant(asked, otherwise="nothing is paused") if one.phase is Phase.PAUSED]
    if not held:
        raise _Refusal(f"{_phase_of(asked)}; nothing is paused")
    meant = [one for one in held if one.paused_by is not None]
    if not meant:
        raise _Refusal("this is a pause step of the strategy; use promote")
    rollout = asked.rollout
    for candidate in meant:
        rollout = resume(rollout, candidate.name)
    return Outcome(rollout=rollout, answer="going on")


def _abort(asked: _Asked) -> Outcome:
    rollout = asked.rollout
    if rollout.returning is not None:
        return Outcome(rollout=stop_return(rollout), answer=f"{rollout.stable} stays")
    return _taken_back(asked, _meant(asked, otherwise="there is no rollout to abort"), message="aborted by a person")


def _taken_back(asked: _Asked, candidates: list[Candidate], *, message: str) -> Outcome:
    rollout = asked.rollout
    events: tuple[EventRecord, ...] = ()
    for candidate in candidates:
        taken = take_back(
            rollout, candidate.name, by=asked.command.by, reason="Aborted", message=message, now=asked.now
        )
        rollout, events = taken.rollout, (*events, *taken.events)
    gone = ", ".join(candidate.revision for candidate in candidates)
    return Outcome(rollout=rollout, answer=f"{gone} taken back", events=events)


def _retry(asked: _Asked) -> Outcome:
    rollout = asked.rollout
    failed = [one for one in rollout.candidates if one.phase is Phase.FAILED]
    named = [one for one in failed if asked.command.revision in (None, one.revision)]
    if named:
        for candidate in named:
            rollout = rollout.changed(
                replace(
                    candidate, phase=next_phase(candidate.phase, Trigger.CANDIDATE_UNREADY), waiting_since=asked.now
                )
            )
        return Outcome(rollout=rollout, answer=f"waiting for {', '.join(one.revision for one in named)} again")
    wanted = asked.command.revision or next((entry.revision for entry in rollout.rejected), None)
    if wanted is None:
        raise _Refusal("no revision was taken back; there is nothing to retry")
    if not rollout.is_rejected(wanted):
        known = ", ".join(entry.revision for entry in rollout.rejected) or "none"
        raise _Refusal(f"{wanted} was not taken back; these were: {known}")
    return Outcome(rollout=forgive(rollout, wanted), answer=f"{wanted} may be tried again")


def _rollback(asked: _Asked) -> Outcome:
    """Back to a kept revision. While candidates are on trial, that is the stable one unless another is named."""
    rollout, command = asked.rollout, asked.command
    if rollout.stable is None:
        raise _Refusal("nothing serves yet; there is nothing to go back from")
    target = command.revision or (rollout.stable if rollout.candidates else before_last_promotion(rollout))
    if target is None:
        raise _Refusal("history knows no revision before this one; name one with --to")
    if target == rollout.stable and not rollout.candidates:
        raise _Refusal(f"{target} serves already")
    if target not in asked.world.revisions:
        known = ", ".join(sorted(set(asked.world.revisions) - {rollout.stable or ""})) or "none"
        raise _Refusal(f"there is no revision {target} any more; there are: {known}")
    message = "rolled back by a person"
    outcome = _taken_back(asked, list(rollout.candidates), message=message)
    if target == rollout.stable:
        return outcome
    going = go_back(outcome.rollout, target, by=command.by, reason="RolledBack", message=message, now=asked.now)
    return replace(outcome, rollout=going, answer=f"going back to {target}")


_DEEDS = {
    "promote": _promote,
    "pause": _pause,
    "resume": _resume,
    "abort": _abort,
    "retry": _retry,
    "rollback": _rollback,
}
