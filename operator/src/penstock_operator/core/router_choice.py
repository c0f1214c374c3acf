"""Which router a split asks for, and which has led it so far."""

from typing import Literal

from penstock_operator.core.objects import Manifest

RouterName = Literal["Envoy", "Gateway"]
#: The built-in routers.
ENVOY: RouterName = "Envoy"
#: Gateways of the Gateway API.
GATEWAY: RouterName = "Gateway"


def router_of(split: Manifest) -> RouterName:
    """Return the router that ``spec`` asks for.

    >>> router_of({"spec": {"gateway": {"parentRefs": [{"name": "edge"}]}}})
    'Gateway'
    """
    return GATEWAY if (split.get("spec") or {}).get("gateway") else ENVOY


def router_before(split: Manifest) -> RouterName | None:
    """Return the router that has led the split so far, as its status tells; None before there was one."""
    status = split.get("status") or {}
    match status.get("router"):
        case "Envoy":
            return ENVOY
        case "Gateway":
            return GATEWAY
        case _:
            # Versions that knew one router only did not name it.
            return ENVOY if status.get("port") is not None else None


def changes_router(split: Manifest) -> bool:
    """Return whether another router than so far is asked for: what that one acknowledged counts for nothing."""
    return router_before(split) not in (None, router_of(split))
