"""The evidence of a state: after one more tick, and as two numbers."""

from collections.abc import Sequence
from dataclasses import replace

from penstock_operator.core.judge import eprocess
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
    if state.steady:
        return eprocess.detector_evidence(state.against)
    return eprocess.restarting_evidence(state.against, state.ticks)


def evidence_for(state: EvidenceState) -> float:
    """Return the evidence that the candidate is good enough to promote; 1 means none either way."""
    return eprocess.capped_evidence(state.in_favour)
