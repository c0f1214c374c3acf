"""The policies that a TrafficSplit names, each with why it cannot judge if it cannot."""

from collections.abc import Sequence

from pydantic import ValidationError

from penstock_operator.api.v1alpha1.drift_policy import DriftPolicySpec
from penstock_operator.api.v1alpha1.traffic_split import TrafficSplitSpec
from penstock_operator.core.conditions import Reason
from penstock_operator.core.metric_terms import metric_of
from penstock_operator.core.objects import Manifest
from penstock_operator.core.trial import PolicyView


def policy_views(spec: TrafficSplitSpec, split: str, policies: Sequence[Manifest]) -> list[PolicyView]:
    """Return one view for each policy in ``spec.policies``, in their order."""
    by_name = {policy["metadata"]["name"]: policy for policy in policies}
    return [_view(name, split, by_name.get(name)) for name in spec.policies]


def _view(name: str, split: str, policy: Manifest | None) -> PolicyView:
    if policy is None:
        problem = f"there is no DriftPolicy {name} in this namespace; apply it"
        return PolicyView(name=name, spec=None, problem=problem, reason=Reason.POLICY_NOT_FOUND)
    try:
        spec = DriftPolicySpec.parse(policy["spec"])
    except ValidationError as error:
        problem = f"DriftPolicy {name} is invalid: {error}"
        return PolicyView(name=name, spec=None, problem=problem, reason=Reason.INVALID_SPEC)
    if spec.target.name != split:
        problem = f"DriftPolicy {name} targets {spec.target.name}; set its spec.target.name to {split}"
        return PolicyView(name=name, spec=None, problem=problem, reason=Reason.POLICY_MISMATCH)
    try:
        for metric in spec.metrics:
            metric_of(metric)
    except ValueError as error:
        problem = f"DriftPolicy {name} cannot judge: {error}"
        return PolicyView(name=name, spec=None, problem=problem, reason=Reason.INVALID_SPEC)
    return PolicyView(name=name, spec=spec)
