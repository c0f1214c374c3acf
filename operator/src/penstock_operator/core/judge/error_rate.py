"""Evidence about the candidate's share of errors."""

from dataclasses import replace

from penstock_operator.core.judge import likelihood
from penstock_operator.core.judge.advance import advance
from penstock_operator.core.judge.counts import ArmCounts
from penstock_operator.core.judge.likelihood import Events
from penstock_operator.core.judge.metrics import (
    DisagreementAgainstLimit,
    ErrorRateAgainstLimit,
    ErrorRateAgainstStable,
)
from penstock_operator.core.judge.state import ArmTotals, EvidenceState


def against_stable(
    metric: ErrorRateAgainstStable, state: EvidenceState, stable: ArmCounts, candidate: ArmCounts
) -> EvidenceState:
    """Return the evidence after one tick in which both arms had requests."""
    here = Events(n=candidate.requests, events=candidate.errors)
    there = Events(n=stable.requests, events=stable.errors)
    worse = likelihood.log_worse_than_stable(
        here, there, ratio=metric.tolerate_ratio, difference=metric.tolerate_difference
    )
    # To be below the larger of two bounds is to be below one of them: half of the bet is on each.
    better = (
        *likelihood.log_better_than_stable(here, there, ratio=metric.accept_ratio, difference=0.0),
        *likelihood.log_better_than_stable(here, there, ratio=1.0, difference=metric.accept_difference),
    )
    return replace(
        advance(state, worse=(worse,), better=better),
        stable=_added(state.stable, stable),
        candidate=_added(state.candidate, candidate),
    )


def against_limit(
    metric: ErrorRateAgainstLimit | DisagreementAgainstLimit, state: EvidenceState, candidate: ArmCounts
) -> EvidenceState:
    """Return the evidence after one tick in which the candidate had requests."""
    here = Events(n=candidate.requests, events=candidate.errors)
    worse = likelihood.log_worse_than_limit(here, limit=metric.limit)
    better = likelihood.log_better_than_limit(here, limit=metric.limit)
    return replace(advance(state, worse=(worse,), better=better), candidate=_added(state.candidate, candidate))


def _added(totals: ArmTotals, counts: ArmCounts) -> ArmTotals:
    return ArmTotals(requests=totals.requests + counts.requests, errors=totals.errors + counts.errors)
