"""The status of a ModelDeployment: what serves, what is asked for, and why the two differ."""

from collections.abc import Iterator
from typing import Any

from penstock_operator.core import names
from penstock_operator.core.autoscaling import scaling_condition
from penstock_operator.core.conditions import Conditions, Reason
from penstock_operator.core.deployment_scale import autoscaler_of
from penstock_operator.core.deployment_state import Observed, Revision, RevisionPhase
from penstock_operator.core.manifests.endpoint import endpoint_address, endpoint_url
from penstock_operator.core.plan import EventRecord

#: Reasons that only somebody's doing ends.
_STALLED = frozenset(
    {
        Reason.REVISION_FAILED,
        Reason.REVISION_REJECTED,
        Reason.REVISION_RETIRED,
        Reason.REVISION_UNPROVEN,
        Reason.NOT_A_CANDIDATE,
        Reason.NOT_OWNED,
    }
)


def deployment_status(
    observed: Observed, revisions: list[Revision], *, latest: str, stable: str | None, now: float
) -> dict[str, Any]:
    """Return the whole status in its wire form."""
    by_name = {revision.name: revision for revision in revisions}
    serving = by_name.get(stable) if stable else None
    wanted = _asked(observed, serving or by_name[latest])
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


def _asked(observed: Observed, revision: Revision) -> int:
    """Return how many pods are asked for: by spec, or by the revision's autoscaler."""
    return observed.spec.replicas if observed.spec.autoscaling is None else max(revision.replicas, revision.least)


def _revision_status(revision: Revision) -> dict[str, Any]:
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


def _conditions(observed: Observed, latest: Revision, serving: Revision | None, *, now: float) -> list[dict[str, Any]]:
    conditions = Conditions(
        observed.status.get("conditions", []), generation=observed.manifest["metadata"]["generation"], now=now
    )
    wanted = _asked(observed, serving or latest)
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
    if observed.spec.autoscaling is not None:
        shown = serving or latest
        said = scaling_condition(shown.name, autoscaler_of(observed, shown.name), pods=shown.replicas)
        conditions.set("AutoscalingActive", status=said.status, reason=said.reason, message=said.message)
    ready, reason, message = _readiness(observed, latest, serving)
    conditions.set("Ready", status=ready, reason=reason, message=message)
    if reason in _STALLED:
        conditions.set("Stalled", status=True, reason=reason, message=message)
    elif not ready:
        conditions.set("Reconciling", status=True, reason=reason, message=message)
    return conditions.to_wire()


def _readiness(observed: Observed, latest: Revision, serving: Revision | None) -> tuple[bool, Reason, str]:
    wanted = latest.least
    stays = f"; {serving.name} goes on serving" if serving is not None and serving is not latest else ""
    if observed.foreign:
        taken = ", ".join(sorted(str(ref) for ref in observed.foreign))
        return False, Reason.NOT_OWNED, f"{taken} exists and belongs to somebody else; delete or rename one of the two"
    match latest.phase:
        case RevisionPhase.WITHDRAWN:
            return False, Reason.REVISION_RETIRED, f"{latest.name} {latest.message}{stays}"
        case RevisionPhase.FAILED | RevisionPhase.REJECTED as phase:
            reason = Reason.REVISION_FAILED if phase is RevisionPhase.FAILED else Reason.REVISION_REJECTED
            return False, reason, f"{latest.name}: {latest.reason}: {latest.message}{stays}"
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
            return True, Reason.READY, f"{latest.name} serves from {latest.ready} of {_asked(observed, latest)} pods"


def _is_left_out(observed: Observed, latest: Revision) -> bool:
    """Return whether the newest revision waits for a person to name it in the split."""
    return observed.traffic is not None and not observed.traffic.takes_new_revisions and not latest.on_trial


def status_events(observed: Observed, status: dict[str, Any]) -> Iterator[EventRecord]:
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
