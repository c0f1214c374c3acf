"""How often a revision under watch is right: what is gathered for it, and when that is below what is asked for."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from math import log10, sqrt

from penstock_contract.feedback import FeedbackCounts
from penstock_operator.core.alarms import SignalClass
from penstock_operator.core.drift import performance, roc
from penstock_operator.core.drift.live.episodes import Open
from penstock_operator.core.drift.live.words import share, span
from penstock_operator.core.drift.performance import Estimate, Estimator
from penstock_operator.core.drift.roc import area_of
from penstock_operator.core.drift.tally import Floats

ESTIMATED, LABELLED = "performance/estimated", "performance/labelled"
#: The estimate is over the answers of so many windows.
_WINDOWS = 16
#: So many labels are judged together.
LABELS = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class Demands:
    """What a policy asks for: accuracies or the area under the ROC curve at least, or errors at most; None: nothing.

    ``budget_share`` of the policy's false alarms is for each of these. ``drop_max``: how much less accurate than the
    stable revision a candidate may be; ``per_rollout``: how likely it may be taken for worse although it is not.
    """

    estimated_min: float | None = None
    labelled_min: float | None = None
    area_min: float | None = None
    absolute_error_max: float | None = None
    square_error_max: float | None = None
    drop_max: float | None = None
    per_rollout: float = 0.01
    budget_share: float = 0.05

    @property
    def of_tests(self) -> float:
        """The share of the policy's budget that is not for these."""
        asked = (self.estimated_min, self.labelled_min, self.area_min, self.absolute_error_max, self.square_error_max)
        return 1 - self.budget_share * sum(one is not None for one in asked)


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
            if (area := area_of(total.scores)) is not None:
                shown |= {"rocAUC": area.area, "rocAUCError": area.error}
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
    found = _said_of_classes(labels, demands) if labels.accuracy is not None else _said_of_numbers(labels, demands)
    if found is None or found.p > allowed:
        return []
    lag = f"labels come after {span(labels.lag_milliseconds / labels.matched / 1000)}"
    return [_alarm(LABELLED, now, f"{found.text}; {lag}", found.numbers, p=found.p, allowed=allowed)]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Said:
    """What labels say of one demand, and how likely that is if it is just met."""

    p: float
    text: str
    numbers: Mapping[str, float]


def _said_of_classes(labels: FeedbackCounts, demands: Demands) -> _Said | None:
    found, area = performance.labelled(labels), area_of(labels.scores)
    if demands.labelled_min is not None and found is not None:
        limit = demands.labelled_min
        return _Said(
            p=performance.fewer_right(round(found.accuracy * found.rows), found.rows, limit),
            text=f"accuracy {share(found.accuracy)} of {found.rows} labels, limit {share(limit)}",
            numbers={"accuracy": found.accuracy, "labels": float(found.rows), "limit": limit},
        )
    if demands.area_min is not None and area is not None:
        limit, rows = demands.area_min, area.positive + area.negative
        text = f"ROC AUC {area.area:.3f} ± {area.error:.3f} of {rows} labels, {area.positive} of them positive, "
        return _Said(
            p=roc.below(area, limit),
            text=f"{text}limit {limit:g}; from scores in bins, which is at most {area.binning:.1g} off",
            numbers={"rocAUC": area.area, "error": area.error, "labels": float(rows), "limit": limit},
        )
    return None


def _said_of_numbers(labels: FeedbackCounts, demands: Demands) -> _Said | None:
    rows = float(labels.matched)
    if (limit := demands.absolute_error_max) is not None:
        mean = labels.absolute_error / rows
        return _Said(
            p=performance.larger_error(labels, limit),
            text=f"mean absolute error {mean:.3g} of {labels.matched} labels, limit {limit:g}",
            numbers={"meanAbsoluteError": mean, "labels": rows, "limit": limit},
        )
    if (limit := demands.square_error_max) is not None:
        root = sqrt(max(labels.squared_error, 0.0) / rows)
        return _Said(
            p=performance.larger_square_error(labels, limit),
            text=f"root mean squared error {root:.3g} of {labels.matched} labels, limit {limit:g}",
            numbers={"rootMeanSquaredError": root, "labels": rows, "limit": limit},
        )
    return None


def _alarm(name: str, now: float, text: str, numbers: Mapping[str, float], *, p: float, allowed: float) -> Open:
    evidence = log10(allowed) - log10(max(p, 1e-300))
    return Open(
        signal=SignalClass.PERFORMANCE,
        name=name,
        since=now,
        message=text,
        evidence={**numbers, "p": p, "evidence": evidence},
    )
