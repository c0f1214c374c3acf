"""What a ModelDeployment needs: its revisions, their children, its endpoint and its status."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from penstock_contract.termination import Reason as Termination
from penstock_operator.api.v1alpha1.model_deployment import ModelDeploymentSpec
from penstock_operator.core import names
from penstock_operator.core.conditions import Conditions, Reason
from penstock_operator.core.difference import differs
from penstock_operator.core.manifests import revision as children
from penstock_operator.core.manifests.endpoint import (
    Target,
    ToRevision,
    ToRouter,
    endpoint_address,
    endpoint_service,
    endpoint_url,
    endpoint_write,
)
from penstock_operator.core.manifests.serving_access import network_policy, service_account
from penstock_operator.core.manifests.serving_pod import ServingImage, serving_pod_template
from penstock_operator.core.objects import Kind, Manifest, ObjectRef, kind_of, ref_of
from penstock_operator.core.plan import Apply, Delete, EventRecord, Plan, Write
from penstock_operator.core.pod_state import OUT_OF_MEMORY, Trouble
from penstock_operator.core.revisions import RevisionView
from penstock_operator.core.traffic_view import TrafficView, Usage

#: What the content itself is guilty of. The content is pinned by its digest, so trying again cannot help and the
#: pods are taken away. Everything else may be cured from outside (a file uploaded, a Secret made), so one pod stays
#: and the kubelet tries again with its own backoff of up to five minutes.
_HOPELESS = frozenset(
    {
        OUT_OF_MEMORY,
        Termination.NOT_ONNX.value,
        Termination.TOO_LARGE.value,
        Termination.UNKNOWN_OPERATOR.value,
        Termination.UNSAFE_EXTERNAL_DATA.value,
        Termination.EXTERNAL_DATA_MISSING.value,
        Termination.EXTERNAL_DATA_UNSUPPORTED.value,
        Termination.LOAD_FAILED.value,
    }
)
#: Reasons that the fetcher or the server gave by themselves; the others (scheduling, images) are the cluster's.
_MODEL_TROUBLE = _HOPELESS | {reason.value for reason in Termination}
#: While something is wrong, look again even if no event comes.
_TROUBLE_REQUEUE_SECONDS = 30.0


#: Reasons that only somebody's doing ends.
_STALLED = frozenset(
    {
        Reason.REVISION_FAILED,
        Reason.REVISION_REJECTED,
        Reason.REVISION_UNPROVEN,
        Reason.NOT_A_CANDIDATE,
        Reason.NOT_OWNED,
    }
)


class RevisionPhase(StrEnum):
    """Where a revision is in its life."""

    PENDING = "Pending"
    READY = "Ready"
    SERVING = "Serving"
    RETIRED = "Retired"
    FAILED = "Failed"
    REJECTED = "Rejected"


@dataclass(frozen=True, slots=True, kw_only=True)
class Observed:
    """The world around one ModelDeployment."""

    manifest: Manifest
    spec: ModelDeploymentSpec
    revisions: Mapping[str, RevisionView]
    children: Mapping[ObjectRef, Manifest]
    """Live children of all kinds by reference."""
    traffic: TrafficView | None
    """The split that moves this endpoint's traffic."""
    image: ServingImage
    usage: Usage = field(default_factory=Usage)
    """What all splits use; one may compete with revisions of several ModelDeployments."""
    foreign: frozenset[ObjectRef] = frozenset()
    """Objects with a child's name that belong to somebody else."""

    @property
    def name(self) -> str:
        """Name of the ModelDeployment."""
        return str(self.manifest["metadata"]["name"])

    @property
    def namespace(self) -> str:
        """Its namespace."""
        return str(self.manifest["metadata"]["namespace"])

    @property
    def endpoint(self) -> Manifest | None:
        """The live Service that clients know."""
        return self.children.get(ObjectRef(kind=Kind.SERVICE, namespace=self.namespace, name=self.name))

    @property
    def status(self) -> dict[str, Any]:
        """Its status as last written."""
        status: dict[str, Any] = self.manifest.get("status", {})
        return status


