"""Reconciles a DriftPolicy: its status mirrors what the split that it judges has found."""

from pydantic import ValidationError

from penstock_operator.api.v1alpha1.drift_policy import DriftPolicySpec
from penstock_operator.core.conditions import Conditions, Reason
from penstock_operator.core.drift_policy import policy_status
from penstock_operator.core.objects import Kind, ObjectRef
from penstock_operator.core.plan import EventRecord
from penstock_operator.ports import Clock, Cluster, RolloutObserver
from penstock_operator.reconcile.execute import report


class DriftPolicyReconciler:
    """Keeps the status of DriftPolicies; judging itself happens where the traffic is, in the split."""

    def __init__(self, *, cluster: Cluster, clock: Clock, observer: RolloutObserver) -> None:
        self._cluster = cluster
        self._clock = clock
        self._observer = observer

    async def reconcile(self, ref: ObjectRef) -> float | None:
        """Look at one DriftPolicy; only an event can change what it says."""
        policy = self._cluster.get(ref)
        if policy is None or policy["metadata"].get("deletionTimestamp"):
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
        target = ObjectRef(kind=Kind.TRAFFIC_SPLIT, namespace=ref.namespace, name=spec.target.name)
        decided = policy_status(policy, spec, self._cluster.get(target), now=now)
        action, alerts = decided.get("lastAction"), any("Alert" in item.do for item in spec.actions)
        news = action if alerts and action != live.get("lastAction") else None
        events: tuple[EventRecord, ...] = ()
        if news is not None:
            deed = "taken back" if news["action"] == "Rollback" else "breaches"
            text = f"{news['revision']} {deed}: {news['message']}"
            events = (EventRecord(type="Warning", reason="PolicyBreached", message=text),)
        await report(self._cluster, policy, decided, events)
        if news is not None:
            self._observer.alerted(ref.namespace, ref.name, news["metric"])
        return None
