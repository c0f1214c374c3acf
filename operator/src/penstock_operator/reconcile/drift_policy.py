"""Reconciles a DriftPolicy: what its split and live traffic say of it, and what follows."""

from collections.abc import Callable, Sequence

from pydantic import ValidationError

from penstock_operator.api.v1alpha1.drift_policy import DriftPolicySpec
from penstock_operator.core import retirement
from penstock_operator.core.conditions import Conditions, Reason
from penstock_operator.core.drift_policy import Surroundings, policy_status
from penstock_operator.core.metric_alarms import metric_alarms
from penstock_operator.core.objects import Kind, Manifest, ObjectRef
from penstock_operator.core.watched import watches
from penstock_operator.ports import Clock, Cluster
from penstock_operator.reconcile import watching
from penstock_operator.reconcile.acting import Actor, merged
from penstock_operator.reconcile.execute import report
from penstock_operator.reconcile.policy_case import Case
from penstock_operator.reconcile.watching import Seen, TrafficWatch


class DriftPolicyReconciler:
    """Keeps the status of DriftPolicies. Candidates are judged where their traffic is, in the split; drift is here.

    ``watch`` is called once, when the first policy asks for live traffic.
    """

    def __init__(self, *, cluster: Cluster, clock: Clock, actor: Actor, watch: Callable[[], TrafficWatch]) -> None:
        self._cluster = cluster
        self._clock = clock
        self._actor = actor
        self._make_watch = watch
        self._watch: TrafficWatch | None = None

    async def reconcile(self, ref: ObjectRef) -> float | None:
        """Look at one DriftPolicy; return after how many seconds to look again without an event."""
        policy = self._cluster.get(ref)
        if policy is None or policy["metadata"].get("deletionTimestamp"):
            self._actor.forget(ref)
            self._forget(ref)
            return None
        try:
            spec = DriftPolicySpec.parse(policy["spec"])
        except ValidationError as error:
            await self._refuse(policy, str(error))
            return None
        now = self._clock.now()
        split = self._split(ref, spec)
        deployments = self._cluster.list(Kind.MODEL_DEPLOYMENT, ref.namespace)
        seen = await self._look(
            watching.Case(
                ref=ref,
                owner=policy,
                spec=spec,
                split=split,
                deployments=deployments,
                live=policy.get("status", {}),
            )
        )
        alarms = (
            metric_alarms(ref.name, split, now=now, idle=[one.name for one in spec.metrics if one.dry_run])
            if spec.metrics
            else ()
        )
        case = Case(
            policy=policy,
            spec=spec,
            alarms=(*alarms, *(seen.alarms if seen else ())),
            now=now,
            around=self._around(policy, spec, deployments),
        )
        acted = await self._actor.act(case)
        around = Surroundings(
            split=split,
            deployments=deployments,
            traffic=seen.report if seen else None,
            numbers_seconds=seen.numbers_seconds if seen else 0.0,
        )
        decided = merged(policy_status(policy, spec, around, now=now), acted)
        await report(self._cluster, policy, decided, acted.events)
        self._actor.count(case, acted)
        again = (seen.again_seconds if seen else None, acted.again_seconds)
        return min((one for one in again if one is not None), default=None)

    async def _look(self, case: watching.Case) -> Seen | None:
        if not watches(case.spec):
            self._forget(case.ref)
            return None
        if self._watch is None:
            self._watch = self._make_watch()
        return await self._watch.look(case)

    def _around(
        self, policy: Manifest, spec: DriftPolicySpec, deployments: Sequence[Manifest]
    ) -> retirement.Surroundings:
        """Return what has traffic, where the policy may retire something or has."""
        asked = any("Retire" in action.do for action in spec.actions)
        if not asked and not (policy.get("status") or {}).get("retired"):
            return retirement.Surroundings()
        splits = self._cluster.list(Kind.TRAFFIC_SPLIT, policy["metadata"]["namespace"])
        return retirement.surroundings(deployments, splits)

    def _forget(self, ref: ObjectRef) -> None:
        if self._watch is not None:
            self._watch.forget(ref)

    def _split(self, ref: ObjectRef, spec: DriftPolicySpec) -> Manifest | None:
        if spec.target.kind != "TrafficSplit" or spec.target.name is None:
            return None
        return self._cluster.get(ObjectRef(kind=Kind.TRAFFIC_SPLIT, namespace=ref.namespace, name=spec.target.name))

    async def _refuse(self, policy: Manifest, message: str) -> None:
        live, generation = policy.get("status", {}), policy["metadata"]["generation"]
        conditions = Conditions(live.get("conditions", []), generation=generation, now=self._clock.now())
        for type_, status in (("Ready", False), ("Stalled", True)):
            conditions.set(type_, status=status, reason=Reason.INVALID_SPEC, message=message)
        refused = {**live, "observedGeneration": generation, "conditions": conditions.to_wire()}
        await report(self._cluster, policy, refused, ())
