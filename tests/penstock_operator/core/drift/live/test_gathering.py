"""A reference of live rows grows in parts that add up, is whole when it should be, and takes no row of another time."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.fakes.counting_pods import CountingPod, profile_of

from penstock_operator.core.drift.live.against import Against, Source
from penstock_operator.core.drift.live.flat import Ints, Read, Shape
from penstock_operator.core.drift.live.gathering import PARTS_MAX, Gathering
from penstock_operator.core.drift.live.news import news
from penstock_operator.core.manifests.kept_reference import kept_reference, numbers_of

FIRST = Against(source=Source.FIRST_ROWS, rows=1000)
RNG = np.random.default_rng(8)
PROFILE = profile_of({"a": RNG.normal(size=600), "score": RNG.random(600)})
SHAPE = Shape(PROFILE)
OWNER = {
    "apiVersion": "penstock.dev/v1alpha1",
    "kind": "DriftPolicy",
    "metadata": {"name": "guard", "namespace": "shop", "uid": "uid-1"},
}


def numbers(count: int) -> Ints:
    result = SHAPE.zero()
    result[0] = result[1] = count
    return result


def empty() -> Gathering:
    return Gathering(kept=SHAPE.zero(), waiting=SHAPE.zero())


@given(st.lists(st.tuples(st.integers(0, 400), st.booleans()), max_size=60))
def test_whatever_comes_and_whenever_restarts_come_parts_are_few_and_kept_rows_never_change(
    looks: list[tuple[int, bool]],
) -> None:
    gathering, kept = empty(), [0]
    for count, restarts in looks:
        if restarts:  # the next process finds the parts alone
            gathering = Gathering(kept=gathering.kept, waiting=SHAPE.zero(), parts=gathering.parts)
        if gathering.is_complete(FIRST, 0.0):
            break
        gathering = gathering.with_rows(numbers(count))
        if gathering.is_part(FIRST, 0.0):
            gathering = gathering.with_part()
            kept.append(int(gathering.kept[1]))
    assert kept == sorted(set(kept))
    assert gathering.parts <= PARTS_MAX
    assert gathering.is_complete(FIRST, 0.0) == (kept[-1] >= FIRST.rows)


def test_rows_of_another_time_than_the_named_window_are_left_out() -> None:
    against = Against(source=Source.WINDOW, start=100.0, until=200.0)
    assert [empty().takes(against, since, until) for since, until in ((90, 110), (100, 130), (190, 210))] == [
        False,
        True,
        False,
    ]
    full = empty().with_rows(numbers(5)).with_part()
    assert [full.is_complete(against, now) for now in (199.0, 200.0)] == [False, True]
    assert not empty().is_complete(against, 300.0)


@settings(deadline=None, max_examples=50)
@given(st.lists(st.tuples(st.integers(0, 2), st.integers(1, 40), st.sampled_from(["ok", "lost", "twice", "restart"]))))
def test_pods_that_restart_repeat_themselves_or_are_not_read_add_each_row_once(
    steps: list[tuple[int, int, str]],
) -> None:
    pods = {f"pod-{place}": CountingPod(PROFILE) for place in range(3)}
    known: dict[str, Read] = {}
    gathering, served, time = empty(), 0, 0.0
    for place, count, event in steps:
        time += 30.0
        name = f"pod-{place}"
        pod = pods[name]
        pod.now = time
        pod.serve({"a": RNG.normal(size=count), "score": RNG.random(count)})
        served += count
        if event == "restart":
            # What was counted before was read in time: it is read, then the pod begins anew.
            found = news(known, {name: SHAPE.decode(pod.body())}, SHAPE, present=pods, since=0.0, seconds=30.0)
            known, gathering = dict(found.known), gathering.with_rows(found.numbers)
            pod.restart()
        bodies = [] if event == "lost" else [pod.body()] * (2 if event == "twice" else 1)
        for body in bodies:
            found = news(known, {name: SHAPE.decode(body)}, SHAPE, present=pods, since=0.0, seconds=30.0)
            known, gathering = dict(found.known), gathering.with_rows(found.numbers)
    last = {name: SHAPE.decode(pod.body()) for name, pod in pods.items()}
    found = news(known, last, SHAPE, present=pods, since=0.0, seconds=30.0)
    assert gathering.with_rows(found.numbers).rows == served


def test_a_part_is_kept_exactly() -> None:
    pod = CountingPod(PROFILE)
    pod.serve({"a": RNG.normal(size=500), "score": RNG.random(500)})
    read = SHAPE.decode(pod.body()).numbers
    part = kept_reference(OWNER, "fraud-a", "fraud-a-reference-x-0", against=FIRST, numbers=read, shape=SHAPE)
    np.testing.assert_array_equal(numbers_of(part, SHAPE), read)
    assert len(part["data"]["counts"]) < 2000
