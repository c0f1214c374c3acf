"""How one candidate goes on: waits for its pods, holds its step, takes the next one."""

from dataclasses import dataclass, replace
from datetime import timedelta

from penstock_operator.api.duration import format_duration
from penstock_operator.api.v1alpha1.traffic_split import Step
from penstock_operator.core.conditions import timestamp
from penstock_operator.core.judge.judgement import Verdict
from penstock_operator.core.phases import ON_TRIAL, Phase, Trigger, next_phase
from penstock_operator.core.plan import EventRecord
from penstock_operator.core.rollout_moves import (
    Decision,
    complete,
    enter_step,
    lose_pods,
    pause,
    position,
    take_back,
)
from penstock_operator.core.rollout_return import breach_of
from penstock_operator.core.rollout_state import Candidate, Rollout
from penstock_operator.core.tactics import Tactics
from penstock_operator.core.world import RevisionState, World

_ALL = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class _Objection:
    """Why the verdicts do not let a rollout go on; ``patient`` where nothing is wrong but that evidence is missing."""

    message: str
    patient: bool = False


def go_on(rollout: Rollout, name: str, tactics: Tactics, world: World) -> Decision:
    """Return the rollout after one look at a candidate: at most one step forward, all the way back at once."""
    candidate = rollout.named(name)
    if candidate.phase in ON_TRIAL and (breach := breach_of(candidate.revision, world)):
        return take_back(
            rollout, name, by=breach.source, reason="PolicyBreached", message=breach.message, now=world.now
        )
    if candidate.phase not in ON_TRIAL:
        return _wait(rollout, candidate, tactics, world)
    if world.state_of(candidate.revision).ready == 0:
        text = f"{candidate.revision} has no ready pod; its traffic went back to {rollout.stable}"
        return Decision(
            rollout=lose_pods(rollout, name, now=world.now),
            events=(EventRecord(type="Warning", reason="CandidateUnready", message=text),),
        )
    if _acknowledged(rollout, world) and candidate.step_started_at is None:
        # From here on the candidate is judged at this weight, in a pause as well.
        candidate = replace(candidate, step_started_at=world.now)
        rollout = rollout.changed(candidate)
    if candidate.phase is Phase.PAUSED:
        by = f"by {candidate.paused_by}; resume with" if candidate.paused_by else "at a pause step; go on with"
        verb = "resume" if candidate.paused_by else "promote"
        return Decision(rollout=rollout, holding=f"paused {by} `kubectl penstock {verb}`")
    return _progress(rollout, candidate, tactics, world)


def _wait(rollout: Rollout, candidate: Candidate, tactics: Tactics, world: World) -> Decision:
    revision, state = candidate.revision, world.state_of(candidate.revision)
    if world.is_up(revision) and not world.frozen:
        return _start(rollout, candidate, tactics)
    if not world.is_up(revision) and (why := _failure(candidate, state, tactics, world.now)):
        failed = rollout.changed(replace(candidate, phase=next_phase(candidate.phase, Trigger.CANDIDATE_FAILED)))
        events: tuple[EventRecord, ...] = ()
        if candidate.phase is not Phase.FAILED:
            text = f"{revision} got no traffic: it {why}"
            events = (EventRecord(type="Warning", reason="CandidateFailed", message=text),)
        return Decision(rollout=failed, events=events, holding=f"{revision} {why}")
    if candidate.phase is Phase.FAILED:
        rollout = rollout.changed(replace(candidate, phase=next_phase(candidate.phase, Trigger.CANDIDATE_UNREADY)))
    if world.is_up(revision):
        return Decision(rollout=rollout, holding=f"{revision} is ready; {world.frozen}")
    if state.ready >= state.wanted > 0:
        return Decision(rollout=rollout, holding=f"the routers are resolving {revision}")
    return Decision(rollout=rollout, holding=f"{state.ready} of {state.wanted} pods of {revision} are ready")


def _start(rollout: Rollout, candidate: Candidate, tactics: Tactics) -> Decision:
    """Return the rollout with a candidate at its first step, or where it was when it lost its pods."""
    name, steps = candidate.name, tactics.steps_for(candidate.name)
    started = rollout.changed(
        replace(candidate, phase=next_phase(candidate.phase, Trigger.CANDIDATE_READY), waiting_since=None)
    )
    # Somebody may have shortened the list of steps meanwhile; then from the start.
    entered = enter_step(started, name, steps, candidate.step if candidate.step < len(steps) else 0)
    if candidate.paused_by and entered.named(name).phase is Phase.PROGRESSING:
        entered = pause(entered, name, by=candidate.paused_by)
    return Decision(rollout=entered)


def _failure(candidate: Candidate, state: RevisionState, tactics: Tactics, now: float) -> str:
    """Return why a candidate is not waited for any longer; it still goes on should it become ready after all."""
    if state.failure is not None:
        return f"cannot load: {state.failure}"
    deadline = tactics.progress_deadline_seconds
    since = candidate.started_at if candidate.waiting_since is None else candidate.waiting_since
    if deadline is None or now < since + deadline or state.ready >= state.wanted > 0:
        return ""  # what is ready waits for the routers only
    within = format_duration(timedelta(seconds=deadline))
    return f"was not ready within {within} (progressDeadline): {state.ready} of {state.wanted} pods are"


def _no_more(candidate: Candidate, world: World) -> str:
    """Return why a candidate may get no more traffic now, whatever the verdicts; empty where it may."""
    if candidate.weight == 0 and not world.answers(candidate.revision):
        return f"the routers are resolving {candidate.revision}"
    return world.frozen


