"""Verdicts: one tick and the evidence so far in, new evidence and a judgement out."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace

from penstock_operator.core.judge import error_rate, histogram, latency, mean, wording
from penstock_operator.core.judge.advance import evidence_against, evidence_for
from penstock_operator.core.judge.counts import ArmCounts, Reading, Tick
from penstock_operator.core.judge.eprocess import ACCEPTANCE_LIMIT, DISPLAY_MAX
from penstock_operator.core.judge.judgement import ArmSummary, Judgement, Verdict
from penstock_operator.core.judge.latency import CannotJudge
from penstock_operator.core.judge.metrics import (
    CountedMetric,
    DisagreementAgainstLimit,
    ErrorRateAgainstLimit,
    ErrorRateAgainstStable,
    EvidenceMetric,
    LatencyAgainstLimit,
    LatencyAgainstStable,
    MeanAgainstLimit,
    MeanAgainstStable,
    MeanMetric,
    Metric,
    OutcomeMetric,
    definition_of,
)
from penstock_operator.core.judge.state import ArmTotals, EvidenceRefused, EvidenceState

#: How much of the false-alarm budget a critical metric gets for each part that another one gets.
_CRITICAL_SHARE = 2.0
#: How long a source that has its own pace may be silent before it has no data.
_STANDS_SECONDS = 60.0
_NOT_COMPARED = (
    "no answers were compared; they need copies of requests: shadow: {percent: 20, compareOutputs: true} in the split"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Judged:
    """All metrics at one tick. ``states`` and ``judgements`` are by metric name."""

    states: Mapping[str, EvidenceState]
    judgements: Mapping[str, Judgement]


def evidence_limits(
    metrics: Sequence[Metric], *, false_alarms_per_rollout: float, dry_run: Collection[str] = ()
) -> dict[str, float]:
    """Return by metric name the evidence that fails it, so that all metrics together keep the budget.

    A metric with share s of the budget a has limit 1 / (s * a): by Ville's inequality and Boole's the chance that a
    healthy candidate ever fails any of them is at most a. Names must be unique. Those in ``dry_run`` act on nothing and
    use up nothing: their limit is the one that they would have if they joined the others.

    >>> evidence_limits([ErrorRateAgainstStable(name="errors")], false_alarms_per_rollout=0.05)
    {'errors': 20.0}
    """
    if not 0 < false_alarms_per_rollout < 1:
        raise ValueError(f"falseAlarms.perRollout must be above 0 and below 1, got {false_alarms_per_rollout}")
    parts = {metric.name: _CRITICAL_SHARE if metric.critical else 1.0 for metric in metrics}
    if len(parts) != len(metrics):
        raise ValueError("metric names must be unique")
    bought = {metric.name for metric in metrics if not isinstance(metric, OutcomeMetric)} - set(dry_run)
    acting = sum(part for name, part in parts.items() if name in bought)
    return {
        name: (acting if name in bought else sum(parts.values())) / (part * false_alarms_per_rollout)
        for name, part in parts.items()
    }


def judge_all(
    metrics: Sequence[Metric],
    states: Mapping[str, EvidenceState],
    tick: Tick,
    *,
    false_alarms_per_rollout: float,
    dry_run: Collection[str] = (),
) -> Judged:
    """Judge every metric at one tick; a metric without a state, or with that of another definition, begins afresh."""
    limits = evidence_limits(metrics, false_alarms_per_rollout=false_alarms_per_rollout, dry_run=dry_run)
    after: dict[str, EvidenceState] = {}
    judgements: dict[str, Judgement] = {}
    for metric in metrics:
        known = states.get(metric.name)
        state = known if known and known.definition == definition_of(metric) else EvidenceState.fresh(metric)
        after[metric.name], judgements[metric.name] = judge_tick(metric, state, tick, limit=limits[metric.name])
    return Judged(states=after, judgements=judgements)


def judge_tick(metric: Metric, state: EvidenceState, tick: Tick, *, limit: float) -> tuple[EvidenceState, Judgement]:
    """Return the evidence after one tick and what it says.

    - Fail: the evidence against the candidate is at least ``limit`` now.
    - Pass: it is below, and the evidence for the candidate is at least ACCEPTANCE_LIMIT.
    - NoData: an arm that the metric needs is absent or had no request, or the tick (or a later one) was counted
      before. Error: the tick's counts cannot be judged. Both leave the evidence untouched, so a corrected tick of the
      same time still counts.
    - Undecided: all else.

    Raises EvidenceRefused if the state is of another metric, ValueError if ``limit`` is not above 1.
    """
    if state.definition != definition_of(metric):
        raise EvidenceRefused(f"{metric.name}: evidence about {state.definition} cannot judge {definition_of(metric)}")
    if not limit > 1:
        raise ValueError(f"{metric.name}: limit must be above 1, got {limit}")
    if isinstance(metric, OutcomeMetric):
        return state, _outcome(metric, state, tick.readings.get(metric.name), limit)
    if isinstance(metric, MeanAgainstStable | MeanAgainstLimit):
        return _judge_reading(metric, state, tick, limit=limit)
    if isinstance(metric, DisagreementAgainstLimit) and tick.shadowed is None and _stands(state, tick):
        return state, _worded(metric, state, limit)
    if reason := _missing(metric, state, tick):
        return state, _judgement(metric, state, limit, Verdict.NO_DATA, reason)
    try:
        advanced = replace(_advance(metric, state, tick), last_at=tick.at)
    except CannotJudge as error:
        return state, _judgement(metric, state, limit, Verdict.ERROR, str(error))
    return advanced, _worded(metric, advanced, limit)


def _outcome(metric: OutcomeMetric, state: EvidenceState, reading: Reading | None, limit: float) -> Judgement:
    """Return somebody's own verdict; what is not known yet holds."""
    if reading is None or reading.absent or (reading.candidate is None and not reading.problem):
        words = reading.absent if reading is not None and reading.absent else "its Job has not been made yet"
        return _judgement(metric, state, limit, Verdict.NO_DATA, words)
    if reading.problem:
        return _judgement(metric, state, limit, Verdict.ERROR, reading.problem)
    if reading.candidate:
        passed = _judgement(metric, state, limit, Verdict.PASS, reading.told)
        return replace(passed, acceptance=ACCEPTANCE_LIMIT)
    return replace(_judgement(metric, state, limit, Verdict.FAIL, reading.told), evidence=limit)


