"""Draws the view of each endpoint from the objects that make it."""

from collections.abc import Sequence
from datetime import datetime

from pydantic import ValidationError

from penstock_cli.spans import instant, short
from penstock_cli.views import (
    CandidateView,
    CommandView,
    EndpointView,
    FindingView,
    PastView,
    Readiness,
    RevisionView,
    RolloutView,
    World,
)
from penstock_cli.wire import Wire, items, name_of, part, text, whole
from penstock_operator.api.v1alpha1.traffic_split import TrafficSplitSpec
from penstock_operator.core.tactics import tactics_of

_WORST_FIRST = ("Fail", "Error", "NoData", "Undecided", "Pass")


def endpoints(world: World, *, now: datetime) -> tuple[EndpointView, ...]:
    """Return every endpoint of a namespace, by name: one for each split, one for each deployment without one."""
    deployments = {name_of(wire): wire for wire in world.deployments}
    policies = {name_of(wire): wire for wire in world.policies}
    views = [_split_endpoint(split, deployments, policies, now=now) for split in world.splits]
    fed = {view.model_deployment for view in views}
    views += [_plain_endpoint(wire) for name, wire in deployments.items() if name not in fed]
    return tuple(sorted(views, key=lambda view: view.name))


def named(name: str, world: World, views: Sequence[EndpointView]) -> tuple[EndpointView, ...]:
    """Return the endpoints that a name means: the endpoint's own, its deployment's, or one of its policies'."""
    judged = {
        name_of(split) for split in world.splits if name in (part(split, "spec").get("policies") or ())
    }  # a policy that no split lists has no endpoint
    return tuple(view for view in views if name in (view.name, view.model_deployment) or view.split in judged)


def _split_endpoint(
    split: Wire, deployments: dict[str, Wire], policies: dict[str, Wire], *, now: datetime
) -> EndpointView:
    spec, status = part(split, "spec"), part(split, "status")
    source = text(part(spec, "stable"), "modelDeployment")
    deployment = deployments.get(source)
    judges = [policies[name] for name in spec.get("policies") or () if name in policies]
    parts = [("TrafficSplit", split), ("ModelDeployment", deployment), *(("DriftPolicy", wire) for wire in judges)]
    return EndpointView(
        namespace=text(part(split, "metadata"), "namespace"),
        name=name_of(split),
        url=text(status, "endpoint"),
        split=name_of(split),
        model_deployment=source,
        readiness=tuple(_readiness(kind, wire) for kind, wire in parts if wire is not None),
        rollout=_rollout(split, now=now),
        revisions=_split_revisions(split, deployment or {}),
        findings=_findings(status),
        last_command=_last_command(status),
        history=tuple(_past(entry) for entry in items(status, "history")),
    )


def _plain_endpoint(deployment: Wire) -> EndpointView:
    status = part(deployment, "status")
    stable, latest = text(status, "stableRevision"), text(status, "latestRevision")
    return EndpointView(
        namespace=text(part(deployment, "metadata"), "namespace"),
        name=name_of(deployment),
        url=text(status, "endpoint"),
        split="",
        model_deployment=name_of(deployment),
        readiness=(_readiness("ModelDeployment", deployment),),
        rollout=None,
        revisions=tuple(
            _revision(entry, weight=100 if entry.get("name") == stable else 0, role=role)
            for entry in items(status, "revisions")
            if (role := _plain_role(text(entry, "name"), stable=stable, latest=latest))
        ),
        findings=(),
        last_command=None,
        history=(),
    )


def _plain_role(name: str, *, stable: str, latest: str) -> str:
    if name == stable:
        return "stable"
    return "latest" if name == latest else ""


def _split_revisions(split: Wire, deployment: Wire) -> tuple[RevisionView, ...]:
    """The revisions that take part: with weight, stable, candidate, or rejected though spec asks for it."""
    status = part(split, "status")
    weights = {text(entry, "revision"): whole(entry, "weight") for entry in items(status, "weights")}
    rejected = {text(entry, "revision"): entry for entry in items(status, "rejected")}
    known = {text(entry, "name"): entry for entry in items(part(deployment, "status"), "revisions")}
    roles = dict.fromkeys(weights, "draining")
    latest = text(part(deployment, "status"), "latestRevision")
    if latest:
        roles[latest] = "rejected" if latest in rejected else "latest"
    for way_back in ("watch", "returning"):
        roles[text(part(status, way_back), "revision")] = "kept"
    for entry in items(status, "candidates"):
        roles[text(entry, "revision")] = "candidate"
    roles[text(status, "stableRevision")] = "stable"
    roles.pop("", None)
    order = ("stable", "candidate", "kept", "latest", "rejected", "draining")
    views = []
    for name in sorted(roles, key=lambda name: (order.index(roles[name]), name)):
        entry = {"name": name, **known.get(name, {})}
        if roles[name] == "rejected":
            entry |= {field: rejected[name].get(field) for field in ("reason", "message")}
        views.append(_revision(entry, weight=weights.get(name, 0), role=roles[name]))
    return tuple(views)


