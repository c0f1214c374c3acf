"""Checks whether the requests behind splits go where their weights say; remembers what was seen between two ticks."""

from collections.abc import Sequence

from penstock_operator.core.objects import ObjectRef
from penstock_operator.core.sample_ratio import SampleRatio, judge_shares
from penstock_operator.reconcile.sampling import SplitTick
from penstock_operator.reconcile.split_look import Look


class Shares:
    """The realised shares of all splits. Lost with the process: what is wrong is found again within a few ticks."""

    def __init__(self) -> None:
        self._kept: dict[ObjectRef, SampleRatio] = {}

    def judge(self, ref: ObjectRef, look: Look, ticks: Sequence[SplitTick], *, judged: bool) -> SampleRatio | None:
        """Return what is known of the shares at the weights that routers run.

        None where nothing is ``judged`` now, or where weights do not decide who gets a request.
        """
        if not judged or not look.weights or not _by_weight(look):
            self.forget(ref)
            return None
        seen = ({revision: counts.requests for revision, counts in tick.counts.items()} for tick in ticks)
        self._kept[ref] = judge_shares(self._kept.get(ref), look.weights, seen)
        return self._kept[ref]

    def forget(self, ref: ObjectRef) -> None:
        """Drop what is kept of a split that is gone or at rest."""
        self._kept.pop(ref, None)


def _by_weight(look: Look) -> bool:
    """Return whether each request that is counted goes by the weights, independently of the others.

    With sticky keys a client with many requests is one throw of the dice. Pods behind a Gateway cannot tell a matched
    request or a copy from one that was spread by weight.
    """
    if look.spec.stickiness is not None:
        return False
    return look.spec.gateway is None or not (look.spec.match or look.spec.shadow)
