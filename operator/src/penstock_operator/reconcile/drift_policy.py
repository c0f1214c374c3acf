"""Reconciles a DriftPolicy: its status mirrors what the split that it judges has found."""

from pydantic import ValidationError

from penstock_operator.api.v1alpha1.drift_policy import DriftPolicySpec
from penstock_operator.core.conditions import Conditions, Reason
from penstock_operator.core.drift_policy import policy_status
from penstock_operator.core.metric_alarms import metric_alarms
from penstock_operator.core.objects import Kind, ObjectRef
from penstock_operator.ports import Clock, Cluster
from penstock_operator.reconcile.acting import Actor, Case, merged
from penstock_operator.reconcile.execute import report


class DriftPolicyReconciler:
    """Keeps the status of DriftPolicies; judging itself happens where the traffic is, in the split."""

    def __init__(self, *, cluster: Cluster, clock: Clock, actor: Actor) -> None:
        self._cluster = cluster
        self._clock = clock
        self._actor = actor

    async def reconcile(self, ref: ObjectRef) -> float | None:
        """Look at one DriftPolicy; return after how many seconds to look again without an event."""
        policy = self._cluster.get(ref)
        if policy is None or policy["metadata"].get("deletionTimestamp"):
            self._actor.forget(ref)
            return None
        now = self._clock.now()
        live = policy.get("status", {})
        try:
            spec = DriftPolicySpec.parse(policy["spec"])
        except ValidationError as error:
            generation = policy["metadata"]["generation"]
            conditions = Conditions(live.get("conditions", []), generation=generation, now=now)
            for type_, status in (("Ready", False), ("Stalled", True)):
                conditions.set(type_, status=status, reason=Reason.INVALID_SPEC, message=str(error))
            refused = {**live, "observedGeneration": generation, "conditions": conditions.to_wire()}
            await report(self._cluster, policy, refused, ())
            return None
        target = ObjectRef(kind=Kind.TRAFFIC_SPLIT, namespace=ref.namespace, name=spec.target.name or "")
        split = self._cluster.get(target)
        alarms = metric_alarms(ref.name, split, now=now)
        case = Case(policy=policy, spec=spec, alarms=alarms, now=now)
        acted = await self._actor.act(case)
        decided = merged(policy_status(policy, spec, split, now=now), acted)
        await report(self._cluster, policy, decided, acted.events)
        self._actor.count(case, acted)
        return acted.again_seconds
