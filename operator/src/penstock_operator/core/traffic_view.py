"""What a ModelDeployment needs to know of the TrafficSplit that governs it."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from penstock_operator.core.objects import Manifest


@dataclass(frozen=True, slots=True, kw_only=True)
class Rejection:
    """Why a revision was taken back."""

    reason: str
    message: str


@dataclass(frozen=True, slots=True, kw_only=True)
class TrafficView:
    """Who has the traffic, as the split's status says."""

    split: str
    stable: str | None
    in_use: frozenset[str]
    """Revisions that have traffic, or are meant to."""
    kept: frozenset[str] = frozenset()
    """Revisions whose pods the split needs besides: candidates, and those that it may return to."""
    on_trial: frozenset[str] = frozenset()
    """Its candidates."""
    takes_new_revisions: bool = True
    """Whether a new revision of its stable ModelDeployment becomes a candidate."""
    least: Mapping[str, int] = field(default_factory=dict)
    """Fewest pods that autoscalers may leave a revision."""
    rejected: dict[str, Rejection] = field(default_factory=dict)
    port: int | None = None
    programmed: bool = False
    """Whether the routers have acknowledged weights at least once."""
    message: str = ""


def governing_split(model_deployment: str, splits: Sequence[Manifest]) -> Manifest | None:
    """Return the split that governs a ModelDeployment: the oldest that names it, so that a newcomer takes nothing."""
    claims = [
        split
        for split in splits
        if split["spec"]["stable"]["modelDeployment"] == model_deployment
        and not split["metadata"].get("deletionTimestamp")
    ]
    return min(
        claims, key=lambda split: (split["metadata"]["creationTimestamp"], split["metadata"]["name"]), default=None
    )


def traffic_view(split: Manifest) -> TrafficView:
    """Return what a split's status says of traffic."""
    spec, status = split.get("spec", {}), split.get("status", {})
    candidates = status.get("candidates", ())
    shares = [*status.get("weights", ()), *candidates]
    in_use = {share["revision"] for share in shares if share.get("weight", 0) > 0 and share.get("revision")}
    on_trial = {entry["revision"] for entry in candidates if entry.get("revision")}
    ways_back = {status.get(field, {}).get("revision") for field in ("watch", "returning")}
    ready: dict[str, Any] = next((item for item in status.get("conditions", ()) if item["type"] == "Ready"), {})
    return TrafficView(
        split=split["metadata"]["name"],
        stable=status.get("stableRevision"),
        in_use=frozenset(in_use),
        kept=frozenset(name for name in {*on_trial, *ways_back, status.get("stableRevision")} if name),
        on_trial=frozenset(on_trial),
        takes_new_revisions=_takes_new_revisions(spec),
        least={entry["revision"]: entry.get("pods", 0) for entry in status.get("minPods", ())},
        rejected={
            entry["revision"]: Rejection(reason=entry.get("reason", ""), message=entry.get("message", ""))
            for entry in status.get("rejected", ())
        },
        port=status.get("port"),
        programmed=bool(status.get("weights")) and status.get("port") is not None,
        message=ready.get("message", ""),
    )


def _takes_new_revisions(spec: Mapping[str, Any]) -> bool:
    """Where candidates are declared, new revisions of stable are one only if its ModelDeployment is declared too."""
    declared = [entry.get("modelDeployment") for entry in spec.get("candidates") or ()]
    return not declared or spec.get("stable", {}).get("modelDeployment") in declared


@dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    """What all splits of a namespace use of revisions, whoever's they are."""

    in_use: frozenset[str] = frozenset()
    kept: frozenset[str] = frozenset()
    least: Mapping[str, int] = field(default_factory=dict)
    """Fewest pods that autoscalers may leave a revision."""


def usage_of(splits: Sequence[Manifest], view_of: Callable[[Manifest], TrafficView] = traffic_view) -> Usage:
    """Return the revisions that have traffic behind some split, and those whose pods some split needs besides."""
    views = [view_of(split) for split in splits if not split["metadata"].get("deletionTimestamp")]
    return Usage(
        in_use=frozenset().union(*(view.in_use for view in views)),
        kept=frozenset().union(*(view.kept for view in views)),
        least=_most(view.least for view in views),
    )


def _most(counts: Iterable[Mapping[str, int]]) -> dict[str, int]:
    """Return the largest count of each name."""
    most: dict[str, int] = {}
    for count in counts:
        for name, number in count.items():
            most[name] = max(number, most.get(name, 0))
    return most
