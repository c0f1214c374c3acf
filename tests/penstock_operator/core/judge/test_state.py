"""Evidence survives JSON unchanged, and evidence of something else is refused."""

import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.penstock_operator.core.judge.streams import error_ticks, latency_ticks

from penstock_operator.core.judge.counts import ArmCounts, Tick
from penstock_operator.core.judge.decide import judge_tick
from penstock_operator.core.judge.metrics import (
    ErrorRateAgainstLimit,
    ErrorRateAgainstStable,
    LatencyAgainstLimit,
    LatencyAgainstStable,
    Metric,
)
from penstock_operator.core.judge.state import EvidenceRefused, EvidenceState

METRICS: list[Metric] = [
    ErrorRateAgainstStable(name="errors"),
    ErrorRateAgainstLimit(name="errors", limit=0.01),
    LatencyAgainstLimit(name="slo", quantile=0.99, limit_seconds=0.06),
    LatencyAgainstStable(name="slower", quantile=0.95),
]


def after_some_ticks(metric: Metric) -> EvidenceState:
    rng = np.random.default_rng(3)
    state = EvidenceState.fresh(metric)
    for tick in latency_ticks(rng, slower=1.3, candidate_requests=60, ticks=12):
        state, _ = judge_tick(metric, state, tick, limit=20)
    return state


@pytest.mark.parametrize("metric", METRICS, ids=lambda metric: type(metric).__name__)
def test_a_state_read_back_is_the_very_same_state(metric: Metric) -> None:
    state = after_some_ticks(metric)
    assert state.ticks > 0
    assert EvidenceState.from_json(json.loads(json.dumps(state.to_json(), allow_nan=False)), metric) == state


@pytest.mark.parametrize("metric", METRICS, ids=lambda metric: type(metric).__name__)
def test_a_fresh_state_can_be_read_back(metric: Metric) -> None:
    state = EvidenceState.fresh(metric)
    assert EvidenceState.from_json(json.loads(json.dumps(state.to_json())), metric) == state


@pytest.mark.parametrize("metric", METRICS, ids=lambda metric: type(metric).__name__)
def test_a_state_is_small(metric: Metric) -> None:
    assert len(json.dumps(after_some_ticks(metric).to_json())) < 1200


@given(st.lists(st.tuples(st.integers(0, 60), st.integers(0, 400)), min_size=1, max_size=8))
@settings(deadline=None, max_examples=50)
def test_writing_and_reading_after_every_tick_changes_no_judgement(errors: list[tuple[int, int]]) -> None:
    metric = ErrorRateAgainstStable(name="errors")
    kept = fresh = EvidenceState.fresh(metric)
    for t, (e1, e0) in enumerate(errors):
        tick = Tick(at=float(t), stable=ArmCounts(requests=400, errors=e0), candidate=ArmCounts(requests=60, errors=e1))
        fresh, undisturbed = judge_tick(metric, fresh, tick, limit=20)
        kept, resumed = judge_tick(metric, kept, tick, limit=20)
        kept = EvidenceState.from_json(json.loads(json.dumps(kept.to_json())), metric)
        assert resumed == undisturbed


def test_evidence_of_another_definition_is_refused() -> None:
    state = after_some_ticks(METRICS[0])
    with pytest.raises(EvidenceRefused, match="evidence begins afresh"):
        EvidenceState.from_json(state.to_json(), ErrorRateAgainstStable(name="errors", tolerate_ratio=1.5))
    with pytest.raises(EvidenceRefused, match="ErrorRateAgainstStable"):
        judge_tick(METRICS[1], state, next(error_ticks(np.random.default_rng(1), **_HEALTHY)), limit=20)


_HEALTHY: dict[str, Any] = {"stable": lambda _: 0.01, "candidate": lambda _: 0.01}


def test_evidence_outlives_a_new_name_and_a_new_budget_share() -> None:
    state = after_some_ticks(METRICS[0])
    renamed = ErrorRateAgainstStable(name="failures", critical=True)
    assert EvidenceState.from_json(state.to_json(), renamed) == state


@pytest.mark.parametrize(
    "damage",
    [
        {"schema": 1},
        {"ticks": -1},
        {"ticks": 1.5},
        {"ticks": 0},
        {"against": [[0.0]]},
        {"against": [["x"] * 4]},
        {"against": None},
        {"inFavour": []},
        {"lastAt": "yesterday"},
        {"comparisons": [[99, 0, 0.5]]},
        {"comparisons": [[1, 2]]},
        {"le": [0.1]},
        {"stable": {}},
    ],
    ids=str,
)
def test_damaged_evidence_is_refused(damage: dict[str, Any]) -> None:
    data = after_some_ticks(METRICS[3]).to_json() | damage
    with pytest.raises(EvidenceRefused):
        EvidenceState.from_json(data, METRICS[3])


@pytest.mark.parametrize("data", [None, [], "", {}], ids=str)
def test_what_is_no_evidence_at_all_is_refused(data: object) -> None:
    with pytest.raises(EvidenceRefused):
        EvidenceState.from_json(data, METRICS[0])
