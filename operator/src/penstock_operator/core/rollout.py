"""One look at a rollout: which candidate there is, and whether it goes forward, back or stays."""

from dataclasses import dataclass, replace
from typing import Literal

from penstock_operator.api.v1alpha1.traffic_split import Step
from penstock_operator.core.conditions import timestamp
from penstock_operator.core.judge.judgement import Verdict
from penstock_operator.core.phases import Phase, Trigger
from penstock_operator.core.plan import EventRecord
from penstock_operator.core.rollout_moves import (
    Decision,
    candidate_of,
    complete,
    end,
    enter_step,
    next_phase,
    pause,
    position,
    take_back,
)
from penstock_operator.core.rollout_state import Candidate, Ending, Rollout
from penstock_operator.core.world import Finding, RevisionState, World

_ALL = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class Undecided:
    """How long after its start a rollout may be held by verdicts, in seconds, and what follows then."""

    after_seconds: float
    then: Literal["Hold", "Promote", "Rollback"]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Objection:
    """Why the verdicts do not let a rollout go on; ``patient`` where nothing is wrong but that evidence is missing."""

    message: str
    patient: bool = False


def advance(rollout: Rollout, steps: tuple[Step, ...], world: World, undecided: Undecided | None = None) -> Decision:
    """Return the rollout after one look at the world: at most one step forward, all the way back at once.

    ``undecided`` says how long verdicts may hold the rollout, and what then; None: for ever.
    """
    settled = _settle_stable(rollout, world)
    if settled.rollout.stable is None:
        return replace(settled, holding="no revision is ready yet")
    chosen = _choose_candidate(settled.rollout, world)
    rollout, events = chosen.rollout, (*settled.events, *chosen.events)
    if rollout.candidate is None:
        return Decision(rollout=rollout, events=events)
    if breach := _breach(rollout, world):
        taken = take_back(rollout, by=breach.source, reason="PolicyBreached", message=breach.message, now=world.now)
        return Decision(rollout=taken.rollout, events=(*events, *taken.events))
    moved = _move(rollout, steps, world, undecided)
    return Decision(rollout=moved.rollout, events=(*events, *moved.events), holding=moved.holding)


def _settle_stable(rollout: Rollout, world: World) -> Decision:
    """Begin with the revision that the ModelDeployment serves; again if the stable one exists no more."""
    served = world.deployment_stable
    if rollout.stable is None:
        return Decision(rollout=replace(rollout, stable=served))
    if rollout.stable in world.revisions or served not in world.revisions:
        return Decision(rollout=rollout)
    message = f"{rollout.stable} exists no more; {served} serves"
    if rollout.candidate is not None:
        rollout = end(rollout, outcome="Superseded", by="spec", message=message, now=world.now)
    return Decision(
        rollout=replace(rollout, phase=next_phase(rollout.phase, Trigger.STABLE_LOST), stable=served),
        events=(EventRecord(type="Warning", reason="StableLost", message=message),),
    )


def _choose_candidate(rollout: Rollout, world: World) -> Decision:
    """Follow spec: a new revision is a new candidate, a third one drops the second, stable takes it away."""
    if world.latest is None:
        return Decision(rollout=rollout)  # the ModelDeployment does not say yet what it is asked for
    wanted: str | None = world.latest
    if wanted == rollout.stable or rollout.is_rejected(world.latest):
        wanted = None
    current = rollout.candidate
    if current is None and wanted is None:
        return Decision(rollout=_rest(rollout, world))
    if current is not None and current.revision == wanted:
        return Decision(rollout=rollout)
    events: list[EventRecord] = []
    if current is not None:
        outcome: Ending = "Superseded" if wanted else "Withdrawn"
        message = f"spec asks for {wanted or rollout.stable} instead"
        rollout = end(rollout, outcome=outcome, by="spec", message=message, now=world.now)
        events.append(EventRecord(type="Normal", reason=outcome, message=f"{current.revision}: {message}"))
        if wanted is None:
            rollout = replace(rollout, phase=next_phase(rollout.phase, Trigger.WITHDRAWN))
    if wanted is not None:
        rollout = replace(
            rollout,
            phase=next_phase(rollout.phase, Trigger.NEW_CANDIDATE),
            candidate=Candidate(revision=wanted, started_at=world.now),
        )
        text = f"{wanted} is the candidate against {rollout.stable}"
        events.append(EventRecord(type="Normal", reason="RolloutStarted", message=text))
    return Decision(rollout=rollout, events=tuple(events))


def _rest(rollout: Rollout, world: World) -> Rollout:
    """A rejected spec that was changed back to stable leaves nothing to complain about."""
    if rollout.phase is Phase.ROLLED_BACK and world.latest == rollout.stable:
        return replace(rollout, phase=next_phase(rollout.phase, Trigger.WITHDRAWN))
    return rollout


def _breach(rollout: Rollout, world: World) -> Finding | None:
    candidate = candidate_of(rollout)
    if candidate.weight == 0:
        return None
    return next(
        (finding for finding in world.findings or () if finding.verdict is Verdict.FAIL and finding.rolls_back), None
    )


