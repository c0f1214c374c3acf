"""The evidence of a state: after one more tick, and as two numbers."""

from collections.abc import Sequence
from dataclasses import replace

from penstock_operator.core.judge import eprocess
from penstock_operator.core.judge.likelihood import WORSE_WEIGHTS
from penstock_operator.core.judge.series import NO_SERIES
from penstock_operator.core.judge.state import EvidenceState


def advance(state: EvidenceState, *, worse: Sequence[Sequence[float]], better: Sequence[float]) -> EvidenceState:
    """Return the state with one tick's log factors played: ``worse`` for each comparison, ``better`` once."""
    before = state.against or ((),) * len(worse)
    return replace(
        state,
        ticks=state.ticks + 1,
        against=tuple(
            eprocess.advance_detector(logs, factors)
            if state.steady
            else eprocess.advance_with_restarts(logs, factors, state.ticks)
            for logs, factors in zip(before, worse, strict=True)
        ),
        in_favour=eprocess.advance_capped(state.in_favour, better),
    )


def evidence_against(state: EvidenceState) -> float:
    """Return the evidence that the candidate is worse than tolerated; 1 means none either way, in steady state 0."""
    if state.series != NO_SERIES:
        return _evidence_of_a_mean(state)
    if state.steady:
        return eprocess.detector_evidence(state.against, weights=WORSE_WEIGHTS)
    return eprocess.restarting_evidence(state.against, state.ticks, weights=WORSE_WEIGHTS)


def evidence_for(state: EvidenceState) -> float:
    """Return the evidence that the candidate is good enough to promote; 1 means none either way."""
    return eprocess.capped_evidence(state.in_favour)


def _evidence_of_a_mean(state: EvidenceState) -> float:
    """Return the one number that a mean keeps: it is of all starts already, of those to come too."""
    if not state.against:
        return 0.0 if state.steady else 1.0
    return eprocess.kept_evidence(state.against[0][0])
