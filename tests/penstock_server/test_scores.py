"""Scores of two classes are remembered with the prediction, and counted when labels come."""

from typing import Any

import numpy as np
import pytest
from scipy import stats
from tests.fakes.counting_pods import profile_of
from tests.penstock_server.test_feedback import answered, label, take

from penstock_contract.feedback import FeedbackCounts, score_bin
from penstock_operator.core.drift.roc import area_of
from penstock_server.feedback import Feedback
from penstock_server.protocol import TensorSpec
from penstock_server.scores import packed, unpacked

PAIR = TensorSpec(name="p", datatype="FP32", shape=(-1, 2))
LABEL = TensorSpec(name="label", datatype="INT64", shape=(-1,))


def pair(score: float) -> Any:
    return np.array([[1 - score, score]], np.float32)


def test_a_score_is_counted_by_the_class_that_turned_out_to_be_true() -> None:
    feedback = Feedback((PAIR,))
    feedback.remember([answered("a", p=pair(0.9)), answered("b", p=pair(0.2))], 1.0)
    take(feedback, label("a", 1), label("b", 0))
    assert feedback.counts.confusion == {"1": {"1": 1}, "0": {"0": 1}}
    (positive,), (negative,) = (feedback.counts.scores[side] for side in ("positive", "negative"))
    assert int(positive) == score_bin(np.log(9.0))
    assert int(negative) == score_bin(-np.log(4.0))


def test_the_score_beside_a_label_counts() -> None:
    feedback = Feedback((LABEL, PAIR))
    feedback.remember([answered("a", label=np.array([1]), p=pair(0.7))], 1.0)
    take(feedback, label("a", 0))
    assert feedback.counts.confusion == {"1": {"0": 1}}
    assert list(feedback.counts.scores) == ["negative"]


def test_raw_scores_that_are_no_probabilities_count_by_their_difference() -> None:
    feedback = Feedback((PAIR,))
    feedback.remember([answered("a", p=np.array([[-1.0, 2.0]], np.float32))], 1.0)
    take(feedback, label("a", 1))
    assert feedback.counts.scores == {"positive": {str(score_bin(3.0)): 1}}


def test_a_single_probability_is_a_score() -> None:
    rng = np.random.default_rng(1)
    profile = profile_of({"x": rng.normal(size=500), "score": rng.random(500).astype(np.float32)})
    feedback = Feedback((TensorSpec(name="score", datatype="FP32", shape=(-1, 1)),), profile)
    feedback.remember([answered("a", score=np.array([[0.8]], np.float32))], 1.0)
    take(feedback, label("a", 1))
    assert feedback.counts.confusion == {"1": {"1": 1}}
    assert feedback.counts.scores == {"positive": {str(score_bin(np.log(4.0))): 1}}


def test_three_classes_have_no_score() -> None:
    feedback = Feedback((TensorSpec(name="p", datatype="FP32", shape=(-1, 3)),))
    feedback.remember([answered("a", p=np.array([[0.1, 0.7, 0.2]], np.float32))], 1.0)
    take(feedback, label("a", 1))
    assert feedback.counts.confusion == {"1": {"1": 1}}
    assert feedback.counts.scores == {}


def test_a_label_that_is_neither_class_is_on_no_side_of_the_curve() -> None:
    feedback = Feedback((PAIR,))
    feedback.remember([answered("a", p=pair(0.9))], 1.0)
    take(feedback, label("a", "spam"))
    assert feedback.counts.scores == {}
    assert feedback.counts.matched == 1


def test_counts_of_pods_have_the_area_of_all_their_rows() -> None:
    rng = np.random.default_rng(3)
    truth = rng.integers(0, 2, 900)
    scores = 1 / (1 + np.exp(-(1.5 * truth + rng.normal(size=900))))
    pods = [Feedback((PAIR,)) for _ in range(3)]
    for place, (score, true) in enumerate(zip(scores.tolist(), truth.tolist(), strict=True)):
        pod = pods[place % 3]
        pod.remember([answered(str(place), p=pair(score))], 1.0)
        take(pod, label(str(place), true))
    together = FeedbackCounts()
    for pod in pods:
        together += FeedbackCounts.from_wire(pod.counts.to_wire())
    found = area_of(together.scores)
    assert found is not None
    exact = stats.mannwhitneyu(scores[truth == 1], scores[truth == 0]).statistic / (
        (truth == 1).sum() * (truth == 0).sum()
    )
    assert abs(found.area - exact) <= found.binning + 1e-9
    assert found.binning < 0.02


@pytest.mark.parametrize("place", [-1, 0, 1, 63])
@pytest.mark.parametrize("place_of_score", [0, 64, 127])
def test_class_and_score_share_one_number(place: int, place_of_score: int) -> None:
    assert unpacked(packed(float(place), place_of_score)) == (place, place_of_score)
    assert unpacked(float(place)) == (place, None)


@pytest.mark.parametrize(
    "wire",
    [{"scores": {"maybe": {"1": 1}}}, {"scores": {"positive": {"128": 1}}}, {"scores": 3}, {"scores": {"positive": 3}}],
)
def test_scores_that_make_no_sense_are_refused(wire: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="scores"):
        FeedbackCounts.from_wire(wire)