def _move(rollout: Rollout, steps: tuple[Step, ...], world: World, undecided: Undecided | None) -> Decision:
    candidate = candidate_of(rollout)
    state = world.revisions.get(candidate.revision, RevisionState(ready=0, wanted=1))
    if rollout.phase in {Phase.WAITING, Phase.FAILED}:
        return _wait(rollout, steps, world, state)
    if state.ready == 0:
        held = replace(candidate, weight=0, step_started_at=None)
        return Decision(
            rollout=replace(rollout, candidate=held, phase=next_phase(rollout.phase, Trigger.CANDIDATE_UNREADY)),
            events=(
                EventRecord(
                    type="Warning",
                    reason="CandidateUnready",
                    message=f"{candidate.revision} has no ready pod; its traffic went back to {rollout.stable}",
                ),
            ),
        )
    if _acknowledged(rollout, world) and candidate.step_started_at is None:
        # From here on the candidate is judged at this weight, in a pause as well.
        candidate = replace(candidate, step_started_at=world.now)
        rollout = replace(rollout, candidate=candidate)
    if rollout.phase is Phase.PAUSED:
        by = f"by {candidate.paused_by}; resume with" if candidate.paused_by else "at a pause step; go on with"
        verb = "resume" if candidate.paused_by else "promote"
        return Decision(rollout=rollout, holding=f"paused {by} `kubectl penstock {verb}`")
    return _progress(rollout, steps, world, undecided)


def _wait(rollout: Rollout, steps: tuple[Step, ...], world: World, state: RevisionState) -> Decision:
    candidate = candidate_of(rollout)
    if state.ready >= state.wanted > 0 and candidate.revision in world.warm:
        started = replace(rollout, phase=next_phase(rollout.phase, Trigger.CANDIDATE_READY))
        # Somebody may have shortened the list of steps meanwhile; then from the start.
        entered = enter_step(started, steps, candidate.step if candidate.step < len(steps) else 0)
        if candidate.paused_by and entered.phase is Phase.PROGRESSING:
            entered = pause(entered, by=candidate.paused_by)
        return Decision(rollout=entered)
    if state.failure is not None:
        failed = replace(rollout, phase=next_phase(rollout.phase, Trigger.CANDIDATE_FAILED))
        events: tuple[EventRecord, ...] = ()
        if rollout.phase is not Phase.FAILED:
            text = f"{candidate.revision} cannot load and got no traffic: {state.failure}"
            events = (EventRecord(type="Warning", reason="CandidateFailed", message=text),)
        return Decision(rollout=failed, events=events, holding=f"{candidate.revision} cannot load: {state.failure}")
    if rollout.phase is Phase.FAILED:
        rollout = replace(rollout, phase=next_phase(rollout.phase, Trigger.CANDIDATE_UNREADY))
    if state.ready >= state.wanted > 0:
        return Decision(rollout=rollout, holding=f"the routers are resolving {candidate.revision}")
    return Decision(rollout=rollout, holding=f"{state.ready} of {state.wanted} pods of {candidate.revision} are ready")


def _acknowledged(rollout: Rollout, world: World) -> bool:
    """Return whether every router runs the weights that are meant; it does not matter which revisions have none."""
    told, meant = world.acknowledged, rollout.weights
    return all(told.get(name, 0) == meant.get(name, 0) for name in {*told, *meant})


def _progress(rollout: Rollout, steps: tuple[Step, ...], world: World, undecided: Undecided | None) -> Decision:
    candidate = candidate_of(rollout)
    if not _acknowledged(rollout, world) or candidate.step_started_at is None:
        return Decision(rollout=rollout, holding=f"waiting until every router acknowledges {candidate.weight}%")
    index = position(candidate, steps)
    step = steps[max(index, 0)]
    until = candidate.step_started_at + step.hold.total_seconds()
    if world.now < until:
        return Decision(rollout=rollout, holding=f"at {candidate.weight}% until {timestamp(until)}")
    if objection := _objection(step, world, candidate):
        return _held(rollout, objection, undecided, world.now)
    if index + 1 == len(steps):
        return complete(rollout, by="schedule", message=f"all {len(steps)} steps done", now=world.now)
    entered = enter_step(rollout, steps, index + 1)
    weight = candidate_of(entered).weight
    text = f"{candidate.revision} goes from {candidate.weight}% to {weight}%"
    events = (EventRecord(type="Normal", reason="WeightRaised", message=text),) if weight != candidate.weight else ()
    return Decision(rollout=entered, events=events)


def _objection(step: Step, world: World, candidate: Candidate) -> _Objection | None:
    """Return why the verdicts do not let the rollout go on, or None. Fails closed."""
    if not world.judged:
        return None
    if world.findings is None:
        return _Objection(message="nothing judged yet")
    # At 100 % nobody is left to compare with; what was compared on the way has passed already.
    asked = [finding for finding in world.findings if candidate.weight < _ALL or not finding.needs_stable]
    for verdict in (Verdict.FAIL, Verdict.ERROR, Verdict.NO_DATA):
        for finding in asked:
            if finding.verdict is verdict:
                return _Objection(message=f"{finding.source} is {verdict.value}: {finding.message}")
    if step.require == "Pass":
        for finding in asked:
            if finding.verdict is not Verdict.PASS:
                return _Objection(
                    message=f"{finding.source} is {finding.verdict.value}: {finding.message}", patient=True
                )
    return None


def _held(rollout: Rollout, objection: _Objection, undecided: Undecided | None, now: float) -> Decision:
    """Return the rollout held by verdicts, until its time is up."""
    if undecided is None:
        return Decision(rollout=rollout, holding=objection.message)
    until = candidate_of(rollout).started_at + undecided.after_seconds
    if now < until:
        follows = "" if undecided.then == "Hold" else f"; {undecided.then} at {timestamp(until)}"
        return Decision(rollout=rollout, holding=f"{objection.message}{follows}")
    told = f"not decided within maxDuration: {objection.message}"
    if undecided.then == "Rollback":
        return take_back(rollout, by="maxDuration", reason="Undecided", message=told, now=now)
    if undecided.then == "Promote" and objection.patient:
        # What fails, or cannot be judged, is promoted by a person or not at all.
        return complete(rollout, by="maxDuration", message=told, now=now)
    advice = "decide with `kubectl penstock promote --full` or `abort`"
    return Decision(rollout=rollout, holding=f"{told}; {advice}")