@dataclass(frozen=True, slots=True, kw_only=True)
class _Revision:
    """A revision with what was decided about it."""

    name: str
    number: int
    template: Manifest
    content: Manifest
    view: RevisionView | None
    phase: RevisionPhase
    reason: str
    message: str
    replicas: int

    @property
    def ready(self) -> int:
        return self.view.ready if self.view else 0

    latest: bool
    on_trial: bool
    """Whether a split tries it; or tried it when somebody deleted that split, and nothing has proven it since."""

    @property
    def grpc(self) -> bool:
        """Whether its pods speak gRPC; those of long ago may not, although nobody said so."""
        return bool(self.content.get("serving", {}).get("grpc", {}).get("enabled", True))

    @property
    def active(self) -> bool:
        """Whether its Deployment and Services are kept: not those of what was taken back and replaced since."""
        gone = self.phase is RevisionPhase.RETIRED or (self.phase is RevisionPhase.REJECTED and not self.latest)
        return not gone


def plan(observed: Observed, *, now: float) -> Plan:
    """Return what to write so that the cluster serves what the spec asks for, and the status that tells it."""
    latest = names.revision_name(observed.name, observed.spec)
    stable = _stable(observed, latest)
    revisions = [_decide(observed, name, latest=latest, stable=stable) for name in _names(observed, latest)]
    status = _status(observed, revisions, latest=latest, stable=stable, now=now)
    troubled = any(revision.phase is RevisionPhase.FAILED for revision in revisions)
    return Plan(
        writes=tuple(_writes(observed, revisions, stable=stable or latest)),
        status=status,
        events=tuple(_events(observed, status)),
        requeue_after_seconds=_TROUBLE_REQUEUE_SECONDS if troubled else None,
    )


def _names(observed: Observed, latest: str) -> list[str]:
    """Return the revisions, newest first, the one that spec asks for before all."""
    return [latest, *(name for name in reversed(list(observed.revisions)) if name != latest)]


def _stable(observed: Observed, latest: str) -> str | None:
    """Return the revision that receives the traffic; None before the first one is ready."""
    chosen = observed.traffic.stable if observed.traffic is not None else None
    if chosen is not None and (chosen in observed.revisions or chosen == latest):
        return chosen
    before = _remembered_stable(observed)
    if observed.traffic is not None and before is not None:
        return before  # a split governs: it moves traffic, not we
    view = observed.revisions.get(latest)
    wanted = observed.spec.replicas
    if view is not None and view.ready >= wanted > 0 and not _is_barred(observed, latest, before):
        return latest
    return before


def _is_barred(observed: Observed, latest: str, before: str | None) -> bool:
    """Return whether a deleted split has left the newest revision taken back, or in the middle of its trial."""
    entry = _remembered(observed, latest)
    unproven = bool(entry.get("onTrial")) and before is not None
    return unproven or entry.get("phase") == RevisionPhase.REJECTED


def _remembered_stable(observed: Observed) -> str | None:
    """Return the stable revision from status or, when somebody wiped that, from where the endpoint points."""
    remembered = observed.status.get("stableRevision")
    if remembered is None:
        service = observed.endpoint or {}
        selected = service.get("spec", {}).get("selector", {}).get(names.REVISION)
        view = observed.revisions.get(selected)
        remembered = selected if view is not None and view.ready else None
    return remembered if remembered in observed.revisions else None


def _remembered(observed: Observed, name: str) -> dict[str, Any]:
    return next((entry for entry in observed.status.get("revisions", ()) if entry["name"] == name), {})


