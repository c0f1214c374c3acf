"""What a ModelDeployment needs: its revisions, their children, its endpoint and its status."""

from collections.abc import Iterator, Mapping
from typing import Any

from penstock_contract.termination import Reason as Termination
from penstock_operator.core import names
from penstock_operator.core.deployment_scale import HOPELESS, autoscaler_of, needed, scale_of
from penstock_operator.core.deployment_state import Observed, Revision, RevisionPhase
from penstock_operator.core.deployment_status import deployment_status, status_events
from penstock_operator.core.difference import differs
from penstock_operator.core.manifests import revision as children
from penstock_operator.core.manifests.autoscaler import autoscaler
from penstock_operator.core.manifests.endpoint import (
    Target,
    ToRevision,
    ToRouter,
    endpoint_service,
    endpoint_write,
)
from penstock_operator.core.manifests.serving_access import network_policy, service_account
from penstock_operator.core.manifests.serving_pod import serving_pod_template
from penstock_operator.core.objects import Kind, Manifest, ObjectRef, kind_of, ref_of
from penstock_operator.core.plan import Apply, Delete, Plan, Write
from penstock_operator.core.pod_state import Trouble
from penstock_operator.core.revisions import RevisionView

#: Reasons that the fetcher or the server gave by themselves; the others (scheduling, images) are the cluster's.
_MODEL_TROUBLE = HOPELESS | {reason.value for reason in Termination}
#: While something is wrong, look again even if no event comes.
_TROUBLE_REQUEUE_SECONDS = 30.0


def plan(observed: Observed, *, now: float) -> Plan:
    """Return what to write so that the cluster serves what the spec asks for, and the status that tells it."""
    latest = names.revision_name(observed.name, observed.spec)
    stable = _stable(observed, latest)
    revisions = [_decide(observed, name, latest=latest, stable=stable) for name in _names(observed, latest)]
    status = deployment_status(observed, revisions, latest=latest, stable=stable, now=now)
    troubled = any(revision.phase is RevisionPhase.FAILED for revision in revisions)
    return Plan(
        writes=tuple(_writes(observed, revisions, stable=stable or latest)),
        status=status,
        events=tuple(status_events(observed, status)),
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
    wanted = needed(observed, latest, stable=before)
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


def _decide(observed: Observed, name: str, *, latest: str, stable: str | None) -> Revision:
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
    scale = scale_of(observed, name, phase, reason, stable=stable)
    return Revision(
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
        replicas=scale.replicas,
        least=scale.least,
        autoscaled=scale.autoscaled,
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
    if name in observed.retired and (view is not None or name == latest):
        return RevisionPhase.WITHDRAWN, "Retired", observed.retired[name]
    traffic, wanted = observed.traffic, needed(observed, name, stable=stable)
    complete = view is not None and view.ready >= wanted
    if name == stable or name in observed.usage.in_use:
        return (RevisionPhase.SERVING, *(("", "") if complete else _words(view)))
    if traffic is not None and name in traffic.rejected:
        rejection = traffic.rejected[name]
        return RevisionPhase.REJECTED, rejection.reason, rejection.message
    before = _remembered(observed, name)
    if traffic is None and before.get("phase") == RevisionPhase.REJECTED:
        # Deleting the split must not bring back what it took away.
        return RevisionPhase.REJECTED, before.get("reason", ""), before.get("message", "")
    if name != latest and name not in observed.usage.kept:
        return RevisionPhase.RETIRED, "", ""
    if complete and wanted > 0:
        return RevisionPhase.READY, "", ""
    return _phase_before_ready(view, before)


def _phase_before_ready(view: RevisionView | None, before: Mapping[str, Any]) -> tuple[RevisionPhase, str, str]:
    trouble = view.trouble if view else None
    if trouble is not None and trouble.reason in _MODEL_TROUBLE and _is_final(trouble):
        return (RevisionPhase.FAILED, *_words(view))
    if before.get("phase") == RevisionPhase.FAILED and (view is None or view.ready == 0):
        return RevisionPhase.FAILED, before.get("reason", ""), before.get("message", "")
    return (RevisionPhase.PENDING, *_words(view))


def _words(view: RevisionView | None) -> tuple[str, str]:
    """Return what is the matter with a revision, as reason and message."""
    trouble = view.trouble if view else None
    return (trouble.reason, trouble.message) if trouble else ("", "")


def _is_final(trouble: Trouble) -> bool:
    return trouble.permanent or trouble.reason not in HOPELESS


def _writes(observed: Observed, revisions: list[Revision], *, stable: str) -> Iterator[Write]:
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
        if revision.autoscaled and observed.spec.autoscaling is not None:
            desired.append(autoscaler(owner, revision.name, spec=observed.spec.autoscaling, least=revision.least))
    # The endpoint moves before anything is scaled down in the same plan; pods go on answering while they drain.
    endpoint = endpoint_service(owner, _target(observed, revisions, stable))
    scaled_down = [item for item in desired if item["kind"] == "Deployment" and item["spec"]["replicas"] == 0]
    first = [item for item in desired if not any(item is other for other in scaled_down)]
    yield from _released(observed, revisions)
    autoscaled = {revision.name for revision in revisions if revision.autoscaled}
    for manifest in (*first, endpoint, *scaled_down):
        ref = ref_of(kind_of(manifest), manifest)
        if ref not in observed.foreign and differs(observed.children.get(ref), manifest):
            if manifest is endpoint:
                yield endpoint_write(endpoint, observed.endpoint, observed.status.get("clusterIP"))
            elif manifest["kind"] == "Deployment" and manifest["metadata"]["name"] in autoscaled:
                yield Apply(manifest=_as_scaled(manifest, observed.children.get(ref)))
            else:
                yield Apply(manifest=manifest)
    yield from _removals(observed, revisions)


def _released(observed: Observed, revisions: list[Revision]) -> Iterator[Write]:
    """Remove the autoscalers of what is the operator's to scale again, before it does."""
    for revision in revisions:
        if not revision.autoscaled and (live := autoscaler_of(observed, revision.name)):
            yield Delete(ref=ref_of(Kind.HORIZONTAL_POD_AUTOSCALER, live), uid=live["metadata"]["uid"])


def _as_scaled(deployment: Manifest, live: Manifest | None) -> Manifest:
    """Return a Deployment that is refused where somebody has scaled it since it was seen.

    Its ``replicas`` are the live ones. Left out, the API server would take them from a Deployment whose autoscaler has
    not written any yet, and it would have one pod.
    """
    if live is None or live["spec"].get("replicas", 1) == 0:
        return deployment
    version = {"resourceVersion": live["metadata"]["resourceVersion"]}
    return {**deployment, "metadata": {**deployment["metadata"], **version}}


def _target(observed: Observed, revisions: list[Revision], stable: str) -> Target:
    traffic = observed.traffic
    if traffic is not None and traffic.split == observed.name and traffic.programmed and traffic.port is not None:
        return ToRouter(port=traffic.port, grpc=any(one.grpc for one in revisions if one.active))
    return ToRevision(revision=stable, grpc=any(one.grpc for one in revisions if one.name == stable))


def _removals(observed: Observed, revisions: list[Revision]) -> Iterator[Write]:
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
