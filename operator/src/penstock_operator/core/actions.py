"""What follows the alarms of a policy: the first action that fits, once for each alarm, as far as it may."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from penstock_operator.api.v1alpha1.drift_policy import Action, DriftPolicySpec
from penstock_operator.core import retirement
from penstock_operator.core.action_state import (
    ALARMS_MAX,
    HISTORY_MAX,
    ActionState,
    AlarmState,
    Deed,
    Done,
    Standing,
    Training,
    key_of,
)
from penstock_operator.core.alarms import Alarm, SignalClass
from penstock_operator.core.mute import Silence
from penstock_operator.core.plan import EventRecord
from penstock_operator.core.retirement import Retired
from penstock_operator.core.retraining import objection, training_of

#: An alarm that ended is told as ended for so long, and then forgotten.
ENDED_SECONDS = 900.0
_STANDING_ORDER = (Standing.FIRING, Standing.ACKNOWLEDGED, Standing.PENDING, Standing.ENDED)
_EVENTS = {
    SignalClass.METRICS: "PolicyBreached",
    SignalClass.INPUTS: "InputDrift",
    SignalClass.OUTPUTS: "OutputDrift",
    SignalClass.CORRELATION: "CorrelationDrift",
    SignalClass.CONTRIBUTION: "ContributionDrift",
    SignalClass.DATA_QUALITY: "DataQualityBreached",
    SignalClass.PERFORMANCE: "PerformanceBreached",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """What is known when it is decided what to do.

    ``alarms`` are all that stand now, after a restart too. ``identity`` is the policy's uid.
    """

    now: float
    identity: str
    alarms: tuple[Alarm, ...]
    silence: Silence | None = None
    around: retirement.Surroundings = field(default_factory=retirement.Surroundings)


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """What a policy remembers from now on, what it has to say, and what was decided just now."""

    state: ActionState
    events: tuple[EventRecord, ...] = ()
    news: tuple[Done, ...] = ()


def decide(spec: DriftPolicySpec, state: ActionState, look: Look) -> Decision:
    """Return what follows from the alarms that stand now.

    Nothing follows twice from one alarm, however often it is asked. A rollback or a pause lasts as long as its alarm
    and is not held up by anything; a training waits for what ``retraining.objection`` names, a retirement for what
    ``retirement.objection`` does; an alert waits for the end of a mute.
    """
    before = {entry.key: entry for entry in state.alarms}
    present = {key_of(alarm): alarm for alarm in look.alarms}
    entries = [_seen(before.get(key), alarm, spec, look.now) for key, alarm in present.items()]
    entries += [_unseen(entry, look.now) for key, entry in before.items() if key not in present]
    kept = _bounded([entry for entry in entries if not _over(entry, look.now)])
    retired = retirement.lasting(state.retired, look.around)
    turn = _Turn(spec=spec, look=look, trainings=state.trainings, retired=retired)
    alarms = tuple(turn.follow(entry, kept) for entry in kept)
    return Decision(
        state=replace(
            state,
            alarms=alarms,
            trainings=turn.trainings,
            retired=turn.retired,
            history=(*reversed(turn.news), *state.history)[:HISTORY_MAX],
            omitted=max(0, sum(not _over(entry, look.now) for entry in entries) - len(kept)),
        ),
        events=_events(turn.news),
        news=tuple(turn.news),
    )


def action_for(actions: Sequence[Action], alarm: Alarm) -> Action | None:
    """Return the first action that names the alarm's signal class and whose condition holds."""
    return next(
        (
            action
            for action in actions
            if alarm.signal.value in action.signals and (action.when == "Always" or alarm.attributable)
        ),
        None,
    )


def is_confirmed(action: Action | None, alarm: Alarm) -> bool:
    """Return whether an alarm was seen in as many of its last windows as the action asks for."""
    if action is None or action.confirm is None:
        return True
    return alarm.seen[-action.confirm.of :].count("1") >= action.confirm.windows