def _decide(observed: Observed, name: str, *, latest: str, stable: str | None) -> _Revision:
    view = observed.revisions.get(name)
    number = max((other.number for other in observed.revisions.values()), default=0) + 1
    content = names.revision_content(observed.spec)
    if view is not None and view.recorded:
        template, content, number = view.template, view.record["data"]["spec"], view.number
    elif view is not None:
        # Somebody deleted the record. The pods are as they were born still; what made them is in spec or status.
        template = view.template
        content = content if name == latest else {"model": _remembered(observed, name).get("model", {})}
    else:
        template = serving_pod_template(
            namespace=observed.namespace,
            model_deployment=observed.name,
            revision=name,
            spec=observed.spec,
            image=observed.image,
        )
    phase, reason, message = _phase(observed, name, view, latest=latest, stable=stable)
    return _Revision(
        name=name,
        number=number,
        template=template,
        content=content,
        view=view,
        phase=phase,
        reason=reason,
        message=message,
        latest=name == latest,
        on_trial=_is_on_trial(observed, name, latest=latest, stable=stable),
        replicas=_replicas(observed, phase, reason),
    )


def _is_on_trial(observed: Observed, name: str, *, latest: str, stable: str | None) -> bool:
    if name == stable:
        return False
    if observed.traffic is not None:
        return name in observed.traffic.on_trial
    return name == latest and bool(_remembered(observed, name).get("onTrial"))


def _phase(
    observed: Observed, name: str, view: RevisionView | None, *, latest: str, stable: str | None
) -> tuple[RevisionPhase, str, str]:
    trouble = view.trouble if view else None
    words = (trouble.reason, trouble.message) if trouble else ("", "")
    traffic = observed.traffic
    if name == stable or name in observed.usage.in_use:
        complete = view is not None and view.ready >= observed.spec.replicas
        return (RevisionPhase.SERVING, "", "") if complete else (RevisionPhase.SERVING, *words)
    if traffic is not None and name in traffic.rejected:
        rejection = traffic.rejected[name]
        return RevisionPhase.REJECTED, rejection.reason, rejection.message
    before = _remembered(observed, name)
    if traffic is None and before.get("phase") == RevisionPhase.REJECTED:
        # Deleting the split must not bring back what it took away.
        return RevisionPhase.REJECTED, before.get("reason", ""), before.get("message", "")
    if name != latest and name not in observed.usage.kept:
        return RevisionPhase.RETIRED, "", ""
    if view is not None and view.ready >= observed.spec.replicas > 0:
        return RevisionPhase.READY, "", ""
    if trouble is not None and trouble.reason in _MODEL_TROUBLE and _is_final(trouble):
        return (RevisionPhase.FAILED, *words)
    if before.get("phase") == RevisionPhase.FAILED and (view is None or view.ready == 0):
        return RevisionPhase.FAILED, before.get("reason", ""), before.get("message", "")
    return (RevisionPhase.PENDING, *words)


def _is_final(trouble: Trouble) -> bool:
    return trouble.permanent or trouble.reason not in _HOPELESS


def _replicas(observed: Observed, phase: RevisionPhase, reason: str) -> int:
    wanted = observed.spec.replicas
    match phase:
        case RevisionPhase.SERVING | RevisionPhase.READY | RevisionPhase.PENDING:
            return wanted
        case RevisionPhase.FAILED:
            return 0 if reason in _HOPELESS else min(1, wanted)
        case RevisionPhase.REJECTED | RevisionPhase.RETIRED:
            return 0


def _writes(observed: Observed, revisions: list[_Revision], *, stable: str) -> Iterator[Write]:
    owner = observed.manifest
    spoken = any(revision.grpc for revision in revisions if revision.active)
    desired: list[Manifest] = [service_account(owner), network_policy(owner, grpc=spoken)]
    for revision in revisions:
        if revision.view is None or not revision.view.recorded:
            desired.append(
                children.controller_revision(
                    owner,
                    revision.name,
                    number=revision.number,
                    content=revision.content,
                    pod_template=revision.template,
                )
            )
        if revision.active:
            desired.append(children.headless_service(owner, revision.name))
            desired.append(children.disruption_budget(owner, revision.name))
        if revision.active or (revision.view is not None and revision.view.asked > 0):
            desired.append(
                children.deployment(owner, revision.name, pod_template=revision.template, replicas=revision.replicas)
            )
    # The endpoint moves before anything is scaled down in the same plan; pods go on answering while they drain.
    endpoint = endpoint_service(owner, _target(observed, revisions, stable))
    scaled_down = [item for item in desired if item["kind"] == "Deployment" and item["spec"]["replicas"] == 0]
    first = [item for item in desired if not any(item is other for other in scaled_down)]
    for manifest in (*first, endpoint, *scaled_down):
        ref = ref_of(kind_of(manifest), manifest)
        if ref not in observed.foreign and differs(observed.children.get(ref), manifest):
            if manifest is endpoint:
                yield endpoint_write(endpoint, observed.endpoint, observed.status.get("clusterIP"))
            else:
                yield Apply(manifest=manifest)
    yield from _removals(observed, revisions)


