"""The rollout of one candidate: its steps, and what moves it."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Literal

from penstock_operator.api.v1alpha1.traffic_split import Step
from penstock_operator.core.conditions import timestamp
from penstock_operator.core.judge.judgement import Verdict
from penstock_operator.core.phases import TRANSITIONS, Phase, Trigger
from penstock_operator.core.plan import EventRecord

#: How much of the past is kept in status.
HISTORY_LIMIT = 10
REJECTED_LIMIT = 20
_ALL = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """The revision on trial."""

    revision: str
    started_at: float
    step: int = 0
    weight: int = 0
    step_started_at: float | None = None
    """When the weight of this step was acknowledged by all routers."""
    paused_by: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Rejected:
    """A revision that was taken back."""

    revision: str
    at: float
    by: str
    reason: Literal["PolicyBreached", "Aborted"]
    message: str


@dataclass(frozen=True, slots=True, kw_only=True)
class HistoryEntry:
    """How one rollout ended."""

    revision: str
    outcome: Literal["Promoted", "RolledBack", "Aborted", "Superseded", "Withdrawn"]
    started_at: float
    finished_at: float
    by: str
    message: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Rollout:
    """All progress of a split that must survive a restart."""

    phase: Phase = Phase.IDLE
    stable: str | None = None
    candidate: Candidate | None = None
    rejected: tuple[Rejected, ...] = ()
    history: tuple[HistoryEntry, ...] = ()

    @property
    def weights(self) -> dict[str, int]:
        """The intended weights in percent; empty before there is a stable revision."""
        if self.stable is None:
            return {}
        if self.candidate is None:
            return {self.stable: _ALL}
        return {self.stable: _ALL - self.candidate.weight, self.candidate.revision: self.candidate.weight}

    def is_rejected(self, revision: str) -> bool:
        """Return whether a revision was taken back and not retried since."""
        return any(entry.revision == revision for entry in self.rejected)


@dataclass(frozen=True, slots=True, kw_only=True)
class RevisionState:
    """How a revision's pods are, and why it cannot load if that is certain."""

    ready: int
    wanted: int
    failure: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """What one metric of one policy says at this tick."""

    policy: str
    metric: str
    verdict: Verdict
    message: str
    rolls_back: bool
    needs_stable: bool
    """Whether it compares with concurrent stable traffic, of which there is none at 100 %."""

    @property
    def source(self) -> str:
        """``policy/metric``."""
        return f"{self.policy}/{self.metric}"


