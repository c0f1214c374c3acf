"""Remembers what the status of each split says of traffic: every ModelDeployment of a namespace asks at each look."""

from penstock_operator.core.objects import Manifest
from penstock_operator.core.traffic_view import TrafficView, traffic_view

#: More than there ever are at once; splits that are gone must not pile up.
_KNOWN_MAX = 4096


class SplitViews:
    """The view of each split as it was last; a new state is a new manifest, for what the cache holds never changes."""

    def __init__(self) -> None:
        self._known: dict[str, tuple[Manifest, TrafficView]] = {}

    def of(self, split: Manifest) -> TrafficView:
        """Return what a split's status says of traffic."""
        uid = split["metadata"]["uid"]
        known = self._known.get(uid)
        if known is None or known[0] is not split:
            if len(self._known) >= _KNOWN_MAX:
                self._known.clear()
            known = self._known[uid] = (split, traffic_view(split))
        return known[1]
