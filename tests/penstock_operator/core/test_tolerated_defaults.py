"""What a policy tolerates that does not say: of errors less than of anything else."""

import pytest

from penstock_operator.api.v1alpha1.drift_policy import Metric as MetricSpec
from penstock_operator.core.judge.metrics import ErrorRateAgainstStable, LatencyAgainstStable, MeanAgainstStable
from penstock_operator.core.metric_terms import metric_of


@pytest.mark.parametrize(
    ("spec", "tolerated"),
    [
        pytest.param({"source": "ErrorRate"}, 1.1, id="errors"),
        pytest.param({"source": "LatencyQuantile", "quantile": 0.95}, 1.2, id="latency"),
        pytest.param({"source": "Prometheus", "query": "cost"}, 1.2, id="a mean"),
        pytest.param(
            {"source": "Prometheus", "query": "sales", "direction": "HigherIsBetter"}, 1 / 1.2, id="a mean to be high"
        ),
        pytest.param({"source": "ErrorRate", "tolerateRatio": 1.5}, 1.5, id="errors of a policy that says so"),
    ],
)
def test_a_policy_that_does_not_say_tolerates_this_much(spec: dict[str, object], tolerated: float) -> None:
    terms = metric_of(MetricSpec.model_validate({"name": "metric", "against": "Stable", **spec}))
    assert isinstance(terms, ErrorRateAgainstStable | LatencyAgainstStable | MeanAgainstStable)
    assert terms.tolerate_ratio == pytest.approx(tolerated)
