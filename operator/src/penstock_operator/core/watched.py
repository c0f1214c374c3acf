"""Which revisions a policy watches for drift."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import StrEnum

from penstock_contract.segments import Segmentation
from penstock_operator.api.v1alpha1.drift_policy import DriftPolicySpec
from penstock_operator.core.objects import Manifest


class Role(StrEnum):
    """What a revision is to its endpoint."""

    STABLE = "Stable"
    CANDIDATE = "Candidate"


@dataclass(frozen=True, slots=True, kw_only=True)
class Watched:
    """One revision under watch, and the endpoint whose traffic it shares with others, empty if with none.

    ``beside``: of a candidate, the stable revision that has the rest of the traffic. ``segment``: which part of its
    traffic, by the value of an input; empty: all of it.
    """

    model_deployment: str
    revision: str
    role: Role = Role.STABLE
    endpoint: str = ""
    beside: str = ""
    segment: str = ""


def watches(spec: DriftPolicySpec) -> bool:
    """Return whether a policy asks for anything that live traffic tells."""
    return any(block is not None for block in (spec.drift, spec.data_quality, spec.performance))


def watched(spec: DriftPolicySpec, split: Manifest | None, deployments: Sequence[Manifest]) -> tuple[Watched, ...]:
    """Return the revisions that have traffic of the policy's target, in a fixed order.

    ``split`` is the target where that is a TrafficSplit; ``deployments`` are the ModelDeployments of the namespace.
    """
    if not watches(spec):
        return ()
    if spec.target.kind == "TrafficSplit":
        return _of_split(split) if split is not None else ()
    chosen = [one for one in deployments if _is_chosen(spec, one)]
    return tuple(
        Watched(model_deployment=one["metadata"]["name"], revision=str(revision))
        for one in chosen
        if (revision := (one.get("status") or {}).get("stableRevision"))
    )


def segmented(spec: DriftPolicySpec, revisions: Sequence[Watched]) -> tuple[Watched, ...]:
    """Return revisions, each followed by its segments where the policy asks for any."""
    names = segmentation(spec).names if spec.segment_by is not None else ()
    return tuple(replace(one, segment=segment) for one in revisions for segment in ("", *names))


def segmentation(spec: DriftPolicySpec) -> Segmentation:
    """Return how a policy parts traffic; it must ask for it."""
    assert spec.segment_by is not None
    return Segmentation(by=spec.segment_by.input, values=tuple(spec.segment_by.values))


def chosen(spec: DriftPolicySpec, deployments: Sequence[Manifest]) -> int:
    """Return how many ModelDeployments a target of that kind names."""
    return sum(_is_chosen(spec, one) for one in deployments)


def _is_chosen(spec: DriftPolicySpec, deployment: Manifest) -> bool:
    metadata = deployment["metadata"]
    if spec.target.selector is not None:
        return spec.target.selector.match_labels.items() <= (metadata.get("labels") or {}).items()
    return bool(metadata["name"] == spec.target.name)


def _of_split(split: Manifest) -> tuple[Watched, ...]:
    status, endpoint = split.get("status") or {}, split["metadata"]["name"]
    deployment = str((split["spec"].get("stable") or {}).get("modelDeployment", ""))
    result: dict[str, Watched] = {}
    if stable := status.get("stableRevision"):
        result[stable] = Watched(model_deployment=deployment, revision=stable, endpoint=endpoint)
    for one in status.get("candidates") or ():
        revision = one.get("revision")
        if revision and revision not in result and one.get("weight", 0) > 0:
            result[revision] = Watched(
                model_deployment=str(one.get("modelDeployment") or deployment),
                revision=revision,
                role=Role.CANDIDATE,
                endpoint=endpoint,
                beside=str(stable or ""),
            )
    return tuple(result.values())
