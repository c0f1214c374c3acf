"""Whether a change of an object may change what is decided about others, or only the numbers that people read."""

from collections.abc import Callable, Mapping
from typing import Any

from penstock_operator.core.objects import Kind, Manifest

#: What each write of a manifest changes.
_BOOKKEEPING = frozenset({"resourceVersion", "managedFields"})
#: What of a condition, a metric or a candidate decides; the rest are numbers, and words about numbers.
_OF_CONDITION = ("type", "status", "reason", "observedGeneration")
_OF_METRIC = ("policy", "metric", "verdict")
_NUMBERS_OF_CANDIDATE = frozenset({"realisedShare"})


def is_news(kind: Kind, old: Manifest | None, new: Manifest | None) -> bool:
    """Return whether whoever depends on an object has to look now; else it is enough to look some time later.

    Only of TrafficSplits and DriftPolicies it may not be: a rollout writes new numbers at each tick.

    >>> before = {"metadata": {"name": "fraud"}, "status": {"verdict": "Undecided", "evidence": {"errors": 1.2}}}
    >>> after = {"metadata": {"name": "fraud"}, "status": {"verdict": "Undecided", "evidence": {"errors": 1.3}}}
    >>> is_news(Kind.TRAFFIC_SPLIT, before, after), is_news(Kind.TRAFFIC_SPLIT, before, None)
    (False, True)
    """
    deciding = _DECIDING.get(kind)
    if deciding is None or old is None or new is None:
        return True
    return _without_numbers(old, deciding) != _without_numbers(new, deciding)


def moves_ties(kind: Kind, old: Manifest | None, new: Manifest | None) -> bool:
    """Return whether others may depend on the new state of an object than depended on the old one.

    Who depends on a ModelDeployment or on a child is told by its name, its labels and its owners, and not by what it
    asks for or how it is; with hundreds of splits it costs milliseconds to find them.

    >>> before = {"metadata": {"name": "fraud", "labels": {"team": "a"}}, "status": {"phase": "Starting"}}
    >>> after = {"metadata": {"name": "fraud", "labels": {"team": "a"}}, "status": {"phase": "Ready"}}
    >>> moves_ties(Kind.MODEL_DEPLOYMENT, before, after), moves_ties(Kind.TRAFFIC_SPLIT, before, after)
    (False, True)
    """
    if kind in _DECIDING or old is None or new is None:
        return True
    return any(old["metadata"].get(field) != new["metadata"].get(field) for field in ("labels", "ownerReferences"))


#: Returns a field of a status without its numbers; fields that are not named are told as they are.
_Fields = Mapping[str, Callable[[Any], object]]


def _without_numbers(manifest: Manifest, deciding: _Fields) -> dict[str, object]:
    told = {key: value for key, value in manifest.items() if key not in {"metadata", "status"}}
    told["metadata"] = {key: value for key, value in manifest["metadata"].items() if key not in _BOOKKEEPING}
    status = manifest.get("status") or {}
    told["status"] = {key: deciding[key](value) if key in deciding else value for key, value in status.items()}
    return told


def _only(fields: tuple[str, ...]) -> Callable[[Any], object]:
    return lambda entries: [tuple(entry.get(field) for field in fields) for entry in entries]


def _nothing(_: Any) -> object:
    return None


def _candidates(entries: Any) -> object:
    return [{key: value for key, value in entry.items() if key not in _NUMBERS_OF_CANDIDATE} for entry in entries]


_DECIDING: dict[Kind, _Fields] = {
    Kind.TRAFFIC_SPLIT: {
        "conditions": _only(_OF_CONDITION),
        "analysis": _only(_OF_METRIC),
        "evidence": _nothing,
        "candidates": _candidates,
    },
    Kind.DRIFT_POLICY: {
        "conditions": _only(_OF_CONDITION),
        "signals": _nothing,
        "windows": _nothing,
        "targets": _nothing,
        "worst": _nothing,
    },
}
