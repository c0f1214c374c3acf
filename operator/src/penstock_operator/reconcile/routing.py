"""What a split needs of whatever leads its requests; the built-in routers and Gateways both do it."""

from collections.abc import Sequence
from typing import Protocol

from penstock_operator.core.objects import Manifest, ObjectRef
from penstock_operator.core.routes import Acknowledgement, SplitRoute
from penstock_operator.core.traffic_split import Problem
from penstock_operator.reconcile.sampling import SplitTick


class SplitRouter(Protocol):
    """Leads the requests of splits to revisions by weight, says who runs which weights, and what came of it.

    In each look at a split ``prepare`` comes first. Every method that waits may raise what ports.Cluster raises.
    """

    async def prepare(self, split: Manifest) -> Problem | None:
        """Make what the router needs around the split; return what somebody has to mend first, or None.

        Traffic that is led already goes on being led, whatever is returned.
        """

    async def publish(self, split: Manifest, route: SplitRoute) -> Problem | None:
        """Make ``route`` what the router does for a split.

        Returns what this kind of router cannot do of it; then it goes on as before with the new weights, where it can,
        and nothing is acknowledged.
        """

    async def acknowledged(self, ref: ObjectRef, *, timeout_seconds: float) -> Acknowledgement | None:
        """Wait until all that must run the last published route run or refuse it, at most this long.

        None while there is nobody who could.
        """

    async def withdraw(self, ref: ObjectRef) -> float | None:
        """Stop leading the requests of a split that is gone, or is led by another router now.

        Returns after how many seconds to call again, or None when nothing is left.
        """

    def size(self, ref: ObjectRef) -> int:
        """Return how many must acknowledge what is published for a split."""

    def trouble(self, ref: ObjectRef) -> str:
        """Return why there is nobody who could acknowledge, or an empty string."""

    async def refresh(self, ref: ObjectRef, *, max_age_seconds: float) -> None:
        """Count what happened behind a split, unless that was done less than ``max_age_seconds`` ago."""

    def take(self, ref: ObjectRef) -> Sequence[SplitTick]:
        """Return the ticks of a split that were not taken yet, oldest first."""

    def warm(self, ref: ObjectRef) -> frozenset[str]:
        """Return the revisions that may get requests of a split this moment without losing one."""