def _acknowledged(rollout: Rollout, world: World) -> bool:
    """Return whether every router runs the weights that are meant; it does not matter which revisions have none."""
    told, meant = world.acknowledged, rollout.weights
    return all(told.get(name, 0) == meant.get(name, 0) for name in {*told, *meant})


def _progress(rollout: Rollout, candidate: Candidate, tactics: Tactics, world: World) -> Decision:
    steps = tactics.steps_for(candidate.name)
    if candidate.name in tactics.own and _may_follow_spec(rollout, candidate, steps[0].weight or 0, world):
        return Decision(rollout=enter_step(rollout, candidate.name, steps, 0))  # somebody changed its weight
    if not _acknowledged(rollout, world) or candidate.step_started_at is None:
        unheard = f"waiting until every router acknowledges {candidate.weight}%"
        return Decision(rollout=rollout, holding=world.shortage or unheard)
    if world.mismatch:
        return Decision(rollout=rollout, holding=world.mismatch)
    index = position(candidate, steps)
    step = steps[max(index, 0)]
    until = candidate.step_started_at + step.hold.total_seconds()
    if world.now < until:
        return Decision(rollout=rollout, holding=f"at {candidate.weight}% until {timestamp(until)}")
    last = index + 1 == len(steps)
    gated = not last and steps[index + 1].pause is not None
    if objection := _objection(step, candidate, tactics, world, ends=last, gated=gated):
        return _held(rollout, candidate, objection, tactics, world)
    if reason := _no_more(candidate, world):
        return Decision(rollout=rollout, holding=f"at {candidate.weight}%; {reason}")
    if last:
        return complete(
            rollout,
            candidate.name,
            by="schedule" if candidate.weight == _ALL else "evidence",
            message=f"all {len(steps)} steps done" if candidate.weight == _ALL else "every metric passed",
            now=world.now,
            watched=tactics.watch_seconds > 0,
        )
    entered = enter_step(rollout, candidate.name, steps, index + 1)
    weight = entered.named(candidate.name).weight
    text = f"{candidate.revision} goes from {candidate.weight}% to {weight}%"
    events = (EventRecord(type="Normal", reason="WeightRaised", message=text),) if weight != candidate.weight else ()
    return Decision(rollout=entered, events=events)


def _may_follow_spec(rollout: Rollout, candidate: Candidate, weight: int, world: World) -> bool:
    """Return whether a candidate with a weight of its own takes another one now: less at once, more as in any step."""
    wanted = min(weight, rollout.room_for(candidate.name))
    held = _no_more(candidate, world) or world.mismatch or not _acknowledged(rollout, world)
    return wanted < candidate.weight or (wanted > candidate.weight and not held)


def _objection(
    step: Step, candidate: Candidate, tactics: Tactics, world: World, *, ends: bool, gated: bool
) -> _Objection | None:
    """Return why a candidate may not go on, or None. Fails closed. ``gated``: a pause is next."""
    # A preview that nobody looks at yet goes on to the pause at which a person looks.
    preview = gated and candidate.weight == 0
    if ends and tactics.open_ended:
        told = _verdicts(step, candidate, tactics, world, preview=preview)
        patience = "until a person promotes a candidate"
        return _Objection(message=f"{told.message}; {patience}" if told else patience, patient=True)
    return _verdicts(step, candidate, tactics, world, preview=preview)


def _verdicts(step: Step, candidate: Candidate, tactics: Tactics, world: World, *, preview: bool) -> _Objection | None:
    """Return why the verdicts do not let a candidate go on, or None."""
    if not world.judged:
        return None
    unseen = (preview or not tactics.reaches(candidate.name, candidate.weight)) and step.require is None
    findings = world.findings.get(candidate.revision)
    if findings is None:
        # What gets no request at all cannot be judged; that holds only where a step asks for a verdict.
        return None if unseen else _Objection(message="nothing judged yet")
    if step.require == "Pass" and not findings:
        # Nothing is a success because nobody asked: policies of drift alone judge no candidate.
        return _Objection(message="no policy of spec.policies has a metric that it could pass", patient=True)
    # At 100 % nobody is left to compare with; what was compared on the way has passed already.
    asked = [finding for finding in findings if candidate.weight < _ALL or not finding.needs_stable]
    for verdict in (Verdict.FAIL, Verdict.ERROR, *(() if unseen else (Verdict.NO_DATA,))):
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


def _held(rollout: Rollout, candidate: Candidate, objection: _Objection, tactics: Tactics, world: World) -> Decision:
    """Return the rollout with a candidate held, until its time is up."""
    undecided = tactics.undecided
    if undecided is None:
        return Decision(rollout=rollout, holding=objection.message)
    until = candidate.started_at + undecided.after_seconds
    if world.now < until:
        follows = "" if undecided.then == "Hold" else f"; {undecided.then} at {timestamp(until)}"
        return Decision(rollout=rollout, holding=f"{objection.message}{follows}")
    told = f"not decided within maxDuration: {objection.message}"
    if undecided.then == "Rollback":
        return take_back(rollout, candidate.name, by="maxDuration", reason="Undecided", message=told, now=world.now)
    if undecided.then == "Promote" and objection.patient and not world.frozen:
        # What fails, or cannot be judged, is promoted by a person or not at all.
        return complete(
            rollout,
            candidate.name,
            by="maxDuration",
            message=told,
            now=world.now,
            watched=tactics.watch_seconds > 0,
        )
    advice = "decide with `kubectl penstock promote --full` or `abort`"
    return Decision(rollout=rollout, holding=f"{told}; {advice}")
