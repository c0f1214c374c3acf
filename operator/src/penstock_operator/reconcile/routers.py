"""Which router leads a split, and the way from one to the other."""

from typing import Literal

from penstock_operator.core.gateway_limits import GATEWAY
from penstock_operator.core.objects import Kind, Manifest, ObjectRef, ref_of
from penstock_operator.reconcile.routing import SplitRouter

ENVOY: Literal["Envoy"] = "Envoy"


class Routers:
    """The built-in router and Gateways. ``spec.gateway`` says which, ``status.router`` which it was so far."""

    def __init__(self, *, built_in: SplitRouter, gateway: SplitRouter) -> None:
        self._by_name: dict[str, SplitRouter] = {ENVOY: built_in, GATEWAY: gateway}
        self._leaving: dict[ObjectRef, str] = {}

    @staticmethod
    def name(split: Manifest) -> str:
        """Return the name of the router that a split asks for."""
        return GATEWAY if (split.get("spec") or {}).get("gateway") else ENVOY

    @staticmethod
    def name_before(split: Manifest) -> str | None:
        """Return the name of the router that has led the split so far; None before there was one."""
        status = split.get("status") or {}
        # Statuses of versions that knew one router only do not name it.
        return status.get("router") or (ENVOY if status.get("port") is not None else None)

    def of(self, split: Manifest) -> SplitRouter:
        """Return the router that a split asks for."""
        return self._by_name[self.name(split)]

    def before(self, split: Manifest) -> SplitRouter | None:
        """Return the router that has led the split so far."""
        name = self.name_before(split)
        return self._by_name[name] if name is not None else None

    async def hand_over(self, split: Manifest) -> float | None:
        """Take a split that its router leads now from the other one, if that led it before.

        Returns after how many seconds to call again, or None when nothing is left.
        """
        ref, name, before = ref_of(Kind.TRAFFIC_SPLIT, split), self.name(split), self.name_before(split)
        if before not in (None, name):
            self._leaving[ref] = str(before)
        leaving = self._leaving.get(ref)
        if leaving is None or leaving == name:
            self._leaving.pop(ref, None)
            return None
        pause = await self._by_name[leaving].withdraw(ref)
        if pause is None:
            del self._leaving[ref]
        return pause

    async def withdraw(self, ref: ObjectRef) -> float | None:
        """Take a deleted split from all routers; return after how many seconds to call again, or None."""
        self._leaving.pop(ref, None)
        pauses = [await router.withdraw(ref) for router in self._by_name.values()]
        return max((pause for pause in pauses if pause is not None), default=None)