def _target(observed: Observed, revisions: list[_Revision], stable: str) -> Target:
    traffic = observed.traffic
    if traffic is not None and traffic.split == observed.name and traffic.programmed and traffic.port is not None:
        return ToRouter(port=traffic.port, grpc=any(one.grpc for one in revisions if one.active))
    return ToRevision(revision=stable, grpc=any(one.grpc for one in revisions if one.name == stable))


def _removals(observed: Observed, revisions: list[_Revision]) -> Iterator[Write]:
    """Remove what retired revisions left, and forget those beyond the history limit."""
    retired = [revision for revision in revisions if not revision.active]
    for position, revision in enumerate(sorted(retired, key=lambda revision: -revision.number)):
        empty = revision.view is not None and revision.view.empty
        kinds = [Kind.DEPLOYMENT, Kind.SERVICE, Kind.POD_DISRUPTION_BUDGET] if empty else []
        if empty and position >= observed.spec.revision_history_limit:
            kinds.append(Kind.CONTROLLER_REVISION)
        for kind in kinds:
            ref = ObjectRef(kind=kind, namespace=observed.namespace, name=revision.name)
            if live := observed.children.get(ref):
                yield Delete(ref=ref, uid=live["metadata"]["uid"])


def _status(
    observed: Observed, revisions: list[_Revision], *, latest: str, stable: str | None, now: float
) -> dict[str, Any]:
    by_name = {revision.name: revision for revision in revisions}
    serving = by_name.get(stable) if stable else None
    wanted = observed.spec.replicas
    model_name = names.served_model(observed.name, observed.spec)
    status: dict[str, Any] = {
        "observedGeneration": observed.manifest["metadata"]["generation"],
        "stableRevision": stable,
        "latestRevision": latest,
        "endpoint": endpoint_url(observed.name, observed.namespace, model_name),
        "clusterIP": endpoint_address(observed.endpoint, observed.status.get("clusterIP")),
        "replicas": serving.ready if serving else 0,
        "readyReplicas": f"{serving.ready if serving else 0}/{wanted}",
        "selector": f"{names.MODEL_DEPLOYMENT}={observed.name}",
        "revisions": [_revision_status(revision) for revision in revisions],
        "conditions": _conditions(observed, by_name[latest], serving, now=now),
    }
    return {field: value for field, value in status.items() if value is not None}


def _revision_status(revision: _Revision) -> dict[str, Any]:
    model = revision.content.get("model", {})
    entry = {
        "name": revision.name,
        "model": {field: model[field] for field in ("uri", "sha256", "version") if field in model},
        "replicas": revision.replicas,
        "readyReplicas": revision.ready,
        "phase": revision.phase.value,
        "reason": revision.reason,
        "message": revision.message,
        "onTrial": True if revision.on_trial else None,
        "createdAt": revision.view.record["metadata"].get("creationTimestamp") if revision.view else None,
    }
    return {field: value for field, value in entry.items() if value is not None and value != ""}


