"""Which of our objects must be looked at again when some object changes."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

from penstock_operator.core import retirement
from penstock_operator.core.names import APP_NAME, MODEL_DEPLOYMENT, ROUTER, model_deployment_of
from penstock_operator.core.objects import CUSTOM_KINDS, Kind, Manifest, ObjectRef, ref_of

#: Returns the known objects of a kind in a namespace.
Listing = Callable[[Kind, str], Sequence[Manifest]]


def affected(kind: Kind, manifest: Manifest, listing: Listing) -> frozenset[ObjectRef]:
    """Return the keys to reconcile after ``manifest`` came, changed or went.

    A pure function of the object and of ``listing``; call it with the old and with the new state of a change.
    """
    return frozenset(ref for rule in _RULES.get(kind, _CHILD_RULES) for ref in rule(kind, manifest, listing))


def _itself(kind: Kind, manifest: Manifest, _: Listing) -> Iterator[ObjectRef]:
    yield ref_of(kind, manifest)


def _splits_of_model_deployment(_: Kind, manifest: Manifest, listing: Listing) -> Iterator[ObjectRef]:
    metadata = manifest["metadata"]
    for split in listing(Kind.TRAFFIC_SPLIT, metadata["namespace"]):
        if metadata["name"] in deployments_of(split):
            yield ref_of(Kind.TRAFFIC_SPLIT, split)


def _model_deployments_of_split(_: Kind, manifest: Manifest, __: Listing) -> Iterator[ObjectRef]:
    metadata = manifest["metadata"]
    for name in sorted(deployments_of(manifest)):
        yield ObjectRef(kind=Kind.MODEL_DEPLOYMENT, namespace=metadata["namespace"], name=name)


def _rivals_of_split(_: Kind, manifest: Manifest, listing: Listing) -> Iterator[ObjectRef]:
    """Two splits over one ModelDeployment: the one that waits must learn when the other goes."""
    stable = stable_of(manifest)
    for split in listing(Kind.TRAFFIC_SPLIT, manifest["metadata"]["namespace"]):
        if stable_of(split) == stable and split["metadata"]["name"] != manifest["metadata"]["name"]:
            yield ref_of(Kind.TRAFFIC_SPLIT, split)


def _policies_of_split(_: Kind, manifest: Manifest, listing: Listing) -> Iterator[ObjectRef]:
    metadata = manifest["metadata"]
    named = _policies(manifest)
    for policy in listing(Kind.DRIFT_POLICY, metadata["namespace"]):
        if policy["metadata"]["name"] in named or _target_of(policy) == metadata["name"]:
            yield ref_of(Kind.DRIFT_POLICY, policy)


def _policies_of_model_deployment(_: Kind, manifest: Manifest, listing: Listing) -> Iterator[ObjectRef]:
    """Those that watch its traffic, by name or by label."""
    metadata = manifest["metadata"]
    labels = (metadata.get("labels") or {}).items()
    for policy in listing(Kind.DRIFT_POLICY, metadata["namespace"]):
        target = _mapping(_mapping(policy.get("spec")).get("target"))
        wanted = _mapping(_mapping(target.get("selector")).get("matchLabels"))
        if target.get("kind") == "ModelDeployment" and (
            target.get("name") == metadata["name"] or (wanted and wanted.items() <= labels)
        ):
            yield ref_of(Kind.DRIFT_POLICY, policy)


def _splits_of_policy(_: Kind, manifest: Manifest, listing: Listing) -> Iterator[ObjectRef]:
    metadata = manifest["metadata"]
    for split in listing(Kind.TRAFFIC_SPLIT, metadata["namespace"]):
        if metadata["name"] in _policies(split) or split["metadata"]["name"] == _target_of(manifest):
            yield ref_of(Kind.TRAFFIC_SPLIT, split)


def _model_deployments_of_policy(_: Kind, manifest: Manifest, __: Listing) -> Iterator[ObjectRef]:
    """Those of which it has retired a revision, or had."""
    for name in sorted(retirement.deployments_of(manifest)):
        yield ObjectRef(kind=Kind.MODEL_DEPLOYMENT, namespace=manifest["metadata"]["namespace"], name=name)


def _controller(_: Kind, manifest: Manifest, __: Listing) -> Iterator[ObjectRef]:
    metadata = manifest["metadata"]
    for owner in metadata.get("ownerReferences") or ():
        if not owner.get("controller"):
            continue
        for kind in CUSTOM_KINDS:
            group = str(owner.get("apiVersion", "")).partition("/")[0]
            if (group, owner.get("kind")) == (kind.resource.group, kind.resource.kind):
                yield ObjectRef(kind=kind, namespace=metadata["namespace"], name=owner["name"])


def _labelled(_: Kind, manifest: Manifest, __: Listing) -> Iterator[ObjectRef]:
    metadata = manifest["metadata"]
    if name := (metadata.get("labels") or {}).get(MODEL_DEPLOYMENT):
        yield ObjectRef(kind=Kind.MODEL_DEPLOYMENT, namespace=metadata["namespace"], name=name)


def _splits_of_router(_: Kind, manifest: Manifest, listing: Listing) -> Iterator[ObjectRef]:
    metadata = manifest["metadata"]
    if (metadata.get("labels") or {}).get(APP_NAME) == ROUTER:
        for split in listing(Kind.TRAFFIC_SPLIT, metadata["namespace"]):
            yield ref_of(Kind.TRAFFIC_SPLIT, split)


def stable_of(split: Manifest) -> str | None:
    """Return the ModelDeployment that a TrafficSplit names, whatever state its manifest is in."""
    return _text(_mapping(_mapping(split.get("spec")).get("stable")).get("modelDeployment"))


def deployments_of(split: Manifest) -> frozenset[str]:
    """Return the ModelDeployments of a TrafficSplit: named in spec, used in status, and its namesake."""
    spec, status = _mapping(split.get("spec")), _mapping(split.get("status"))
    named = {_text(entry.get("modelDeployment")) for entry in _mappings(spec.get("candidates"))}
    used = [*_mappings(status.get("candidates")), *_mappings(status.get("weights"))]
    used += [_mapping(status.get("watch")), _mapping(status.get("returning"))]
    revisions = {_text(entry.get("revision")) for entry in used} | {_text(status.get("stableRevision"))}
    owners = {model_deployment_of(revision) for revision in revisions if revision}
    found = {stable_of(split), split["metadata"]["name"], *named, *owners}
    return frozenset(name for name in found if name)


def _policies(split: Manifest) -> frozenset[str]:
    named = _mapping(split.get("spec")).get("policies")
    return frozenset(str(name) for name in named) if isinstance(named, list) else frozenset()


def _target_of(policy: Manifest) -> str | None:
    return _text(_mapping(_mapping(policy.get("spec")).get("target")).get("name"))


def _mapping(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _mappings(value: Any) -> list[dict[str, Any]]:
    return [entry for entry in value if isinstance(entry, dict)] if isinstance(value, list) else []


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) and value else None


_Rule = Callable[[Kind, Manifest, Listing], Iterator[ObjectRef]]

_RULES: dict[Kind, tuple[_Rule, ...]] = {
    Kind.MODEL_DEPLOYMENT: (_itself, _splits_of_model_deployment, _policies_of_model_deployment),
    Kind.TRAFFIC_SPLIT: (_itself, _model_deployments_of_split, _rivals_of_split, _policies_of_split),
    Kind.DRIFT_POLICY: (_itself, _splits_of_policy, _model_deployments_of_policy),
}
_CHILD_RULES: tuple[_Rule, ...] = (_controller, _labelled, _splits_of_router)
