"""The one sentence that tells a person on which numbers a verdict stands."""

from penstock_operator.core.judge import histogram
from penstock_operator.core.judge.judgement import ArmSummary, Judgement, Verdict
from penstock_operator.core.judge.latency import limit_edges, quantile_name
from penstock_operator.core.judge.metrics import (
    DisagreementAgainstLimit,
    ErrorRateAgainstLimit,
    ErrorRateAgainstStable,
    EvidenceMetric,
    LatencyAgainstLimit,
    LatencyAgainstStable,
    MeanAgainstLimit,
    MeanAgainstStable,
)
from penstock_operator.core.judge.state import EvidenceState


def sentence(metric: EvidenceMetric, state: EvidenceState, judgement: Judgement) -> str:
    """Return the numbers of a Pass, Fail or Undecided, such as "3.1% of 1240 against 0.4% of 11160 (…)"."""
    match metric:
        case ErrorRateAgainstStable():
            seen = f"{_share(judgement.candidate)} against {_share(judgement.stable)}"
        case ErrorRateAgainstLimit():
            seen = f"{_share(judgement.candidate)}, limit {percent(metric.limit)}"
        case LatencyAgainstStable():
            quantile = quantile_name(metric.quantile)
            seen = f"{quantile} {_time(judgement.candidate)} against {_time(judgement.stable)}"
            if not state.comparisons:
                needed = histogram.requests_to_choose(metric.quantile)
                known = sum(state.stable.latency)
                return f"{seen} (learning where the stable's {quantile} lies: {known} of {needed} requests)"
        case LatencyAgainstLimit():
            seen = _against_latency_limit(metric, state, judgement)
        case DisagreementAgainstLimit():
            seen = f"{_share(judgement.candidate)} answered otherwise, limit {percent(metric.limit)}"
        case MeanAgainstStable():
            seen = f"mean {_mean(judgement.candidate)} against {_mean(judgement.stable)}"
        case MeanAgainstLimit():
            seconds = metric.unit == "seconds"
            limit = duration(metric.limit) if seconds else f"{metric.limit:.4g}"
            at = "at least" if metric.higher_is_better else "at most"
            seen = f"mean {_mean(judgement.candidate, seconds=seconds)}, limit {at} {limit}"
    return f"{seen} ({_evidence(judgement)})"


def percent(share: float) -> str:
    """Return a share of requests in percent, with at least two digits that say something.

    >>> percent(0.0312), percent(0.123), percent(0.00009), percent(0.0)
    ('3.1%', '12.3%', '0.009%', '0%')
    """
    points = share * 100
    text = f"{points:.1f}" if points >= 1 else f"{points:.2g}"
    return f"{text.removesuffix('.0')}%"


def duration(seconds: float) -> str:
    """Return a duration in the unit in which people say it.

    >>> duration(0.05), duration(0.00084), duration(2.5)
    ('50 ms', '0.84 ms', '2.5 s')
    """
    return f"{seconds:.3g} s" if seconds >= 1 else f"{seconds * 1000:.3g} ms"


def _against_latency_limit(metric: LatencyAgainstLimit, state: EvidenceState, judgement: Judgement) -> str:
    upper, lower = limit_edges(metric, state.le)
    slower = histogram.above(state.candidate.latency, upper) / max(1, sum(state.candidate.latency))
    seen = (
        f"{quantile_name(metric.quantile)} {_time(judgement.candidate)}, limit {duration(metric.limit_seconds)}: "
        f"{percent(slower)} took longer than {duration(state.le[upper])} where {percent(1 - metric.quantile)} may"
    )
    if upper == lower:
        return seen
    below = "0 ms" if lower is None else duration(state.le[lower])
    return f"{seen}; the limit is no edge of the histogram, so a pass is judged at {below}"


def _evidence(judgement: Judgement) -> str:
    against, in_favour = _number(judgement.evidence), _number(judgement.acceptance)
    limit, accept = _number(judgement.limit), _number(judgement.acceptance_limit)
    match judgement.verdict:
        case Verdict.FAIL:
            return f"evidence {against} {_relation(against, limit)} {limit}"
        case Verdict.PASS:
            return f"acceptance {in_favour} {_relation(in_favour, accept)} {accept}"
        case _:
            return f"evidence {against} of {limit}, acceptance {in_favour} of {accept}"


def _relation(number: str, limit: str) -> str:
    return "=" if number == limit else ">"


def _number(value: float) -> str:
    if value >= 1e6:  # noqa: PLR2004 - beyond it nobody counts digits
        return f"{value:.1e}".replace("e+0", "e").replace("e+", "e")
    return f"{value:.0f}" if value >= 100 else f"{value:.2g}"  # noqa: PLR2004


def _share(arm: ArmSummary | None) -> str:
    return "nothing" if arm is None else f"{percent(arm.value)} of {arm.n}"


def _mean(arm: ArmSummary | None, *, seconds: bool = False) -> str:
    if arm is None:
        return "nothing"
    return f"{duration(arm.value) if seconds else f'{arm.value:.4g}'} of {arm.n} readings"


def _time(arm: ArmSummary | None) -> str:
    return "nothing" if arm is None else f"{duration(arm.value)} of {arm.n}"