def _conditions(
    observed: Observed, latest: _Revision, serving: _Revision | None, *, now: float
) -> list[dict[str, Any]]:
    conditions = Conditions(
        observed.status.get("conditions", []), generation=observed.manifest["metadata"]["generation"], now=now
    )
    wanted = observed.spec.replicas
    if serving is not None and serving.ready > 0:
        conditions.set(
            "Available",
            status=True,
            reason=Reason.AVAILABLE,
            message=f"{serving.name} answers from {serving.ready} of {wanted} pods",
        )
    else:
        cause = (serving or latest).message
        conditions.set(
            "Available",
            status=False,
            reason=Reason.NO_READY_PODS,
            message=f"no pod of {(serving or latest).name} is ready" + (f": {cause}" if cause else ""),
        )
    ready, reason, message = _readiness(observed, latest, serving)
    conditions.set("Ready", status=ready, reason=reason, message=message)
    if reason in _STALLED:
        conditions.set("Stalled", status=True, reason=reason, message=message)
    elif not ready:
        conditions.set("Reconciling", status=True, reason=reason, message=message)
    return conditions.to_wire()


def _readiness(observed: Observed, latest: _Revision, serving: _Revision | None) -> tuple[bool, Reason, str]:
    wanted = observed.spec.replicas
    stays = f"; {serving.name} goes on serving" if serving is not None and serving is not latest else ""
    if observed.foreign:
        taken = ", ".join(sorted(str(ref) for ref in observed.foreign))
        return False, Reason.NOT_OWNED, f"{taken} exists and belongs to somebody else; delete or rename one of the two"
    match latest.phase:
        case RevisionPhase.FAILED:
            return False, Reason.REVISION_FAILED, f"{latest.name}: {latest.reason}: {latest.message}{stays}"
        case RevisionPhase.REJECTED:
            return False, Reason.REVISION_REJECTED, f"{latest.name}: {latest.reason}: {latest.message}{stays}"
        case _ if serving is not None and serving is not latest and latest.on_trial and observed.traffic is None:
            words = f"{latest.name} was on trial when its TrafficSplit was deleted{stays}; make a TrafficSplit again"
            return (
                False,
                Reason.REVISION_UNPROVEN,
                f"{words}, or apply the spec of {serving.name} once and then this one",
            )
        case _ if serving is not None and serving is not latest and _is_left_out(observed, latest):
            words = f"{latest.name} is no candidate: TrafficSplit {observed.traffic.split if observed.traffic else ''}"
            ask = f"add {{name: next, modelDeployment: {observed.name}}} to its spec.candidates"
            return False, Reason.NOT_A_CANDIDATE, f"{words} declares who competes; {ask}{stays}"
        case _ if serving is not latest and latest.ready >= wanted > 0:
            traffic = observed.traffic
            words = traffic.message if traffic is not None else ""
            return (
                False,
                Reason.ROLLOUT_IN_PROGRESS,
                f"{latest.name} is ready and being rolled out{': ' if words else ''}{words}",
            )
        case _ if latest.ready < wanted:
            cause = f": {latest.reason}: {latest.message}" if latest.message else ""
            return (
                False,
                Reason.PROGRESSING,
                f"{latest.ready} of {wanted} pods of {latest.name} are ready{cause}{stays}",
            )
        case _:
            return True, Reason.READY, f"{latest.name} serves from {latest.ready} of {wanted} pods"


def _is_left_out(observed: Observed, latest: _Revision) -> bool:
    """Return whether the newest revision waits for a person to name it in the split."""
    return observed.traffic is not None and not observed.traffic.takes_new_revisions and not latest.on_trial


def _events(observed: Observed, status: dict[str, Any]) -> Iterator[EventRecord]:
    """Tell transitions only."""
    before = observed.status
    stable = status.get("stableRevision")
    if stable is not None and stable != before.get("stableRevision"):
        yield EventRecord(type="Normal", reason="RevisionServing", message=f"{stable} receives the traffic")
    phases = {entry["name"]: entry["phase"] for entry in before.get("revisions", ())}
    for entry in status["revisions"]:
        if entry["phase"] == RevisionPhase.FAILED and phases.get(entry["name"]) != RevisionPhase.FAILED:
            message = f"{entry['name']}: {entry.get('reason')}: {entry.get('message')}"
            yield EventRecord(type="Warning", reason="RevisionFailed", message=message)
        if entry["name"] not in phases and observed.revisions.get(entry["name"]) is None:
            yield EventRecord(
                type="Normal", reason="RevisionCreated", message=f"{entry['name']} serves {entry['model'].get('uri')}"
            )