class _Turn:
    """One look: collects what is decided, because a training that one alarm begins holds up that of the next."""

    def __init__(
        self,
        *,
        spec: DriftPolicySpec,
        look: Look,
        trainings: tuple[Training, ...],
        retired: tuple[Retired, ...],
    ) -> None:
        self._spec = spec
        self._look = look
        self.trainings = trainings
        self.retired = retired
        self.news: list[Done] = []

    def follow(self, entry: AlarmState, others: Sequence[AlarmState]) -> AlarmState:
        """Return the alarm with what follows from it now."""
        action = action_for(self._spec.actions, entry.alarm)
        if entry.rehearsed and not self._spec.dry_run:
            entry = replace(entry, deeds=(), rehearsed=False)  # from now on it is meant
        if entry.standing not in (Standing.FIRING, Standing.ACKNOWLEDGED) or action is None:
            return replace(entry, held="") if entry.held else entry
        wanted = [deed for deed in Deed if deed.value in action.do and deed not in entry.deeds]
        held: list[str] = []
        begun: list[Deed] = []
        for deed in wanted:
            if (why := self._obstacle(deed, entry, others)) is None:
                begun.append(deed)
                self._begin(deed, entry)
            elif why:
                held.append(f"{deed.value} waits: {why}")
        rehearsed = entry.rehearsed or bool(begun and self._spec.dry_run)
        return replace(entry, deeds=(*entry.deeds, *begun), held="; ".join(held), rehearsed=rehearsed)

    def _obstacle(self, deed: Deed, entry: AlarmState, others: Sequence[AlarmState]) -> str | None:
        """Return why a deed must wait, empty where it is not to be done at all, None where it may be done."""
        if deed in (Deed.ROLLBACK, Deed.PAUSE):
            return None if entry.alarm.attributable else ""
        if entry.standing is Standing.ACKNOWLEDGED:
            return ""
        if self._look.silence is not None:
            return self._look.silence.message
        if deed is Deed.RETIRE:
            return retirement.objection(self._spec, entry.alarm, self.retired, self._look.around)
        if deed is Deed.RETRAIN:
            if self._spec.retrain is None:
                return "spec.retrain says nothing about how"
            return objection(self._spec.retrain, self.trainings, entry, others, now=self._look.now)
        return None

    def _begin(self, deed: Deed, entry: AlarmState) -> None:
        if deed is Deed.RETRAIN and not self._spec.dry_run:
            begun = training_of(entry.alarm, identity=self._look.identity, now=self._look.now)
            self.trainings = (begun, *self.trainings)
        if deed is Deed.RETIRE and not self._spec.dry_run:
            self.retired = (*self.retired, retirement.retirement_of(entry.alarm, now=self._look.now))
        self.news.append(Done(deed=deed, at=self._look.now, alarm=entry.alarm, dry_run=self._spec.dry_run))


def _seen(before: AlarmState | None, alarm: Alarm, spec: DriftPolicySpec, now: float) -> AlarmState:
    """Return an alarm that stands, as it is now."""
    confirmed = is_confirmed(action_for(spec.actions, alarm), alarm)
    if before is None or before.standing is Standing.ENDED:
        standing = Standing.FIRING if confirmed else Standing.PENDING
        # One that comes back within its time is the same alarm: what followed from it has followed.
        deeds = before.deeds if before else ()
        rehearsed = before is not None and before.rehearsed
        return AlarmState(alarm=alarm, standing=standing, changed_at=now, deeds=deeds, rehearsed=rehearsed)
    alarm = replace(alarm, since=min(alarm.since, before.alarm.since))
    if before.standing is Standing.PENDING and confirmed:
        return replace(before, alarm=alarm, standing=Standing.FIRING, changed_at=now)
    return replace(before, alarm=alarm)


def _unseen(entry: AlarmState, now: float) -> AlarmState:
    """Return an alarm that is not among those that stand."""
    if not entry.stands:
        return entry
    return replace(entry, standing=Standing.ENDED, changed_at=now, held="")


def _over(entry: AlarmState, now: float) -> bool:
    """Return whether an alarm that ended has been told for long enough; one of which nobody heard at once."""
    if entry.stands:
        return False
    return Deed.ALERT not in entry.deeds or now - entry.changed_at >= ENDED_SECONDS


def _bounded(entries: Sequence[AlarmState]) -> list[AlarmState]:
    """Return those that there is room for, the worst first; what was begun is not forgotten for something new."""
    return sorted(sorted(entries, key=lambda entry: (not entry.deeds, _rank(entry)))[:ALARMS_MAX], key=_rank)


def _rank(entry: AlarmState) -> tuple[int, int, float, str, str]:
    alarm = entry.alarm
    standing, kind = _STANDING_ORDER.index(entry.standing), list(SignalClass).index(alarm.signal)
    return standing, kind, alarm.since, alarm.name, alarm.window_id


def _events(news: Sequence[Done]) -> tuple[EventRecord, ...]:
    """Return an Event for each alarm from which something follows, with all that does."""
    by_alarm: dict[tuple[str, str, str], list[Done]] = {}
    for done in news:
        by_alarm.setdefault(key_of(done.alarm), []).append(done)
    return tuple(event for deeds in by_alarm.values() if (event := _event(deeds)) is not None)


def _event(deeds: Sequence[Done]) -> EventRecord | None:
    """Return what is told: nothing where nobody is to be alerted, but a training that begins is news all the same."""
    alarm = deeds[0].alarm
    about = f"{alarm.revision or alarm.model_deployment}: {alarm.name}: {alarm.message}"
    names = ", ".join(done.deed.value for done in deeds)
    if deeds[0].dry_run:
        return EventRecord(type="Normal", reason="DryRun", message=f"{names} would follow: {about}")
    begun = {done.deed for done in deeds}
    if Deed.ALERT in begun:
        return EventRecord(type="Warning", reason=_EVENTS[alarm.signal], message=f"{about} ({names})")
    if Deed.RETIRE in begun:
        return EventRecord(type="Warning", reason="RevisionRetired", message=f"{about} ({names})")
    if Deed.RETRAIN in begun:
        return EventRecord(type="Normal", reason="TrainingAsked", message=about)
    return None
