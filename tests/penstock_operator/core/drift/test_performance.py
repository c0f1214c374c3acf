"""What is estimated without labels is near what labels say, and limits are judged as exactly as they can be."""

import numpy as np
import pytest
from tests.fakes.counting_pods import Values

from penstock_contract.feedback import FeedbackCounts
from penstock_contract.profile import Profile
from penstock_operator.core.drift.performance import (
    Estimator,
    below,
    estimator_of,
    fewer_right,
    labelled,
    larger_error,
)
from penstock_server.profile.binding import without_model
from penstock_server.profile.build import Choices, build
from penstock_server.profile.table import Table


def answers(rng: np.random.Generator, count: int, shift: float = 0.0) -> tuple[Values, np.ndarray]:
    """Rows of a model whose probability is right about itself, and the truth."""
    x = rng.normal(size=count) + shift
    score = 1 / (1 + np.exp(-2 * x))
    return {"x": x, "score": score}, (rng.random(count) < score).astype(np.int64)


def profile_of(rng: np.random.Generator, count: int) -> Profile:
    values, truth = answers(rng, count)
    inputs, outputs = without_model(Table(arrays=dict(values)), ("score",))
    return build(inputs, outputs, labels=truth, choices=Choices())


def bins(profile: Profile, values: Values) -> np.ndarray:
    edges = np.array(profile.column("outputs/score").edges)
    return np.bincount(edges.searchsorted(values["score"]), minlength=len(edges) + 1).astype(np.float64)


@pytest.fixture(scope="module")
def profile() -> Profile:
    return profile_of(np.random.default_rng(1), 20_000)


@pytest.fixture
def estimator(profile: Profile) -> Estimator:
    found = estimator_of(profile)
    assert found is not None
    return found


@pytest.mark.parametrize("shift", [0.0, -1.0, 1.5])
def test_an_estimate_is_near_the_truth_also_where_inputs_have_moved(
    profile: Profile, estimator: Estimator, shift: float
) -> None:
    values, truth = answers(np.random.default_rng(2), 50_000, shift)
    right = float(((values["score"] > 0.5) == truth).mean())
    estimate = estimator.of(bins(profile, values))
    assert estimate is not None
    assert estimate.accuracy == pytest.approx(right, abs=0.01)
    assert abs(estimate.accuracy - right) < 5 * estimate.error + 0.005


def test_no_rows_are_no_estimate(estimator: Estimator) -> None:
    assert estimator.of(np.zeros_like(estimator.rows)) is None


def test_a_profile_without_labels_estimates_nothing() -> None:
    values, _ = answers(np.random.default_rng(1), 2000)
    inputs, outputs = without_model(Table(arrays=dict(values)), ("score",))
    assert estimator_of(build(inputs, outputs, labels=None, choices=Choices())) is None


def test_an_estimate_at_its_limit_is_no_evidence_and_one_far_below_is(estimator: Estimator, profile: Profile) -> None:
    values, _ = answers(np.random.default_rng(3), 5000)
    estimate = estimator.of(bins(profile, values))
    assert estimate is not None
    assert below(estimate, estimate.accuracy) == 0.5
    assert below(estimate, estimate.accuracy + 10 * estimate.error) < 1e-20


def test_labels_are_judged_exactly() -> None:
    counts = FeedbackCounts(matched=100, confusion={"a": {"a": 70, "b": 20}, "b": {"b": 10}})
    found = labelled(counts)
    assert found is not None
    assert (found.accuracy, found.rows) == (0.8, 100)
    assert fewer_right(80, 100, 0.8) == pytest.approx(0.5398, abs=1e-4)
    assert fewer_right(80, 100, 0.95) < 1e-6
    assert labelled(FeedbackCounts(matched=3)) is None


def test_a_mean_error_is_judged_by_its_own_scatter() -> None:
    rng = np.random.default_rng(4)
    errors = np.abs(rng.normal(size=400))
    counts = FeedbackCounts(
        matched=400, absolute_error=float(errors.sum()), squared_error=float(np.square(errors).sum())
    )
    mean = errors.mean()
    assert larger_error(counts, mean) == pytest.approx(0.5)
    assert larger_error(counts, mean / 2) < 1e-10
    assert larger_error(FeedbackCounts(matched=5, absolute_error=50.0, squared_error=600.0), 1.0) == 1.0
