"""A new version that a training has published becomes what a ModelDeployment asks for, where its policy allows that.

The training says it in its termination message; exactly those fields of ``spec.model`` are applied under a field
manager of their own, and only where nobody who keeps them elsewhere, such as a GitOps tool, is their owner.
"""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from penstock_operator.api.v1alpha1.drift_policy import ModelUpdate
from penstock_operator.core.objects import Kind, Manifest

#: Under this name the API server knows what trainings have written.
FIELD_MANAGER = "penstock-retrain"
#: The key of a training's termination message.
MESSAGE_KEY = "penstock.dev/model"
EXAMPLE = f'{{"{MESSAGE_KEY}": {{"uri": "s3://models/fraud/4/model.onnx", "sha256": "…", "version": "4"}}}}'
_FIELDS = ("uri", "sha256", "version")
_TEXT_MAX = 1024


class NotPublished(ValueError):  # noqa: N818 - it is an answer to a person, not a failure
    """A training has said nothing that could be served; the message says what it must write."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """Why a ModelDeployment is not updated. ``owned``: by whom the fields are, where that is why."""

    message: str
    owned: bool = False


def published(messages: Iterable[str]) -> dict[str, Any]:
    """Return ``spec.model`` as a training's containers have named it, the last word first. Raises NotPublished."""
    for message in messages:
        found = _model_in(message)
        if found is not None:
            return _checked(found)
    raise NotPublished(f"the training ended without naming a model; write {EXAMPLE} to /dev/termination-log")


def _model_in(message: str) -> Any:
    try:
        wire: Any = json.loads(message)
    except (ValueError, RecursionError):
        return None
    return wire.get(MESSAGE_KEY) if isinstance(wire, dict) else None


def _checked(wire: Any) -> dict[str, Any]:
    if not isinstance(wire, dict) or not {"uri", "sha256"} <= wire.keys():
        raise NotPublished(f"the training's {MESSAGE_KEY} must be an object with uri and sha256, such as {EXAMPLE}")
    model = {name: wire[name] for name in _FIELDS if name in wire}
    profile = wire.get("profile")
    if profile is not None:
        if not isinstance(profile, dict) or not profile.keys() <= {"uri", "sha256"}:
            raise NotPublished(f'the training\'s {MESSAGE_KEY}.profile must be {{"uri": …, "sha256": …}}')
        model["profile"] = dict(profile)
    for value in (*(model[name] for name in _FIELDS if name in model), *(profile or {}).values()):
        if not isinstance(value, str) or not 0 < len(value) <= _TEXT_MAX:
            raise NotPublished(f"the training's {MESSAGE_KEY} must hold texts, not {str(value)[:40]!r}")
    return model


def refusal(deployment: Manifest, model: Mapping[str, Any], update: ModelUpdate) -> Refusal | None:
    """Return why a ModelDeployment is not updated; None where it may be."""
    name = deployment["metadata"]["name"]
    if "profile" in deployment["spec"].get("model", {}) and "profile" not in model:
        words = f"ModelDeployment {name} names a profile, and the training has published none: it would not fit the"
        return Refusal(message=f"{words} new model; let it name one beside uri and sha256")
    allowed = {*update.take_from, FIELD_MANAGER}
    owners = sorted({owner for owner in owners_of(deployment, model) if owner not in allowed})
    if owners:
        words = f"spec.model of ModelDeployment {name} belongs to {', '.join(owners)}, which would write it back"
        fix = "let the training commit the new version where that reads it, or name it in spec.retrain.update.takeFrom"
        return Refusal(message=f"{words}; {fix}", owned=True)
    return None


def owners_of(deployment: Manifest, model: Mapping[str, Any]) -> Iterator[str]:
    """Yield the field managers of the fields that ``model`` would change."""
    live = deployment["spec"].get("model", {})
    changed = {f"f:{name}" for name, value in model.items() if live.get(name) != value}
    for entry in deployment["metadata"].get("managedFields") or ():
        fields = ((entry.get("fieldsV1") or {}).get("f:spec") or {}).get("f:model") or {}
        if not entry.get("subresource") and changed & fields.keys():
            yield str(entry.get("manager") or "an unknown manager")


def is_in_force(deployment: Manifest, model: Mapping[str, Any]) -> bool:
    """Return whether a ModelDeployment asks for a model already."""
    live = deployment["spec"].get("model", {})
    return all(live.get(name) == value for name, value in model.items())


def update_of(deployment: Manifest, model: Mapping[str, Any]) -> Manifest:
    """Return what is applied: nothing but the fields of the model, and only to the object that was looked at."""
    metadata, resource = deployment["metadata"], Kind.MODEL_DEPLOYMENT.resource
    return {
        "apiVersion": resource.api_version,
        "kind": resource.kind,
        "metadata": {
            "name": metadata["name"],
            "namespace": metadata["namespace"],
            "resourceVersion": metadata["resourceVersion"],
        },
        "spec": {"model": dict(model)},
    }


def messages_of(pods: Sequence[Manifest]) -> list[str]:
    """Return the termination messages of a Job's pods, those of the newest pod first."""
    ordered = sorted(pods, key=lambda pod: str(pod["metadata"].get("creationTimestamp", "")), reverse=True)
    states = [
        (status.get("state") or {}).get("terminated") or {}
        for pod in ordered
        for status in (pod.get("status") or {}).get("containerStatuses") or ()
    ]
    return [str(state["message"]) for state in states if state.get("exitCode") == 0 and state.get("message")]
