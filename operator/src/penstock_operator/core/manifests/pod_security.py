"""The security settings that every pod of ours has: the ``restricted`` Pod Security Standard and a little more."""

from typing import Any

#: No user of the base image; above 10000 so that it is nobody on the node either.
UID = 65532


def pod_security_context() -> dict[str, Any]:
    """Return the securityContext of a pod."""
    return {
        "runAsNonRoot": True,
        "runAsUser": UID,
        "runAsGroup": UID,
        "fsGroup": UID,
        "seccompProfile": {"type": "RuntimeDefault"},
    }


def container_security_context() -> dict[str, Any]:
    """Return the securityContext of a container."""
    return {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
