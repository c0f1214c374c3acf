"""Judges the revisions of a split that are on trial, and remembers between two ticks what was found."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from penstock_operator.core.comparison import Tolerance
from penstock_operator.core.judge.counts import Reading, Shadowed, Tick
from penstock_operator.core.objects import ObjectRef
from penstock_operator.core.phases import ON_TRIAL
from penstock_operator.core.questions import Occasion, questions_of
from penstock_operator.core.rollout_state import Rollout
from penstock_operator.core.trial import Trial, judge_trial, tick_of, unjudged_trial
from penstock_operator.core.watch import TRIAL_SHARE, judge_watch
from penstock_operator.reconcile.comparing import Comparing
from penstock_operator.reconcile.measuring import Measuring
from penstock_operator.reconcile.sampling import SplitTick
from penstock_operator.reconcile.split_look import Look

_ALL = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class _Subject:
    """One revision to judge. ``against`` is the revision whose requests are compared with."""

    revision: str
    against: str
    seen: bool
    """Whether requests reach it at the weight that is meant."""
    alone: bool
    """Whether it has all requests, so that nobody is left to compare with."""
    watched: bool = False
    """Whether it was promoted, and the revision that it is held to has no requests any more."""
    weighed: bool = True
    """Whether requests are spread to it; else copies, or requests that a header sends, are all there is."""
    shadowed: Shadowed | None = None
    """What its answers to copies have shown since the last tick."""


class Trials:
    """The trials of all splits. What is here is lost with the process; status holds what must not be."""

    def __init__(self, comparing: Comparing, measuring: Measuring) -> None:
        self._comparing = comparing
        self._measuring = measuring
        self._kept: dict[tuple[ObjectRef, str], Trial] = {}

    def judge(self, ref: ObjectRef, look: Look, ticks: Sequence[SplitTick]) -> dict[str, Trial]:
        """Judge what is new; between two ticks the last findings stand. Returns a trial for each revision."""
        if not look.spec.policies:
            return {}
        # Each may use its share of the false alarms, however few are left: the others used theirs.
        share = 1 / max(1, len(look.spec.candidates))
        compared = self._compared(ref, look) if ticks else {}
        subjects = [replace(one, shadowed=compared.get(one.revision)) for one in _subjects(look)]
        self._measuring.forget(ref, but=[subject.revision for subject in subjects])
        return {subject.revision: self._judge(ref, look, subject, ticks, share) for subject in subjects}

    def forget(self, ref: ObjectRef) -> None:
        """Drop what is kept of a split."""
        self._comparing.forget(ref)
        self._measuring.forget(ref)
        self._kept = {key: trial for key, trial in self._kept.items() if key[0] != ref}

    def forget_moved(self, ref: ObjectRef, before: Rollout, after: Rollout) -> None:
        """Drop the findings about what is at another step now: a new weight is judged on what happens there."""
        places = {candidate.revision: (candidate.step, candidate.weight) for candidate in after.candidates}
        for candidate in before.candidates:
            if places.get(candidate.revision) != (candidate.step, candidate.weight):
                self._kept.pop((ref, candidate.revision), None)
        if before.watch is not None and after.watch is None and before.stable is not None:
            self._kept.pop((ref, before.stable), None)
        if on_trial(before) and not on_trial(after):
            self._measuring.forget(ref)

    def _compared(self, ref: ObjectRef, look: Look) -> dict[str, Shadowed]:
        """Return what the answers to copies have shown since the last tick, by candidate."""
        rollout, shadow = look.rollout, look.spec.shadow
        shadows = [one.revision for one in rollout.candidates if one.phase in ON_TRIAL and one.weight == 0]
        if shadow is None or not shadow.compare_outputs or rollout.stable is None or not shadows:
            self._comparing.forget(ref)
            return {}
        tolerance = Tolerance.parse(shadow.tolerance)
        found = self._comparing.take(ref, stable=rollout.stable, shadows=shadows, tolerance=tolerance)
        told = {revision: comparison.shadowed for revision, comparison in found.items()}
        return {revision: shadowed for revision, shadowed in told.items() if shadowed is not None}

    def _judge(self, ref: ObjectRef, look: Look, subject: _Subject, ticks: Sequence[SplitTick], share: float) -> Trial:
        revision, key = subject.revision, (ref, subject.revision)
        before = self._kept.get(key)
        # The status may be behind when it could not be written.
        evidence = before.evidence if before else evidence_of(look.status).get(revision, {})
        told = analysis_of(look.status).get(revision, ())
        news = _ticks(subject, ticks) if subject.seen else []
        readings = self._readings(ref, look, subject) if subject.seen else {}
        if subject.watched:
            judged = judge_watch(
                look.policies, evidence, revision=revision, ticks=news, analysis=told, readings=readings
            )
        else:
            judged = judge_trial(
                look.policies,
                evidence,
                candidate=revision,
                ticks=news,
                alone_after=told if subject.alone else None,
                budget_share=share * (TRIAL_SHARE if look.tactics.watch_seconds else 1),
                readings=readings,
            )
        if judged is not None:
            judged = replace(judged, analysis=tuple({**entry, "revision": revision} for entry in judged.analysis))
            self._kept[key] = judged
            return judged
        if before is not None:
            return before
        # After a restart the evidence so far is in status; findings come with the next tick.
        return Trial(findings=unjudged_trial(look.policies), analysis=tuple(told), evidence=dict(evidence))

    def _readings(self, ref: ObjectRef, look: Look, subject: _Subject) -> dict[str, Reading]:
        """Return what Prometheus and the web said last about a revision; asks them anew where that is due."""
        asked = questions_of(
            look.policies,
            namespace=look.namespace,
            split=look.name,
            stable=subject.against,
            candidate=subject.revision,
            occasion=_occasion(look, subject),
        )
        if subject.watched:
            # Nobody asks what a revision without requests does.
            asked = [replace(one, stable=None) for one in asked]
        return self._measuring.readings(ref, subject.revision, asked)


def _occasion(look: Look, subject: _Subject) -> Occasion | None:
    """Return what a Job is made for: the step that a candidate is at; a promoted revision is at none."""
    at = next((one for one in look.rollout.candidates if one.revision == subject.revision), None)
    if at is None or subject.watched:
        return None
    uid = str(look.manifest["metadata"].get("uid", ""))
    return Occasion(split=look.name, uid=uid, revision=subject.revision, step=f"{at.started_at:.3f}/{at.step}")


def on_trial(rollout: Rollout) -> bool:
    """Return whether there is anything to judge."""
    return rollout.watch is not None or any(candidate.phase in ON_TRIAL for candidate in rollout.candidates)


def _subjects(look: Look) -> Iterator[_Subject]:
    rollout = look.rollout
    if rollout.stable is None:
        return
    for candidate in rollout.candidates:
        if candidate.phase in ON_TRIAL:
            yield _Subject(
                revision=candidate.revision,
                against=rollout.stable,
                # Without an acknowledgement the weight of this step is not everywhere yet.
                seen=candidate.step_started_at is not None and look.tactics.reaches(candidate.name, candidate.weight),
                alone=candidate.weight == _ALL,
                weighed=candidate.weight > 0,
            )
    if rollout.watch is not None:
        yield _Subject(revision=rollout.stable, against=rollout.watch.revision, seen=True, alone=True, watched=True)


def _ticks(subject: _Subject, ticks: Sequence[SplitTick]) -> list[Tick]:
    """Return the ticks in the judge's terms; what was compared belongs to the last one."""
    return [
        tick_of(
            tick.at,
            tick.counts if subject.weighed else tick.without_weight(subject.revision),
            stable=subject.against,
            candidate=subject.revision,
            shadowed=subject.shadowed if tick is ticks[-1] else None,
        )
        for tick in ticks
    ]


def evidence_of(status: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    """Return the judge's running sums by revision."""
    told: Mapping[str, Any] = status.get("evidence", {})
    if isinstance(told.get("revision"), str):
        return {told["revision"]: told}  # as it was written while there was one candidate only
    return {revision: sums for revision, sums in told.items() if isinstance(sums, Mapping)}


def analysis_of(status: Mapping[str, Any]) -> dict[str, tuple[dict[str, Any], ...]]:
    """Return what every metric says, by revision."""
    entries: Sequence[Mapping[str, Any]] = status.get("candidates") or status.get("history") or ({},)
    only = entries[0].get("revision", "")
    found: dict[str, tuple[dict[str, Any], ...]] = {}
    for entry in status.get("analysis", ()):
        revision = entry.get("revision", only)
        found[revision] = (*found.get(revision, ()), entry)
    return found
