"""What a Gateway says of the HTTPRoute of a split: who runs it, who refuses it, who has not spoken yet."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from penstock_operator.core.conditions import Condition, find
from penstock_operator.core.objects import Manifest
from penstock_operator.core.routes import Acknowledgement

GROUP = "gateway.networking.k8s.io"
API_VERSION = f"{GROUP}/v1"
KIND = "HTTPRoute"
#: Reasons by which a condition that is False says "not yet" and not "no".
_NOT_YET = frozenset({"Pending"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Parent:
    """A Gateway, or one listener of it, that a route asks to be attached to."""

    namespace: str
    name: str
    section: str | None = None
    """The listener's name; None for all listeners."""
    port: int | None = None

    def __str__(self) -> str:
        """Return ``Gateway namespace/name``, with the listener where there is one."""
        listener = "".join(
            f", {word} {value}" for word, value in (("listener", self.section), ("port", self.port)) if value
        )
        return f"Gateway {self.namespace}/{self.name}{listener}"


@dataclass(frozen=True, slots=True, kw_only=True)
class GatewayTarget:
    """Where a split's route is attached and which hosts it takes; no hostnames: all that the listeners take."""

    parents: tuple[Parent, ...]
    hostnames: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Attachment:
    """The Gateways of a target as they were found: a manifest, None where there is none of that name.

    A parent that is not in ``gateways`` could not be looked at; then only the route's own status counts.
    """

    gateways: Mapping[Parent, Manifest | None]


def acknowledgement_of(route: Manifest, target: GatewayTarget, attachment: Attachment) -> Acknowledgement:
    """Return who runs the generation of ``route`` that its metadata tells.

    A parent runs it when its controller says ``Accepted`` and ``ResolvedRefs`` of this very generation and the Gateway
    is programmed. What it says of an older generation counts for nothing.
    """
    acknowledged: set[str] = set()
    rejected: dict[str, str] = {}
    missing: set[str] = set()
    for parent in target.parents:
        refusal = _refusal(route, parent, attachment)
        if refusal is not None:
            rejected[str(parent)] = refusal
        elif _runs(route, parent, attachment):
            acknowledged.add(str(parent))
        else:
            missing.add(str(parent))
    return Acknowledgement(
        version=str(route["metadata"].get("generation", 0)),
        acknowledged=frozenset(acknowledged),
        rejected=rejected,
        missing=frozenset(missing),
    )


def _refusal(route: Manifest, parent: Parent, attachment: Attachment) -> str | None:
    """Return in whose words a parent will not run this generation, or None."""
    if parent in attachment.gateways and attachment.gateways[parent] is None:
        return "there is no such Gateway; correct spec.gateway.parentRefs or create it"
    conditions = _current(_of_parent(route, parent), route["metadata"].get("generation", 0))
    for type_ in ("Accepted", "ResolvedRefs"):
        condition = find(conditions, type_)
        if condition is not None and condition["status"] == "False" and condition.get("reason") not in _NOT_YET:
            return _words(condition)
    partial = find(conditions, "PartiallyInvalid")
    if partial is not None and partial["status"] == "True":
        return _words(partial)
    programmed = _programmed(parent, attachment)
    if programmed is not None and programmed["status"] == "False" and programmed.get("reason") not in _NOT_YET:
        return f"the Gateway is not programmed: {_words(programmed)}"
    return None


def _runs(route: Manifest, parent: Parent, attachment: Attachment) -> bool:
    conditions = _current(_of_parent(route, parent), route["metadata"].get("generation", 0))
    told = {condition["type"] for condition in conditions if condition["status"] == "True"}
    if not {"Accepted", "ResolvedRefs"} <= told:
        return False
    if parent not in attachment.gateways:
        return True
    programmed = _programmed(parent, attachment)
    return programmed is not None and programmed["status"] == "True"


def _of_parent(route: Manifest, parent: Parent) -> list[Condition]:
    """Return the conditions that a parent's controller has written about the route."""
    namespace = route["metadata"]["namespace"]
    for entry in _list(_mapping(route.get("status")).get("parents")):
        if parent_of(_mapping(entry.get("parentRef")), namespace) == parent:
            return _list(entry.get("conditions"))
    return []


def _programmed(parent: Parent, attachment: Attachment) -> Condition | None:
    gateway = attachment.gateways.get(parent)
    if gateway is None:
        return None
    conditions = _list(_mapping(gateway.get("status")).get("conditions"))
    return find(_current(conditions, gateway["metadata"].get("generation", 0)), "Programmed")


def parent_of(reference: Mapping[str, Any], namespace: str) -> Parent:
    """Return the parent that a parentRef in ``namespace`` names."""
    return Parent(
        namespace=reference.get("namespace") or namespace,
        name=reference.get("name", ""),
        section=reference.get("sectionName"),
        port=reference.get("port"),
    )


def _current(conditions: Sequence[Condition], generation: int) -> list[Condition]:
    return [condition for condition in conditions if condition.get("observedGeneration") == generation]


def _words(condition: Condition) -> str:
    reason, message = condition.get("reason", ""), condition.get("message", "")
    return f"{reason}: {message}" if message else reason


def _mapping(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _list(value: Any) -> list[dict[str, Any]]:
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []
