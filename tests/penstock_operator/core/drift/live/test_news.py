"""Whatever pods do between two looks, every row counts once."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.fakes.counting_pods import CountingPod, Values, profile_of

from penstock_contract.feedback import FeedbackCounts
from penstock_operator.core.drift.live.flat import Ints, Read, Shape
from penstock_operator.core.drift.live.news import news


def rows(rng: np.random.Generator, count: int) -> Values:
    return {"amount": rng.normal(size=count), "kind": rng.integers(0, 4, count), "score": rng.random(count)}


PROFILE = profile_of(rows(np.random.default_rng(1), 2000))
SHAPE = Shape(PROFILE)
PODS = 3
#: What may happen between two looks: rows at a pod, a restart, an answer that does not come, one that comes twice.
EVENTS = st.lists(
    st.one_of(
        st.tuples(st.just("serve"), st.integers(0, PODS - 1), st.integers(1, 20)),
        st.tuples(st.just("restart"), st.integers(0, PODS - 1), st.just(0)),
        st.tuples(st.just("look"), st.integers(0, 2**PODS - 1), st.booleans()),
    ),
    max_size=25,
)


@settings(max_examples=60, deadline=None)
@given(EVENTS)
def test_any_split_of_rows_over_pods_restarts_and_late_answers_counts_each_row_that_was_read_once(
    events: list[tuple[str, int, int]],
) -> None:
    rng = np.random.default_rng(len(events))
    pods = {f"pod-{place}": CountingPod(PROFILE) for place in range(PODS)}
    alone = CountingPod(PROFILE)  # one process that answers all of it
    unread: dict[str, list[Values]] = {name: [] for name in pods}
    known: dict[str, Read] = {}
    late: dict[str, Read] = {}
    total: Ints = SHAPE.zero()
    for what, place, more in [*events, ("look", 2**PODS - 1, 0)]:
        name = f"pod-{place % PODS}"
        if what == "serve":
            values = rows(rng, more)
            pods[name].now = 1.0
            pods[name].serve(values)
            unread[name].append(values)
        elif what == "restart":
            pods[name].restart()
            unread[name].clear()  # nobody has read them, and nobody ever will
        else:
            reads = {one: SHAPE.decode(pods[one].body()) for at, one in enumerate(pods) if place & (1 << at)}
            for one in reads:
                for values in unread[one]:
                    alone.serve(values)
                unread[one].clear()
            told = news(known, reads, SHAPE, present=pods, since=0.0, seconds=30.0)
            total, known = total + told.numbers, dict(told.known)
            assert not told.refused
            if more and late:  # answers of the look before, once more
                again = news(known, late, SHAPE, present=pods, since=0.0, seconds=30.0)
                lives = {one: read for one, read in late.items() if known[one].boot_id == read.boot_id}
                if lives == late:
                    assert not again.numbers.any()
            late = reads
    assert np.array_equal(total, SHAPE.decode(alone.body()).numbers)


def looked(
    known: dict[str, Read], *, since: float = 0.0, **pods: CountingPod
) -> tuple[dict[str, Read], Ints, dict[str, str]]:
    reads = {name: SHAPE.decode(pod.body()) for name, pod in pods.items()}
    told = news(known, reads, SHAPE, present=pods, since=since, seconds=30.0)
    return dict(told.known), told.numbers, dict(told.refused)


@pytest.fixture
def pod() -> CountingPod:
    pod = CountingPod(PROFILE)
    pod.now = 1.0
    pod.serve(rows(np.random.default_rng(2), 10))
    return pod


def test_what_a_pod_counted_before_the_watch_began_only_sets_its_base(pod: CountingPod) -> None:
    known, numbers, _ = looked({}, since=2.0, pod=pod)
    assert not numbers.any()
    pod.serve(rows(np.random.default_rng(3), 5))
    _, numbers, _ = looked(known, since=2.0, pod=pod)
    assert numbers[0] == 5


def test_counters_that_fall_are_refused_and_what_comes_after_counts(pod: CountingPod) -> None:
    known, _, _ = looked({}, pod=pod)
    shrunk = CountingPod(PROFILE)
    shrunk.serve(rows(np.random.default_rng(2), 3))
    shrunk.lies = {"bootId": pod.message()["bootId"], "seq": 100}
    known, numbers, refused = looked(known, pod=shrunk)
    assert refused == {"pod": "pod pod is not believed: its counters fell although it did not start anew"}
    assert not numbers.any()
    shrunk.lies["seq"] = 101
    shrunk.serve(rows(np.random.default_rng(2), 4))
    _, numbers, refused = looked(known, pod=shrunk)
    assert (numbers[0], refused) == (4, {})


def test_two_pods_with_one_identity_count_once(pod: CountingPod) -> None:
    _, numbers, refused = looked({}, one=pod, other=pod)
    assert numbers[0] == 10
    assert "same bootId" in refused["other"]


def test_more_rows_than_a_machine_can_answer_are_not_believed(pod: CountingPod) -> None:
    read = SHAPE.decode(pod.body())
    told = news({}, {"pod": read}, SHAPE, present={"pod"}, since=0.0, seconds=1e-9)
    assert told.numbers[0] == 10
    many = Read(boot_id="b", seq=1, numbers=read.numbers * 1_000_000)
    told = news({}, {"pod": many}, SHAPE, present={"pod"}, since=0.0, seconds=1.0)
    assert "10000000 rows in 1 s" in told.refused["pod"]


def test_labels_are_told_from_those_of_before(pod: CountingPod) -> None:
    pod.feedback = FeedbackCounts(matched=5, confusion={"a": {"a": 4, "b": 1}})
    read = SHAPE.decode(pod.body())
    first = news({}, {"pod": read}, SHAPE, present={"pod"}, since=0.0, seconds=30.0)
    assert first.feedback.matched == 5
    pod.feedback = FeedbackCounts(matched=8, confusion={"a": {"a": 6, "b": 2}})
    then = news(first.known, {"pod": SHAPE.decode(pod.body())}, SHAPE, present={"pod"}, since=0.0, seconds=30.0)
    assert then.feedback == FeedbackCounts(matched=3, confusion={"a": {"a": 2, "b": 1}})


def test_pods_that_are_gone_are_forgotten(pod: CountingPod) -> None:
    known, _, _ = looked({}, pod=pod)
    told = news(known, {}, SHAPE, present=(), since=0.0, seconds=30.0)
    assert told.known == {}
