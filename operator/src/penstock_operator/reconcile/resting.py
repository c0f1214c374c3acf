"""Judges the stable revisions of splits that have nothing under way, by the limits of their policies."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

from penstock_operator.core.conditions import timestamp
from penstock_operator.core.judge.counts import Reading
from penstock_operator.core.judge.judgement import Verdict
from penstock_operator.core.measurement import RevisionCounts
from penstock_operator.core.objects import ObjectRef
from penstock_operator.core.questions import questions_of
from penstock_operator.core.routes import LatencyCounts
from penstock_operator.core.steady import has_limits, judge_steady
from penstock_operator.core.trial import Trial, tick_of
from penstock_operator.reconcile.measuring import Measuring
from penstock_operator.reconcile.sampling import SplitTick
from penstock_operator.reconcile.split_look import Look
from penstock_operator.reconcile.split_trials import analysis_of, evidence_of

#: How often the routers are read for a split at rest.
STEADY_SECONDS = 30.0
#: As long as no verdict changes, status tells of it this often only: hundreds of splits at rest must stay quiet.
_SHOWN_SECONDS = 600.0
#: Verdicts other than Fail come and go where requests are few.
_NEWS_SECONDS = 120.0


@dataclass(slots=True, kw_only=True)
class _Kept:
    """What was found last, and what status was told of it."""

    revision: str
    trial: Trial
    shown: Trial
    shown_at: float


class Resting:
    """The steady states of all splits. Between two tellings up to ten minutes of evidence are in memory alone."""

    def __init__(self, measuring: Measuring, monotonic: Callable[[], float]) -> None:
        self._measuring = measuring
        self._monotonic = monotonic
        self._kept: dict[ObjectRef, _Kept] = {}

    def wants(self, look: Look) -> bool:
        """Return whether a split has nothing under way and policies with limits."""
        rollout = look.rollout
        busy = rollout.candidates or rollout.watch is not None or rollout.returning is not None
        return rollout.stable is not None and not busy and bool(look.weights) and has_limits(look.policies)

    def judge(self, ref: ObjectRef, look: Look, ticks: Sequence[SplitTick]) -> dict[str, Trial]:
        """Judge what is new of the stable revision; return what status shall tell."""
        stable = look.rollout.stable
        if stable is None:
            return {}
        kept = self._kept.get(ref)
        if kept is not None and kept.revision != stable:
            kept = None
        evidence = kept.trial.evidence if kept else evidence_of(look.status).get(stable, {})
        counts = merged([tick.counts[stable] for tick in ticks if stable in tick.counts])
        readings = self._readings(ref, look, stable)
        one = tick_of(ticks[-1].at, {stable: counts} if counts else {}, stable="", candidate=stable) if ticks else None
        trial = judge_steady(
            look.policies,
            evidence,
            revision=stable,
            ticks=[one] if one else [],
            tick_seconds=STEADY_SECONDS,
            readings=readings,
        )
        if trial is not None:
            before = kept.trial.analysis if kept else analysis_of(look.status).get(stable, ())
            trial = replace(trial, analysis=_dated(stable, trial.analysis, before, ticks[-1].at))
            kept = self._told(stable, trial, kept)
            self._kept[ref] = kept
        return {stable: kept.shown} if kept else {}

    def forget(self, ref: ObjectRef) -> None:
        """Drop what is kept of a split that is gone or has something under way."""
        if self._kept.pop(ref, None) is not None:
            self._measuring.forget(ref)

    def _told(self, stable: str, trial: Trial, kept: _Kept | None) -> _Kept:
        now = self._monotonic()
        if kept is not None and now - kept.shown_at < _silence_seconds(kept.shown, trial):
            return _Kept(revision=stable, trial=trial, shown=kept.shown, shown_at=kept.shown_at)
        return _Kept(revision=stable, trial=trial, shown=trial, shown_at=now)

    def _readings(self, ref: ObjectRef, look: Look, stable: str) -> dict[str, Reading]:
        asked = questions_of(look.policies, namespace=look.namespace, split=look.name, stable=stable, candidate=stable)
        return self._measuring.readings(ref, stable, [one for one in asked if one.stable is None])


def merged(parts: Sequence[RevisionCounts]) -> RevisionCounts | None:
    """Return several ticks as one: the detector counts looks, however often others made the routers be read."""
    if not parts:
        return None
    same = all(one.latency.le == other.latency.le for one, other in pairwise(parts))
    latency = (
        LatencyCounts(
            le=parts[-1].latency.le,
            counts=tuple(sum(column) for column in zip(*(part.latency.counts for part in parts), strict=True)),
        )
        if same
        else parts[-1].latency
    )
    return replace(
        parts[-1],
        requests=sum(part.requests for part in parts),
        errors=sum(part.errors for part in parts),
        latency=latency,
    )


def _dated(
    stable: str, analysis: Sequence[Mapping[str, Any]], before: Sequence[Mapping[str, Any]], at: float
) -> tuple[dict[str, Any], ...]:
    """Return the analysis with the moment since when each metric that fails does: by it an alarm is known again."""
    since = {(one["policy"], one["metric"]): one["since"] for one in before if "since" in one}
    return tuple(
        {
            **entry,
            "revision": stable,
            **(
                {"since": since.get((entry["policy"], entry["metric"]), timestamp(at))}
                if entry["verdict"] == Verdict.FAIL
                else {}
            ),
        }
        for entry in analysis
    )


def _silence_seconds(shown: Trial, trial: Trial) -> float:
    """Return for how long status need not hear of a trial: an alarm is told at once, little traffic is no news."""
    before, now = _verdicts(shown), _verdicts(trial)
    if [verdict == Verdict.FAIL for *_, verdict in before] != [verdict == Verdict.FAIL for *_, verdict in now]:
        return 0.0
    if before != now and all(verdict == Verdict.NO_DATA for *_, verdict in before):
        return 0.0  # the first word
    return _SHOWN_SECONDS if before == now else _NEWS_SECONDS


def _verdicts(trial: Trial) -> list[tuple[str, str, str]]:
    return [(entry["policy"], entry["metric"], entry["verdict"]) for entry in trial.analysis]
