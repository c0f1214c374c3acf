"""Evidence about means of readings: of a source against the stable's, or against a limit."""

from dataclasses import replace

from penstock_operator.core.judge.counts import Reading
from penstock_operator.core.judge.latency import CannotJudge
from penstock_operator.core.judge.metrics import MeanAgainstLimit, MeanMetric
from penstock_operator.core.judge.series import (
    Pair,
    detector_evidence,
    evidence_of_all,
    followed_by,
    restarting_evidence,
)
from penstock_operator.core.judge.state import ArmTotals, EvidenceState, kept_log


def advanced(metric: MeanMetric, state: EvidenceState, reading: Reading) -> EvidenceState:
    """Return the evidence after one more reading. Raises CannotJudge where no ratio can be made of it."""
    pair = _pair(metric, reading)
    series = followed_by(state.series, pair, batch=metric.batch)
    counted = replace(
        state,
        series=series,
        stable=_added(state.stable, reading.stable),
        candidate=_added(state.candidate, reading.candidate),
    )
    if series.pending:
        return counted  # evidence moves with whole batches
    evidence = detector_evidence if state.steady else restarting_evidence
    return replace(
        counted,
        ticks=state.ticks + 1,
        against=((kept_log(evidence(series, lambda pair: _worse(metric, pair))),),),
        in_favour=(kept_log(evidence_of_all(series, lambda pair: _good(metric, pair))),),
    )


def _pair(metric: MeanMetric, reading: Reading) -> Pair:
    if reading.candidate is None:
        raise CannotJudge("the source gave no value for the candidate")
    if isinstance(metric, MeanAgainstLimit):
        return 0.0, reading.candidate
    if reading.stable is None:
        raise CannotJudge("the source gave no value for the stable")
    for whose, value in (("stable", reading.stable), ("candidate", reading.candidate)):
        if value < 0:
            raise CannotJudge(
                f"the {whose}'s value is {value:.6g}, and a ratio says nothing of values below 0; "
                "give the metric a limit instead of against: Stable"
            )
    return reading.stable, reading.candidate


def _worse(metric: MeanMetric, pair: Pair) -> float:
    """Return by how much a batch of the candidate is worse than tolerated."""
    stable, candidate = pair
    bound = metric.limit if isinstance(metric, MeanAgainstLimit) else metric.tolerate_ratio * stable
    return bound - candidate if metric.higher_is_better else candidate - bound


def _good(metric: MeanMetric, pair: Pair) -> float:
    """Return by how much a batch of the candidate is better than what is accepted."""
    stable, candidate = pair
    bound = metric.limit if isinstance(metric, MeanAgainstLimit) else metric.accept_ratio * stable
    return candidate - bound if metric.higher_is_better else bound - candidate


def _added(totals: ArmTotals, value: float | None) -> ArmTotals:
    if value is None:
        return totals
    # The sum is kept as its mean would be: as many digits as people read.
    return ArmTotals(requests=totals.requests + 1, total=float(f"{totals.total + value:.12g}"))