@dataclass(frozen=True, slots=True, kw_only=True)
class World:
    """What a split sees around it at one moment."""

    now: float
    latest: str | None
    deployment_stable: str | None
    revisions: Mapping[str, RevisionState]
    acknowledged: Mapping[str, int]
    """The weights that every router has acknowledged."""
    warm: frozenset[str]
    """Revisions that every router has resolved and found healthy."""
    findings: tuple[Finding, ...] | None = None
    """This tick's findings; None when nothing could be judged yet."""
    judged: bool = False
    """Whether policies are asked at all."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """The rollout after one look, what to tell about it, and why it holds."""

    rollout: Rollout
    events: tuple[EventRecord, ...] = ()
    holding: str = ""


def advance(rollout: Rollout, steps: tuple[Step, ...], world: World) -> Decision:
    """Return the rollout after one look at the world: at most one step forward, all the way back at once."""
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
    moved = _move(rollout, steps, world)
    return Decision(rollout=moved.rollout, events=(*events, *moved.events), holding=moved.holding)


def take_back(
    rollout: Rollout, *, by: str, reason: Literal["PolicyBreached", "Aborted"], message: str, now: float
) -> Decision:
    """Return the rollout with all traffic on stable and the candidate remembered as rejected."""
    candidate = _candidate(rollout)
    outcome: Literal["RolledBack", "Aborted"] = "RolledBack" if reason == "PolicyBreached" else "Aborted"
    text = f"{candidate.revision} taken back at {candidate.weight}% by {by}: {message}"
    rejected = Rejected(revision=candidate.revision, at=now, by=by, reason=reason, message=f"{by}: {message}")
    ended = _end(rollout, outcome=outcome, by=by, message=message, now=now)
    return Decision(
        rollout=replace(
            ended,
            phase=_next(rollout.phase, Trigger.TAKEN_BACK),
            rejected=(rejected, *(old for old in ended.rejected if old.revision != rejected.revision))[:REJECTED_LIMIT],
        ),
        events=(EventRecord(type="Warning", reason=outcome, message=text),),
    )


def complete(rollout: Rollout, *, by: str, message: str, now: float) -> Decision:
    """Return the rollout with the candidate as the new stable revision."""
    candidate = _candidate(rollout)
    ended = _end(rollout, outcome="Promoted", by=by, message=message, now=now)
    return Decision(
        rollout=replace(ended, phase=_next(rollout.phase, Trigger.COMPLETED), stable=candidate.revision),
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
    return replace(rollout, rejected=kept, phase=_next(rollout.phase, Trigger.RETRY) if ended else rollout.phase)


def enter_step(rollout: Rollout, steps: tuple[Step, ...], index: int) -> Rollout:
    """Return the rollout at a step. A pause has the weight of the steps before it."""
    candidate = _candidate(rollout)
    step = steps[index]
    weight = max((before.weight or 0 for before in steps[: index + 1]), default=0)
    changed = replace(candidate, step=index, weight=weight, step_started_at=None, paused_by=None)
    phase = _next(rollout.phase, Trigger.PAUSE) if step.pause is not None else rollout.phase
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
        phase=_next(rollout.phase, Trigger.PAUSE),
        candidate=replace(_candidate(rollout), paused_by=by),
    )


def resume(rollout: Rollout) -> Rollout:
    """Return the rollout going on from where it was held."""
    return replace(
        rollout,
        phase=_next(rollout.phase, Trigger.RESUME),
        candidate=replace(_candidate(rollout), paused_by=None),
    )


def _candidate(rollout: Rollout) -> Candidate:
    if rollout.candidate is None:
        raise ValueError(f"a rollout in phase {rollout.phase} has no candidate")
    return rollout.candidate


def _next(phase: Phase, trigger: Trigger) -> Phase:
    return TRANSITIONS[phase, trigger]


def _end(
    rollout: Rollout,
    *,
    outcome: Literal["Promoted", "RolledBack", "Aborted", "Superseded", "Withdrawn"],
    by: str,
    message: str,
    now: float,
) -> Rollout:
    candidate = _candidate(rollout)
    entry = HistoryEntry(
        revision=candidate.revision,
        outcome=outcome,
        started_at=candidate.started_at,
        finished_at=now,
        by=by,
        message=message,
    )
    return replace(rollout, candidate=None, history=(entry, *rollout.history)[:HISTORY_LIMIT])


def _settle_stable(rollout: Rollout, world: World) -> Decision:
    """Begin with the revision that the ModelDeployment serves; again if the stable one exists no more."""
    served = world.deployment_stable
    if rollout.stable is None:
        return Decision(rollout=replace(rollout, stable=served))
    if rollout.stable in world.revisions or served not in world.revisions:
        return Decision(rollout=rollout)
    message = f"{rollout.stable} exists no more; {served} serves"
    if rollout.candidate is not None:
        rollout = _end(rollout, outcome="Superseded", by="spec", message=message, now=world.now)
    return Decision(
        rollout=replace(rollout, phase=_next(rollout.phase, Trigger.STABLE_LOST), stable=served),
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
        outcome: Literal["Superseded", "Withdrawn"] = "Superseded" if wanted else "Withdrawn"
        message = f"spec asks for {wanted or rollout.stable} instead"
        rollout = _end(rollout, outcome=outcome, by="spec", message=message, now=world.now)
        events.append(EventRecord(type="Normal", reason=outcome, message=f"{current.revision}: {message}"))
        if wanted is None:
            rollout = replace(rollout, phase=_next(rollout.phase, Trigger.WITHDRAWN))
    if wanted is not None:
        rollout = replace(
            rollout,
            phase=_next(rollout.phase, Trigger.NEW_CANDIDATE),
            candidate=Candidate(revision=wanted, started_at=world.now),
        )
        text = f"{wanted} is the candidate against {rollout.stable}"
        events.append(EventRecord(type="Normal", reason="RolloutStarted", message=text))
    return Decision(rollout=rollout, events=tuple(events))


def _rest(rollout: Rollout, world: World) -> Rollout:
    """A rejected spec that was changed back to stable leaves nothing to complain about."""
    if rollout.phase is Phase.ROLLED_BACK and world.latest == rollout.stable:
        return replace(rollout, phase=_next(rollout.phase, Trigger.WITHDRAWN))
    return rollout


def _breach(rollout: Rollout, world: World) -> Finding | None:
    candidate = _candidate(rollout)
    if candidate.weight == 0:
        return None
    return next(
        (finding for finding in world.findings or () if finding.verdict is Verdict.FAIL and finding.rolls_back), None
    )


def _move(rollout: Rollout, steps: tuple[Step, ...], world: World) -> Decision:
    candidate = _candidate(rollout)
    state = world.revisions.get(candidate.revision, RevisionState(ready=0, wanted=1))
    if rollout.phase in {Phase.WAITING, Phase.FAILED}:
        return _wait(rollout, steps, world, state)
    if state.ready == 0:
        held = replace(candidate, weight=0, step_started_at=None)
        return Decision(
            rollout=replace(rollout, candidate=held, phase=_next(rollout.phase, Trigger.CANDIDATE_UNREADY)),
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
    return _progress(rollout, steps, world)


def _wait(rollout: Rollout, steps: tuple[Step, ...], world: World, state: RevisionState) -> Decision:
    candidate = _candidate(rollout)
    if state.ready >= state.wanted > 0 and candidate.revision in world.warm:
        started = replace(rollout, phase=_next(rollout.phase, Trigger.CANDIDATE_READY))
        # Somebody may have shortened the list of steps meanwhile; then from the start.
        entered = enter_step(started, steps, candidate.step if candidate.step < len(steps) else 0)
        if candidate.paused_by and entered.phase is Phase.PROGRESSING:
            entered = pause(entered, by=candidate.paused_by)
        return Decision(rollout=entered)
    if state.failure is not None:
        failed = replace(rollout, phase=_next(rollout.phase, Trigger.CANDIDATE_FAILED))
        events: tuple[EventRecord, ...] = ()
        if rollout.phase is not Phase.FAILED:
            text = f"{candidate.revision} cannot load and got no traffic: {state.failure}"
            events = (EventRecord(type="Warning", reason="CandidateFailed", message=text),)
        return Decision(rollout=failed, events=events, holding=f"{candidate.revision} cannot load: {state.failure}")
    if rollout.phase is Phase.FAILED:
        rollout = replace(rollout, phase=_next(rollout.phase, Trigger.CANDIDATE_UNREADY))
    if state.ready >= state.wanted > 0:
        return Decision(rollout=rollout, holding=f"the routers are resolving {candidate.revision}")
    return Decision(rollout=rollout, holding=f"{state.ready} of {state.wanted} pods of {candidate.revision} are ready")


def _acknowledged(rollout: Rollout, world: World) -> bool:
    """Return whether every router runs the weights that are meant; it does not matter which revisions have none."""
    told, meant = world.acknowledged, rollout.weights
    return all(told.get(name, 0) == meant.get(name, 0) for name in {*told, *meant})


def _progress(rollout: Rollout, steps: tuple[Step, ...], world: World) -> Decision:
    candidate = _candidate(rollout)
    if not _acknowledged(rollout, world) or candidate.step_started_at is None:
        return Decision(rollout=rollout, holding=f"waiting until every router acknowledges {candidate.weight}%")
    index = position(candidate, steps)
    step = steps[max(index, 0)]
    until = candidate.step_started_at + step.hold.total_seconds()
    if world.now < until:
        return Decision(rollout=rollout, holding=f"at {candidate.weight}% until {timestamp(until)}")
    if reason := _objection(step, world, candidate):
        return Decision(rollout=rollout, holding=reason)
    if index + 1 == len(steps):
        return complete(rollout, by="schedule", message=f"all {len(steps)} steps done", now=world.now)
    entered = enter_step(rollout, steps, index + 1)
    weight = _candidate(entered).weight
    text = f"{candidate.revision} goes from {candidate.weight}% to {weight}%"
    events = (EventRecord(type="Normal", reason="WeightRaised", message=text),) if weight != candidate.weight else ()
    return Decision(rollout=entered, events=events)


def _objection(step: Step, world: World, candidate: Candidate) -> str:
    """Return why the verdicts do not let the rollout go on, or an empty string. Fails closed."""
    if not world.judged:
        return ""
    if world.findings is None:
        return "nothing judged yet"
    # At 100 % nobody is left to compare with; what was compared on the way has passed already.
    asked = [finding for finding in world.findings if candidate.weight < _ALL or not finding.needs_stable]
    for verdict in (Verdict.FAIL, Verdict.ERROR, Verdict.NO_DATA):
        for finding in asked:
            if finding.verdict is verdict:
                return f"{finding.source} is {verdict.value}: {finding.message}"
    if step.require == "Pass":
        for finding in asked:
            if finding.verdict is not Verdict.PASS:
                return f"{finding.source} is {finding.verdict.value}: {finding.message}"
    return ""