def _judge_reading(
    metric: MeanMetric, state: EvidenceState, tick: Tick, *, limit: float
) -> tuple[EvidenceState, Judgement]:
    """Judge a source that has its own pace: between two readings what the last one came to stands."""
    reading = tick.readings.get(metric.name)
    if reading is None and _stands(state, tick):
        return state, _worded(metric, state, limit)
    if reading is None:
        return state, _judgement(metric, state, limit, Verdict.NO_DATA, "its source has not answered yet")
    if reading.problem:
        return state, _judgement(metric, state, limit, Verdict.ERROR, reading.problem)
    if reading.absent:
        return state, _judgement(metric, state, limit, Verdict.NO_DATA, reading.absent)
    if state.last_at is None or reading.at > state.last_at:
        try:
            state = replace(mean.advanced(metric, state, reading), last_at=reading.at)
        except CannotJudge as error:
            return state, _judgement(metric, state, limit, Verdict.ERROR, str(error))
    return state, _worded(metric, state, limit)


def _stands(state: EvidenceState, tick: Tick) -> bool:
    return state.last_at is not None and 0 <= tick.at - state.last_at < _STANDS_SECONDS


def _worded(metric: EvidenceMetric, state: EvidenceState, limit: float) -> Judgement:
    judgement = _judgement(metric, state, limit, _verdict(state, limit), "")
    return replace(judgement, message=wording.sentence(metric, state, judgement))


def _missing(metric: CountedMetric | DisagreementAgainstLimit, state: EvidenceState, tick: Tick) -> str:
    """Return why the tick has nothing for the metric, or an empty string."""
    if state.last_at is not None and tick.at <= state.last_at:
        return f"a tick at {tick.at:.0f} or later was counted already"
    if isinstance(metric, DisagreementAgainstLimit):
        return "" if tick.shadowed is not None and tick.shadowed.n else _NOT_COMPARED
    if not _requests(metric, tick.candidate):
        return "no requests of the candidate in this tick"
    if isinstance(metric, ErrorRateAgainstStable | LatencyAgainstStable) and not _requests(metric, tick.stable):
        return "no requests of the stable in this tick to compare with"
    return ""


def _requests(metric: CountedMetric, arm: ArmCounts | None) -> int:
    if arm is None:
        return 0
    judges_latency = isinstance(metric, LatencyAgainstLimit | LatencyAgainstStable)
    return arm.latency.total if judges_latency and arm.latency is not None else arm.requests


def _advance(metric: CountedMetric | DisagreementAgainstLimit, state: EvidenceState, tick: Tick) -> EvidenceState:
    if isinstance(metric, DisagreementAgainstLimit):
        if tick.shadowed is None:  # _missing says NoData of it
            raise CannotJudge(_NOT_COMPARED)
        counted = ArmCounts(requests=tick.shadowed.n, errors=tick.shadowed.disagreements)
        return error_rate.against_limit(metric, state, counted)
    if tick.candidate is None:  # _missing says NoData of it
        raise CannotJudge("there is no candidate in this tick")
    match metric:
        case ErrorRateAgainstLimit():
            return error_rate.against_limit(metric, state, tick.candidate)
        case LatencyAgainstLimit():
            return latency.against_limit(metric, state, tick.candidate)
    if tick.stable is None:
        raise CannotJudge("there is no stable in this tick")
    match metric:
        case ErrorRateAgainstStable():
            return error_rate.against_stable(metric, state, tick.stable, tick.candidate)
        case LatencyAgainstStable():
            return latency.against_stable(metric, state, tick.stable, tick.candidate)


def _verdict(state: EvidenceState, limit: float) -> Verdict:
    if evidence_against(state) >= min(limit, DISPLAY_MAX):
        return Verdict.FAIL
    if evidence_for(state) >= ACCEPTANCE_LIMIT:
        return Verdict.PASS
    return Verdict.UNDECIDED


def _judgement(metric: Metric, state: EvidenceState, limit: float, verdict: Verdict, message: str) -> Judgement:
    return Judgement(
        metric=metric.name,
        verdict=verdict,
        evidence=evidence_against(state),
        limit=limit,
        acceptance=evidence_for(state),
        acceptance_limit=ACCEPTANCE_LIMIT,
        stable=_summary(metric, state, state.stable),
        candidate=_summary(metric, state, state.candidate),
        message=message,
    )


def _summary(metric: Metric, state: EvidenceState, totals: ArmTotals) -> ArmSummary | None:
    if not totals.requests:
        return None
    if isinstance(metric, ErrorRateAgainstStable | ErrorRateAgainstLimit | DisagreementAgainstLimit):
        return ArmSummary(n=totals.requests, value=totals.errors / totals.requests)
    if isinstance(metric, MeanAgainstStable | MeanAgainstLimit):
        return ArmSummary(n=totals.requests, value=totals.total / totals.requests)
    if isinstance(metric, OutcomeMetric):
        return None
    seconds = histogram.quantile_seconds(state.le, totals.latency, metric.quantile)
    return ArmSummary(n=totals.requests, value=seconds)
