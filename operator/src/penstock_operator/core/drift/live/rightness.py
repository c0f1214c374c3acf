"""How often a revision under watch is right: what is gathered for it, and when that is below what is asked for."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from math import log10, sqrt

from penstock_contract.feedback import FeedbackCounts
from penstock_operator.core.alarms import SignalClass
from penstock_operator.core.drift import performance
from penstock_operator.core.drift.live.episodes import Open
from penstock_operator.core.drift.live.words import share, span
from penstock_operator.core.drift.performance import Estimate, Estimator
from penstock_operator.core.drift.tally import Floats

ESTIMATED, LABELLED = "performance/estimated", "performance/labelled"
#: The estimate is over the answers of so many windows.
_WINDOWS = 16
#: So many labels are judged together.
LABELS = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class Demands:
    """What a policy asks for: accuracies at least, or a mean absolute error at most; None: nothing.

    ``budget_share`` of the policy's false alarms is for each of these.
    """

    estimated_min: float | None = None
    labelled_min: float | None = None
    absolute_error_max: float | None = None
    budget_share: float = 0.05


@dataclass(frozen=True, slots=True, kw_only=True)
class Rightness:
    """What is known so far.

    ``answers``: of the last windows, the counts in the bins of the probability. ``labels`` came since ``since`` and
    wait to be enough to judge; ``judged`` were judged last, ``total`` are all since the watch began.
    """

    since: float
    answers: tuple[Floats, ...] = ()
    estimate: Estimate | None = None
    labels: FeedbackCounts = field(default_factory=FeedbackCounts)
    judged: FeedbackCounts | None = None
    total: FeedbackCounts = field(default_factory=FeedbackCounts)

    def numbers(self, rows: int) -> dict[str, float]:
        """Return what status shows; ``rows`` were answered since the watch began."""
        shown: dict[str, float] = {}
        if self.estimate is not None:
            shown |= {"estimatedAccuracy": self.estimate.accuracy, "estimatedError": self.estimate.error}
        total = self.total
        if total.matched:
            shown |= {"labels": total.matched, "labelLagSeconds": total.lag_milliseconds / total.matched / 1000}
            if rows:
                shown["labelCoverage"] = min(1.0, total.matched / rows)
            if (accuracy := total.accuracy) is not None:
                shown["accuracy"] = accuracy
            else:
                shown["meanAbsoluteError"] = total.absolute_error / total.matched
                shown["rootMeanSquaredError"] = sqrt(max(total.squared_error, 0.0) / total.matched)
        return shown


def answered(
    known: Rightness, bins: Floats, estimator: Estimator, demands: Demands, *, level: float, now: float
) -> tuple[Rightness, list[Open]]:
    """Return what is known after one more window, and the alarm that the estimate is below what is asked for.

    ``level``: how likely a false alarm may be in one window, of which this has its share.
    """
    answers = (*known.answers, bins)[-_WINDOWS:]
    estimate = estimator.of(sum(answers[1:], answers[0]))
    known = replace(known, answers=answers, estimate=estimate)
    limit = demands.estimated_min
    if limit is None or estimate is None or estimate.accuracy >= limit:
        return known, []
    p, allowed = performance.below(estimate, limit), level * demands.budget_share
    if p > allowed:
        return known, []
    text = f"estimated accuracy {share(estimate.accuracy)} ± {share(estimate.error)} over {estimate.rows} rows"
    text += f", limit {share(limit)}; it assumes that probabilities mean what they meant"
    numbers = {"accuracy": estimate.accuracy, "error": estimate.error, "rows": float(estimate.rows), "limit": limit}
    return known, [_alarm(ESTIMATED, now, text, numbers, p=p, allowed=allowed)]


def told(
    known: Rightness, news: FeedbackCounts, demands: Demands, *, alarms_per_second: float, now: float
) -> tuple[Rightness, list[Open] | None]:
    """Return what is known after labels came, and the alarms that they raise; None while there are too few to judge.

    The budget of one judgement is that of the time in which its labels came.
    """
    labels = known.labels + news
    known = replace(known, labels=labels, total=known.total + news)
    if labels.matched < LABELS:
        return known, None
    allowed = min(0.5, max(now - known.since, 1.0) * alarms_per_second * demands.budget_share)
    return replace(known, labels=FeedbackCounts(), judged=labels, since=now), _labelled(labels, demands, allowed, now)


def _labelled(labels: FeedbackCounts, demands: Demands, allowed: float, now: float) -> list[Open]:
    found = performance.labelled(labels)
    lag = f"labels come after {span(labels.lag_milliseconds / labels.matched / 1000)}"
    if demands.labelled_min is not None and found is not None:
        limit = demands.labelled_min
        p = performance.fewer_right(round(found.accuracy * found.rows), found.rows, limit)
        if p <= allowed:
            text = f"accuracy {share(found.accuracy)} of {found.rows} labels, limit {share(limit)}; {lag}"
            numbers = {"accuracy": found.accuracy, "labels": float(found.rows), "limit": limit}
            return [_alarm(LABELLED, now, text, numbers, p=p, allowed=allowed)]
    if demands.absolute_error_max is not None and found is None:
        limit = demands.absolute_error_max
        p = performance.larger_error(labels, limit)
        if p <= allowed:
            mean = labels.absolute_error / labels.matched
            text = f"mean absolute error {mean:.3g} of {labels.matched} labels, limit {limit:g}; {lag}"
            numbers = {"meanAbsoluteError": mean, "labels": float(labels.matched), "limit": limit}
            return [_alarm(LABELLED, now, text, numbers, p=p, allowed=allowed)]
    return []


def _alarm(name: str, now: float, text: str, numbers: Mapping[str, float], *, p: float, allowed: float) -> Open:
    evidence = log10(allowed) - log10(max(p, 1e-300))
    return Open(
        signal=SignalClass.PERFORMANCE,
        name=name,
        since=now,
        message=text,
        evidence={**numbers, "p": p, "evidence": evidence},
    )
