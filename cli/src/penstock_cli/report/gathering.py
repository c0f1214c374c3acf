"""Collects what a report shows: the policy, what it watches, and the live counts of its pods."""

import zlib
from collections.abc import Iterable
from dataclasses import dataclass

from penstock_cli.cluster import DEPLOYMENTS, POLICIES, SPLITS, Cluster, PodUnreadable
from penstock_cli.report.findings import Live, PodCounts, features
from penstock_cli.wire import Wire, items, name_of, part, text
from penstock_contract import counts
from penstock_contract.counts import InvalidCounts, ProfileMismatch, Snapshot
from penstock_contract.profile import InvalidProfile, Profile, layout_of, parse
from penstock_operator.core.names import MODEL_DEPLOYMENT, REVISION

#: Reports of a policy for hundreds of models show these many, the ones with alarms first.
_REVISIONS_MAX = 8
_BYTES_MAX = 64 * 1024 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Gathered:
    """Everything that a report is made of. ``left_out`` counts revisions that are watched and not shown."""

    namespace: str
    policy: Wire
    split: Wire | None
    lives: tuple[Live, ...]
    left_out: int = 0


def gather(cluster: Cluster, name: str) -> Gathered:
    """Return what there is to tell of a policy. Raises PluginError."""
    policy = cluster.get(POLICIES, name)
    split = _split(policy, cluster.list(SPLITS))
    wanted = list(dict.fromkeys(_revisions(policy, split, cluster.list(DEPLOYMENTS))))
    alarmed = {text(one, "revision") for one in items(part(policy, "status"), "alarms")}
    chosen = sorted(wanted, key=lambda one: one[1] not in alarmed)[:_REVISIONS_MAX]
    return Gathered(
        namespace=cluster.namespace,
        policy=policy,
        split=split,
        lives=tuple(_live(cluster, deployment, revision) for deployment, revision in chosen),
        left_out=len(wanted) - len(chosen),
    )


def _split(policy: Wire, splits: Iterable[Wire]) -> Wire | None:
    """Return the split that a policy targets, or the one that moves the traffic of the model that it targets."""
    target = part(policy, "spec", "target")
    name = text(target, "name")
    if text(target, "kind") in ("", "TrafficSplit"):
        return next((one for one in splits if name_of(one) == name), None)
    stables = ((text(part(one, "spec", "stable"), "modelDeployment"), one) for one in splits)
    return next((one for stable, one in stables if name and stable == name), None)


def _revisions(policy: Wire, split: Wire | None, deployments: Iterable[Wire]) -> Iterable[tuple[str, str]]:
    """Return ModelDeployment and name of each revision that has traffic of the policy's target."""
    target = part(policy, "spec", "target")
    if split is not None and text(target, "kind") in ("", "TrafficSplit"):
        deployment = text(part(split, "spec", "stable"), "modelDeployment")
        status = part(split, "status")
        yield deployment, text(status, "stableRevision")
        declared = {text(one, "name"): text(one, "modelDeployment") for one in items(part(split, "spec"), "candidates")}
        for candidate in items(status, "candidates"):
            yield declared.get(text(candidate, "name"), deployment), text(candidate, "revision")
        return
    labels = part(target, "selector", "matchLabels").items()
    for one in deployments:
        named = name_of(one) == text(target, "name")
        if named or (labels and labels <= part(one, "metadata", "labels").items()):
            yield name_of(one), text(part(one, "status"), "stableRevision")


def _live(cluster: Cluster, deployment: str, revision: str) -> Live:
    if not revision:
        return Live(revision="", model_deployment=deployment, trouble=(f"{deployment} has no stable revision yet",))
    pods = cluster.pods(f"{MODEL_DEPLOYMENT}={deployment},{REVISION}={revision}")
    running = [name_of(pod) for pod in pods if text(part(pod, "status"), "phase") == "Running"]
    trouble: list[str] = [] if running else [f"{revision} has no running pod"]
    profile = _profile(cluster, running, trouble)
    if profile is None:
        return Live(revision=revision, model_deployment=deployment, trouble=tuple(dict.fromkeys(trouble)))
    snapshots = {pod: snapshot for pod in running if (snapshot := _snapshot(cluster, pod, profile, trouble))}
    found = counts.total((one.counts for one in snapshots.values()), layout_of(profile.columns))
    return Live(
        revision=revision,
        model_deployment=deployment,
        reference_rows=profile.rows,
        rows=found.rows,
        features=features(profile, found),
        pods=tuple(_pod(name, snapshot) for name, snapshot in snapshots.items()),
        trouble=tuple(dict.fromkeys(trouble)),
    )


def _profile(cluster: Cluster, pods: Iterable[str], trouble: list[str]) -> Profile | None:
    for pod in pods:
        try:
            return parse(_read(cluster, pod, "/v1/profile/reference"))
        except (PodUnreadable, InvalidProfile) as error:
            trouble.append(f"{pod}: {error}")
    return None


def _snapshot(cluster: Cluster, pod: str, profile: Profile, trouble: list[str]) -> Snapshot | None:
    try:
        return counts.parse(_read(cluster, pod, "/v1/profile"), layout_of(profile.columns), profile.hash)
    except (PodUnreadable, InvalidCounts, ProfileMismatch) as error:
        trouble.append(f"{pod}: {error}")
        return None


def _read(cluster: Cluster, pod: str, path: str) -> bytes:
    body = cluster.ask_pod(pod, path)
    if body.startswith(b"\x1f\x8b"):
        try:
            body = zlib.decompressobj(wbits=31).decompress(body, _BYTES_MAX)
        except zlib.error as error:
            raise PodUnreadable(f"its answer cannot be unpacked: {error}") from None
    return body


def _pod(name: str, snapshot: Snapshot) -> PodCounts:
    return PodCounts(
        name=name,
        rows=snapshot.counts.rows,
        dropped_rows=snapshot.dropped_rows,
        first_ts=snapshot.first_ts,
        last_ts=snapshot.last_ts,
    )
