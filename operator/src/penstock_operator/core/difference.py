"""Whether a live object still is what we would apply."""

import re
from decimal import Decimal
from typing import Any

from penstock_operator.core.objects import Manifest

#: These are one value to the API server: what somebody adds to one of them, our apply takes away again.
_ATOMIC = frozenset({"selector", "podSelector", "namespaceSelector", "labelSelector"})
_QUANTITY = re.compile(r"([+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?)([numkMGTPE]|[KMGTPE]i)?")
_FACTORS: dict[str | None, Decimal] = {
    None: Decimal(1),
    "n": Decimal("1e-9"),
    "u": Decimal("1e-6"),
    "m": Decimal("1e-3"),
    **{unit: Decimal(1000) ** power for power, unit in enumerate("kMGTPE", start=1)},
    **{f"{unit}i": Decimal(1024) ** power for power, unit in enumerate("KMGTPE", start=1)},
}


def _quantity(value: object) -> Decimal | None:
    match = _QUANTITY.fullmatch(str(value)) if isinstance(value, str | int) and not isinstance(value, bool) else None
    return Decimal(match[1]) * _FACTORS[match[2]] if match else None


def _covers(live: Any, desired: Any) -> bool:
    match desired:
        case dict():
            return isinstance(live, dict) and all(
                _covers_field(key, live.get(key), value)
                for key, value in desired.items()
                if not _is_empty(value) or live.get(key) or key in _ATOMIC
            )
        case list():
            return (
                isinstance(live, list)
                and len(live) == len(desired)
                and all(_covers(mine, wanted) for mine, wanted in zip(live, desired, strict=True))
            )
        case _:
            # The API server rewrites quantities ("0.5" becomes "500m"); equal amounts are no difference.
            return live == desired or (_quantity(live) is not None and _quantity(live) == _quantity(desired))


def _covers_field(key: str, live: Any, desired: Any) -> bool:
    if key == "ownerReferences":
        # The API server keeps them by uid in an order of its own.
        found = {reference["uid"]: reference for reference in live or ()}
        return all(_covers(found.get(reference["uid"]), reference) for reference in desired)
    if key in _ATOMIC:
        return bool(live == desired)
    return _covers(live, desired)


def _is_empty(value: object) -> bool:
    return value is None or value in ({}, [])


def differs(live: Manifest | None, desired: Manifest) -> bool:
    """Return whether applying ``desired`` would change something.

    Fields that we do not set (defaults of the API server, other managers' fields) are no difference. Lists are
    compared item by item, so an item that somebody added to a list of ours is one.

    >>> differs({"spec": {"replicas": 2, "paused": False}}, {"spec": {"replicas": 2}})
    False
    >>> differs({"spec": {"replicas": 3}}, {"spec": {"replicas": 2}})
    True
    """
    return live is None or not _covers(live, desired)