def _revision(entry: Wire, *, weight: int, role: str) -> RevisionView:
    return RevisionView(
        name=text(entry, "name"),
        role=role,
        weight=weight,
        ready=whole(entry, "readyReplicas"),
        wanted=whole(entry, "replicas"),
        phase=text(entry, "phase"),
        reason=text(entry, "reason"),
        message=text(entry, "message"),
        version=text(part(entry, "model"), "version"),
    )


def _readiness(kind: str, wire: Wire) -> Readiness:
    status = part(wire, "status")
    conditions = {text(entry, "type"): entry for entry in items(status, "conditions")}
    condition = conditions.get("Ready", {})
    generation = part(wire, "metadata").get("generation")
    return Readiness(
        kind=kind,
        name=name_of(wire),
        status=text(condition, "status") or "Unknown",
        reason=text(condition, "reason") or "NotSeen",
        message=text(condition, "message") or "the operator has not looked at it yet",
        current=condition.get("observedGeneration", status.get("observedGeneration")) == generation,
        stalled=text(conditions.get("Stalled", {}), "status") == "True",
    )


def _rollout(split: Wire, *, now: datetime) -> RolloutView:
    status = part(split, "status")
    candidates = tuple(_candidate(split, entry, now=now) for entry in items(status, "candidates"))
    first = next(iter(candidates), None)
    return RolloutView(
        phase=text(status, "phase") or "Unknown",
        step=first.step if first else 0,
        steps=first.steps if first else len(_steps(split, "")),
        doing=first.doing if first else "",
        verdict=text(status, "verdict"),
        candidates=candidates,
    )


def _candidate(split: Wire, entry: Wire, *, now: datetime) -> CandidateView:
    steps, index = _steps(split, text(entry, "name")), whole(entry, "step")
    return CandidateView(
        name=text(entry, "name"),
        revision=text(entry, "revision"),
        phase=text(entry, "phase") or text(part(split, "status"), "phase"),
        weight=whole(entry, "weight"),
        realised_share=entry.get("realisedShare"),
        step=index + 1,
        steps=len(steps),
        doing=_doing(steps[index], entry, now=now) if index < len(steps) else "",
    )


def _steps(split: Wire, candidate: str) -> list[Wire]:
    """Return the steps of a candidate as people write them, also where a rule makes them."""
    try:
        tactics = tactics_of(TrafficSplitSpec.parse(part(split, "spec")))
    except ValidationError:
        return []  # an object of a newer version; the rest of it can still be shown
    return [step.to_wire() for step in tactics.steps_for(candidate)]


def _doing(step: Wire, candidate: Wire, *, now: datetime) -> str:
    """What a step does, and how long it has."""
    if text(candidate, "pausedBy"):
        return f"held at {whole(candidate, 'weight')}% by {text(candidate, 'pausedBy')}; kubectl penstock resume"
    if "pause" in step:
        return f"waits at {whole(candidate, 'weight')}% for kubectl penstock promote"
    words = [f"weight {whole(step, 'weight')}%"]
    started, hold = text(candidate, "stepStartedAt"), text(step, "hold")
    if started and hold not in ("", "0s"):
        words.append(f"{short(now - instant(started))} of {hold}")
    if step.get("require"):
        words.append(f"requires {step['require']}")
    return ", ".join(words)


def _findings(status: Wire) -> tuple[FindingView, ...]:
    views = [
        FindingView(
            revision=text(entry, "revision"),
            policy=text(entry, "policy"),
            metric=text(entry, "metric"),
            verdict=text(entry, "verdict"),
            message=text(entry, "message"),
            evidence=entry.get("evidence"),
            limit=entry.get("limit"),
            dry_run=entry.get("dryRun") is True,
        )
        for entry in items(status, "analysis")
    ]
    return tuple(sorted(views, key=lambda view: _badness(view.verdict)))


def _badness(verdict: str) -> int:
    return _WORST_FIRST.index(verdict) if verdict in _WORST_FIRST else len(_WORST_FIRST)


def _last_command(status: Wire) -> CommandView | None:
    last = part(status, "lastCommand")
    if not last:
        return None
    return CommandView(verb=text(last, "verb"), by=text(last, "by"), at=text(last, "at"), outcome=text(last, "outcome"))


def _past(entry: Wire) -> PastView:
    return PastView(
        revision=text(entry, "revision"),
        outcome=text(entry, "outcome"),
        finished_at=text(entry, "finishedAt"),
        by=text(entry, "by"),
        message=text(entry, "message"),
    )
