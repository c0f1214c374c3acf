"""What a policy's metrics have found in a rollout, as alarms: they stand until the rollout, or its end, is settled."""

import hashlib
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

from penstock_operator.core.alarms import Alarm, SignalClass
from penstock_operator.core.conditions import unix_seconds
from penstock_operator.core.judge.judgement import Verdict
from penstock_operator.core.objects import Manifest
from penstock_operator.core.phases import Phase

#: A sequential test has looked at all of its windows already: it needs no confirmation.
_CONFIRMED = "1" * 16
_NUMBERS = ("evidence", "limit")


def metric_alarms(policy: str, split: Manifest | None, *, now: float, idle: Collection[str] = ()) -> tuple[Alarm, ...]:
    """Return one alarm for each of a policy's metrics that fails for a candidate, or for which it was taken back.

    A limit that the stable revision fails at rest is one too, and no revision's fault. Metrics in ``idle`` only tell.
    """
    status: Mapping[str, Any] = (split or {}).get("status") or {}
    if split is None:
        return ()
    silent = {f"metrics/{metric}" for metric in idle}
    return tuple(alarm for alarm in _alarms(policy, split, status, now) if alarm.name not in silent)


def _is_about(revision: str, entry: Mapping[str, Any], status: Mapping[str, Any]) -> bool:
    """Return whether what was found still matters: of a rollout under way or taken back, or of what serves at rest."""
    if status.get("candidates") or status.get("phase") == Phase.ROLLED_BACK:
        return True
    return revision == status.get("stableRevision") and "since" in entry


def _alarms(policy: str, split: Manifest, status: Mapping[str, Any], now: float) -> Iterator[Alarm]:
    stable, deployments = str(split["spec"].get("stable", {}).get("modelDeployment", "")), _deployments(split)
    for entry in status.get("analysis") or ():
        if entry.get("policy") != policy or entry.get("verdict") != Verdict.FAIL:
            continue
        revision = _revision(entry, status)
        if revision is None or not _is_about(revision, entry, status):
            continue
        name = f"metrics/{entry['metric']}"
        began = str(entry.get("since") or _began(revision, status))
        yield Alarm(
            signal=SignalClass.METRICS,
            name=name,
            model_deployment=deployments.get(revision, stable),
            revision=revision,
            window_id=_window(revision, began),
            since=_since(entry, revision, policy, status, now),
            message=str(entry.get("message", "")),
            evidence={key: float(entry[key]) for key in _NUMBERS if key in entry},
            # At rest there is no other revision that it did better.
            attributable="since" not in entry,
            seen=_CONFIRMED,
        )


def _revision(entry: Mapping[str, Any], status: Mapping[str, Any]) -> str | None:
    """Return the revision that an analysis is about: its own word, the candidate, or the one that was taken back."""
    if entry.get("revision"):
        return str(entry["revision"])
    for place in ("candidates", "rejected"):
        for one in status.get(place) or ():
            if one.get("revision"):
                return str(one["revision"])
    return None


def _deployments(split: Manifest) -> Mapping[str, str]:
    """Return the ModelDeployment of each declared candidate's revision; the others are the stable one's."""
    declared = {one.get("name"): one.get("modelDeployment") for one in split["spec"].get("candidates") or ()}
    running = (split.get("status") or {}).get("candidates") or ()
    return {str(one.get("revision")): str(of) for one in running if (of := declared.get(one.get("name")))}


def _began(revision: str, status: Mapping[str, Any]) -> str:
    """Return when the rollout of a revision began; the same during it and after it."""
    rollouts: Sequence[Mapping[str, Any]] = (*(status.get("candidates") or ()), *(status.get("history") or ()))
    return next((str(one.get("startedAt", "")) for one in rollouts if one.get("revision") == revision), "")


def _since(entry: Mapping[str, Any], revision: str, policy: str, status: Mapping[str, Any], now: float) -> float:
    if "since" in entry:
        return unix_seconds(entry["since"])
    by = f"{policy}/{entry['metric']}"
    for one in status.get("rejected") or ():
        if one.get("revision") == revision and one.get("by") == by and "at" in one:
            return unix_seconds(one["at"])
    return now


def _window(revision: str, began: str) -> str:
    """Return a DNS label for one rollout of a revision."""
    digest = hashlib.sha256(f"{revision}\0{began}".encode()).hexdigest()[:8]
    return f"{revision[:54]}-{digest}"
