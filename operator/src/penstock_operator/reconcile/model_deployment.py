"""Reconciles a ModelDeployment: observe, plan, apply, report."""

from dataclasses import replace

from pydantic import ValidationError

from penstock_operator.api.v1alpha1.model_deployment import ModelDeploymentSpec
from penstock_operator.core import names
from penstock_operator.core.conditions import Conditions, Reason
from penstock_operator.core.deployment_state import Observed
from penstock_operator.core.manifests.serving_pod import ServingImage
from penstock_operator.core.model_deployment import plan
from penstock_operator.core.objects import Kind, Manifest, ObjectRef, ref_of
from penstock_operator.core.retirement import retirements
from penstock_operator.core.revisions import revision_views
from penstock_operator.core.traffic_view import governing_split, usage_of
from penstock_operator.ports import Clock, Cluster, RequestRejected
from penstock_operator.reconcile.execute import execute, report
from penstock_operator.reconcile.split_views import SplitViews

_CHILDREN = (
    Kind.CONTROLLER_REVISION,
    Kind.DEPLOYMENT,
    Kind.SERVICE,
    Kind.SERVICE_ACCOUNT,
    Kind.POD_DISRUPTION_BUDGET,
    Kind.HORIZONTAL_POD_AUTOSCALER,
    Kind.NETWORK_POLICY,
)


class ModelDeploymentReconciler:
    """Keeps the revisions, children, endpoint and status of ModelDeployments as their specs ask."""

    def __init__(self, *, cluster: Cluster, clock: Clock, image: ServingImage) -> None:
        self._cluster = cluster
        self._clock = clock
        self._image = image
        self._views = SplitViews()

    async def reconcile(self, ref: ObjectRef) -> float | None:
        """Look at one ModelDeployment; return after how many seconds to look again without an event."""
        manifest = self._cluster.get(ref)
        if manifest is None or manifest["metadata"].get("deletionTimestamp"):
            return None  # its children go by their ownerReferences
        try:
            spec = ModelDeploymentSpec.parse(manifest["spec"])
        except ValidationError as error:
            await self._refuse(manifest, Reason.INVALID_SPEC, str(error))
            return None
        observed = self._observe(ref, manifest, spec)
        decided = plan(observed, now=self._clock.now())
        try:
            foreign = await execute(decided, self._cluster, manifest)
            if foreign:
                again = replace(observed, foreign=foreign)
                decided = plan(again, now=self._clock.now())
                await execute(replace(decided, writes=()), self._cluster, manifest)
                return 30.0
        except RequestRejected as error:
            await self._refuse(manifest, Reason.REJECTED_BY_SERVER, str(error))
            raise
        return decided.requeue_after_seconds

    def _observe(self, ref: ObjectRef, manifest: Manifest, spec: ModelDeploymentSpec) -> Observed:
        labels = {names.MODEL_DEPLOYMENT: ref.name}
        uid = manifest["metadata"]["uid"]
        children = {
            ref_of(kind, child): child for kind in _CHILDREN for child in self._cluster.owned(kind, ref.namespace, uid)
        }
        splits = self._cluster.list(Kind.TRAFFIC_SPLIT, ref.namespace)
        split = governing_split(ref.name, splits)
        return Observed(
            manifest=manifest,
            spec=spec,
            revisions=revision_views(
                [child for child in children.values() if child["kind"] == "ControllerRevision"],
                [child for child in children.values() if child["kind"] == "Deployment"],
                self._cluster.list(Kind.POD, ref.namespace, labels),
            ),
            children=children,
            traffic=self._views.of(split) if split is not None else None,
            image=self._image,
            usage=usage_of(splits, self._views.of),
            retired=retirements(self._cluster.list(Kind.DRIFT_POLICY, ref.namespace)),
        )

    async def _refuse(self, manifest: Manifest, reason: Reason, message: str) -> None:
        """Say why nothing was done; what serves goes on serving."""
        live = manifest.get("status", {})
        generation = manifest["metadata"]["generation"]
        conditions = Conditions(live.get("conditions", []), generation=generation, now=self._clock.now())
        for condition in live.get("conditions", ()):
            if condition["type"] == "Available":
                conditions.set(
                    "Available",
                    status=condition["status"] == "True",
                    reason=Reason(condition["reason"]),
                    message=condition["message"],
                )
        conditions.set("Ready", status=False, reason=reason, message=message)
        conditions.set("Stalled", status=True, reason=reason, message=message)
        status = {**live, "observedGeneration": generation, "conditions": conditions.to_wire()}
        await report(self._cluster, manifest, status, ())
