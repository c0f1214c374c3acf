"""Reconciles a DriftPolicy: what its split and live traffic say of it, and what follows."""

from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import ValidationError

from penstock_operator.api.v1alpha1.drift_policy import DriftPolicySpec
from penstock_operator.core.conditions import Conditions, Reason
from penstock_operator.core.drift_policy import Surroundings, policy_status
from penstock_operator.core.drift_sight import Sight, alarms_of
from penstock_operator.core.metric_alarms import metric_alarms
from penstock_operator.core.objects import Kind, Manifest, ObjectRef
from penstock_operator.core.watched import limits_of, watched, watches
from penstock_operator.ports import Clock, Cluster, DriftObserver
from penstock_operator.reconcile.acting import Actor, Case, merged
from penstock_operator.reconcile.drift_watch import DriftWatch
from penstock_operator.reconcile.execute import report

#: While only numbers of live traffic change, they are written once in so many looks.
_NUMBERS_LOOKS = 10


class DriftPolicyReconciler:
    """Keeps the status of DriftPolicies. Candidates are judged where their traffic is, in the split; drift is here."""

    def __init__(
        self, *, cluster: Cluster, clock: Clock, actor: Actor, watch: DriftWatch, observer: DriftObserver
    ) -> None:
        self._cluster = cluster
        self._clock = clock
        self._actor = actor
        self._watch = watch
        self._observer = observer

    async def reconcile(self, ref: ObjectRef) -> float | None:
        """Look at one DriftPolicy; return after how many seconds to look again without an event."""
        policy = self._cluster.get(ref)
        if policy is None or policy["metadata"].get("deletionTimestamp"):
            self._actor.forget(ref)
            self._watch.forget(ref)
            self._observer.watched(ref, ())
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
        split = self._split(ref, spec)
        deployments = self._cluster.list(Kind.MODEL_DEPLOYMENT, ref.namespace)
        sights, again = await self._look(ref, spec, split, deployments, live)
        alarms = (*(metric_alarms(ref.name, split, now=now) if spec.metrics else ()), *alarms_of(sights))
        case = Case(policy=policy, spec=spec, alarms=alarms, now=now)
        acted = await self._actor.act(case)
        around = Surroundings(
            split=split,
            deployments=deployments,
            sights=sights,
            numbers_seconds=_NUMBERS_LOOKS * self._watch.interval_seconds,
        )
        decided = merged(policy_status(policy, spec, around, now=now), acted)
        await report(self._cluster, policy, decided, acted.events)
        self._actor.count(case, acted)
        self._observer.watched(ref, sights)
        return min((one for one in (again, acted.again_seconds) if one is not None), default=None)

    def _split(self, ref: ObjectRef, spec: DriftPolicySpec) -> Manifest | None:
        if spec.target.kind != "TrafficSplit" or spec.target.name is None:
            return None
        return self._cluster.get(ObjectRef(kind=Kind.TRAFFIC_SPLIT, namespace=ref.namespace, name=spec.target.name))

    async def _look(
        self,
        ref: ObjectRef,
        spec: DriftPolicySpec,
        split: Manifest | None,
        deployments: Sequence[Manifest],
        live: Mapping[str, Any],
    ) -> tuple[tuple[Sight, ...], float | None]:
        """Look at live traffic where the policy asks for it; also return when to look again."""
        if not watches(spec):
            self._watch.forget(ref)
            return (), None
        chosen = watched(spec, split, deployments)
        return await self._watch.look(ref, chosen, limits_of(spec, among=len(chosen)), live)
