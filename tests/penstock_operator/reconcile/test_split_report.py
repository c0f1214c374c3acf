"""How often numbers alone are written."""

from collections import Counter

from penstock_operator.core.objects import Kind, ObjectRef
from penstock_operator.reconcile.split_report import _Pace

TICK_SECONDS = 2.0


def writes(splits: int, *, seconds: float) -> Counter[ObjectRef]:
    """Let so many splits have new numbers at each tick; return how often each was written."""
    pace, written = _Pace(), Counter[ObjectRef]()
    refs = [ObjectRef(kind=Kind.TRAFFIC_SPLIT, namespace="shop", name=f"split-{number}") for number in range(splits)]
    for tick in range(int(seconds / TICK_SECONDS)):
        for place, ref in enumerate(refs):
            written[ref] += pace.allows(ref, tick * TICK_SECONDS + place * TICK_SECONDS / splits)
    return written


def test_a_few_splits_write_at_every_tick() -> None:
    assert set(writes(20, seconds=60).values()) == {30}


def test_hundreds_share_what_the_api_server_gets() -> None:
    written = writes(400, seconds=120)
    assert written.total() <= 25 * 120
    assert min(written.values()) >= 5, "each at least once in 24 seconds"


def test_those_at_rest_do_not_count() -> None:
    pace = _Pace()
    for number in range(400):
        pace.allows(ObjectRef(kind=Kind.TRAFFIC_SPLIT, namespace="shop", name=str(number)), 0.0)
    one = ObjectRef(kind=Kind.TRAFFIC_SPLIT, namespace="shop", name="one")
    assert all(pace.allows(one, now) for now in (100.0, 102.0, 104.0))
