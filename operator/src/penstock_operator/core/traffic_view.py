"""What a ModelDeployment needs to know of the TrafficSplit that governs it."""

from collections.abc import Sequence
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
    candidate: str | None
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
    status: dict[str, Any] = split.get("status", {})
    candidates = status.get("candidates", ())
    shares = [*status.get("weights", ()), *candidates]
    in_use = {share["revision"] for share in shares if share.get("weight", 0) > 0 and share.get("revision")}
    ready: dict[str, Any] = next((item for item in status.get("conditions", ()) if item["type"] == "Ready"), {})
    return TrafficView(
        split=split["metadata"]["name"],
        stable=status.get("stableRevision"),
        in_use=frozenset(in_use),
        candidate=candidates[0].get("revision") if candidates else None,
        rejected={
            entry["revision"]: Rejection(reason=entry.get("reason", ""), message=entry.get("message", ""))
            for entry in status.get("rejected", ())
        },
        port=status.get("port"),
        programmed=bool(status.get("weights")) and status.get("port") is not None,
        message=ready.get("message", ""),
    )
