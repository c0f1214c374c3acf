"""What a policy knows of one revision under watch at one moment, with the alarms that follow from it."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from penstock_operator.core.alarms import Alarm, SignalClass
from penstock_operator.core.conditions import Reason
from penstock_operator.core.drift.engine import Judge
from penstock_operator.core.drift.live import mmd, words
from penstock_operator.core.drift.live.against import Source
from penstock_operator.core.drift.live.episodes import Open
from penstock_operator.core.drift.live.limits import Limits
from penstock_operator.core.drift.live.paired import LOOK_BACK
from penstock_operator.core.drift.live.state import COVERAGE_MIN, Watch
from penstock_operator.core.watched import Role, Watched

_NAMES_TOLD = 3
_REFERENCES = {
    Source.PROFILE: "a reference of {rows}",
    Source.STABLE: "the stable revision's rows of the same time, {rows} for the last window",
    Source.FIRST_ROWS: "the first {rows} rows, which are kept",
    Source.WINDOW: "the {rows} rows of spec.drift.window, which are kept",
}
_OF_PROFILE = "make a profile of {rows} rows"
#: What makes a reference larger.
_FIXES = {
    Source.FIRST_ROWS: "write {rows} into spec.drift.firstRows.rows",
    Source.WINDOW: "name a window with {rows} rows",
}
#: What a revision itself makes of the same traffic as others; the rest comes from outside.
_OWN = frozenset({SignalClass.OUTPUTS, SignalClass.PERFORMANCE})


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """Why a revision cannot be judged."""

    reason: Reason
    message: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Sight:
    """One revision: what is known of its traffic, what it is compared with, and why it cannot be judged if so."""

    watched: Watched
    watch: Watch
    limits: Limits
    judge: Judge | None = None
    problem: Problem | None = None

    @property
    def state(self) -> Problem:
        """Whether it is judged, and how that goes; the reason is ``Watching`` where all is well."""
        if self.problem is not None:
            return self.problem
        if self.judge is None:
            return Problem(reason=Reason.COLLECTING_ROWS, message="its pods have not been asked yet")
        watch, judge = self.watch, self.judge
        if watch.coverage < COVERAGE_MIN:
            return Problem(reason=Reason.PARTIAL_COVERAGE, message=uncovered(watch))
        if watch.refused:
            return Problem(reason=Reason.COUNTS_REFUSED, message=watch.refused[0])
        notes = "; ".join(
            [
                _pace(watch, judge, self.limits),
                *_shortened(judge, self.limits),
                *_dull(judge),
                *mmd.blind(judge, self.limits),
            ]
        )
        if not watch.columns:
            text = f"{watch.waiting} of {judge.window_rows} rows that a window needs; {notes}"
            return Problem(reason=Reason.COLLECTING_ROWS, message=text)
        return Problem(reason=Reason.WATCHING, message=notes)


def _pace(watch: Watch, judge: Judge, limits: Limits) -> str:
    block = LOOK_BACK if limits.against.source is Source.STABLE else judge.block
    text = f"windows of {judge.window_rows} rows, looking back over at most {block}, against "
    text += _REFERENCES[limits.against.source].format(rows=int(judge.reference.rows[0]))
    usual = watch.volume.usual
    if watch.window_seconds is not None:
        return f"{text}; one takes about {words.span(watch.window_seconds)}"
    if usual:
        return f"{text}; one will take about {words.span(judge.window_rows / usual)} at {words.rate(usual)}"
    return text


def uncovered(watch: Watch) -> str:
    """Return why nothing is judged where too few pods could be read, or believed."""
    text = f"only {watch.coverage:.0%} of its ready pods could be read, and nothing is judged below {COVERAGE_MIN:.0%}"
    return f"{text}: {watch.refused[0]}" if watch.refused else text


def _shortened(judge: Judge, limits: Limits) -> list[str]:
    if judge.window_rows >= limits.window_rows:
        return []
    wanted = limits.window_rows
    text = f"spec.windowRows is {wanted}, and a window may have a tenth of the reference's rows"
    return [f"{text}: {_FIXES.get(limits.against.source, _OF_PROFILE).format(rows=10 * wanted)}"]


def _dull(judge: Judge) -> list[str]:
    """Return which columns the reference says nothing about; others are judged all the same."""
    bins = (judge.reference.bins[0] > 0).sum(axis=-1).tolist()
    names = [column.name for column, used in zip(judge.frame.columns, bins, strict=True) if used <= 1]
    if not names:
        return []
    told = ", ".join(words.short(name) for name in names[:_NAMES_TOLD])
    more = f" and {len(names) - _NAMES_TOLD} more" if len(names) > _NAMES_TOLD else ""
    return [f"constant or without values in the reference: {told}{more}"]


def alarms_of(sights: Sequence[Sight]) -> tuple[Alarm, ...]:
    """Return the alarms that go on.

    A candidate is to blame for what it answers where the stable revision, on the same traffic, was judged meanwhile
    and has no alarm of the same class. Inputs hit every revision.
    """
    stable = {
        (one.watched.endpoint, one.watched.segment): one.watch for one in sights if one.watched.role is Role.STABLE
    }
    return tuple(
        Alarm(
            signal=one.signal,
            name=words.named(one.name, sight.watched.segment),
            model_deployment=sight.watched.model_deployment,
            revision=sight.watched.revision,
            window_id=one.window_id,
            since=one.since,
            message=words.told(one.message, sight.watched.segment),
            evidence=one.evidence,
            attributable=_to_blame(one, sight, stable),
            seen=one.seen,
        )
        for sight in sights
        for one in sight.watch.open.values()
    )


def _to_blame(one: Open, sight: Sight, stable: Mapping[tuple[str, str], Watch]) -> bool:
    other = stable.get((sight.watched.endpoint, sight.watched.segment))
    if _is_beside_stable(one, sight):
        return True
    if sight.watched.role is not Role.CANDIDATE or one.signal not in _OWN or other is None:
        return False
    return bool(other.columns) and other.coverage >= COVERAGE_MIN and not _has(other.open.values(), one.signal)


def _is_beside_stable(one: Open, sight: Sight) -> bool:
    """Return whether it was the comparison with the stable, on the same traffic, that found it."""
    return sight.limits.against.source is Source.STABLE and one.signal is SignalClass.OUTPUTS


def _has(alarms: Iterable[Open], signal: SignalClass) -> bool:
    return any(one.signal is signal for one in alarms)
