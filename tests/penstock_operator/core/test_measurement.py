"""What happened since the last look, whatever routers do in between."""

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from penstock_operator.core.measurement import Baseline, Measurement, measure
from penstock_operator.core.routes import LatencyCounts, RevisionCounters, RouterSample

KEY = ("fraud", "fraud-a")
EDGES = (0.01, 0.1)


def counters(
    requests: int, errors: int = 0, latency: tuple[int, ...] | None = None, hosts: int = 1
) -> RevisionCounters:
    counts = latency or (requests, 0, 0)
    return RevisionCounters(
        requests=requests, errors=errors, latency=LatencyCounts(le=EDGES, counts=counts), healthy_hosts=hosts
    )


def sample(pod: str, of: RevisionCounters | None, boot: str = "1") -> RouterSample:
    return RouterSample(pod=pod, boot=boot, counters={KEY: of} if of else {})


def ticks(*rounds: list[RouterSample], pods: set[str]) -> list[Measurement]:
    baseline, measurements = Baseline(), []
    for samples in rounds:
        baseline, measurement = measure(baseline, samples, pods)
        measurements.append(measurement)
    return measurements


def requests(measurements: list[Measurement]) -> list[int]:
    return [measurement.counts[KEY].requests if KEY in measurement.counts else 0 for measurement in measurements]


def test_a_tick_is_the_difference_summed_over_routers() -> None:
    _, tick = ticks(
        [sample("a", counters(10, 1, (9, 1, 0))), sample("b", counters(100, 5, (100, 0, 0), hosts=2))],
        [sample("a", counters(15, 3, (10, 3, 2))), sample("b", counters(107, 5, (105, 1, 1), hosts=2))],
        pods={"a", "b"},
    )
    counts = tick.counts[KEY]
    assert (counts.requests, counts.errors, counts.healthy_hosts) == (12, 2, 1)
    assert counts.latency == LatencyCounts(le=EDGES, counts=(6, 3, 3))
    assert tick.coverage == 1.0


def copies(requests: int, errors: int, dropped: int) -> RouterSample:
    mirrored = replace(counters(requests, errors), dropped=dropped)
    return RouterSample(pod="a", boot="1", counters={KEY: counters(1)}, mirrored={KEY: mirrored})


def test_copies_are_counted_apart_and_those_that_were_never_sent_for_nobody() -> None:
    _, tick = ticks([copies(10, 2, 1)], [copies(40, 12, 9)], pods={"a"})
    assert tick.counts[KEY].requests == 0
    assert (tick.mirrored[KEY].requests, tick.mirrored[KEY].errors) == (22, 2)


def test_a_dropped_copy_that_is_read_before_its_error_starts_no_counter_anew() -> None:
    _, early, late = ticks([copies(10, 2, 2)], [copies(10, 2, 3)], [copies(11, 3, 3)], pods={"a"})
    assert (early.mirrored[KEY].requests, early.mirrored[KEY].errors) == (0, 0)
    assert late.mirrored[KEY].requests <= 1


def test_the_first_look_at_a_router_counts_nothing() -> None:
    assert requests(ticks([sample("a", counters(1000))], pods={"a"})) == [0]


def test_a_revision_that_is_new_in_a_known_router_began_at_zero() -> None:
    assert requests(ticks([sample("a", None)], [sample("a", counters(7))], pods={"a"})) == [0, 7]


def test_a_restarted_router_began_at_zero() -> None:
    rounds = [[sample("a", counters(50))], [sample("a", counters(60), boot="2")]]
    assert requests(ticks(*rounds, pods={"a"})) == [0, 60]


def test_a_counter_that_fell_began_at_zero() -> None:
    rounds = [[sample("a", counters(50))], [sample("a", counters(3))], [sample("a", counters(5))]]
    assert requests(ticks(*rounds, pods={"a"})) == [0, 3, 2]


def test_successes_that_fell_behind_new_errors_are_a_restart_too() -> None:
    rounds = [[sample("a", counters(50))], [sample("a", counters(60, 55, (60, 0, 0)))]]
    tick = ticks(*rounds, pods={"a"})[1]
    assert (tick.counts[KEY].requests, tick.counts[KEY].errors) == (60, 55)


def test_a_router_that_is_absent_for_a_tick_counts_later_and_once() -> None:
    measurements = ticks(
        [sample("a", counters(10)), sample("b", counters(10))],
        [sample("a", counters(15))],
        [sample("a", counters(15)), sample("b", counters(18))],
        pods={"a", "b"},
    )
    assert requests(measurements) == [0, 5, 8]
    assert [measurement.coverage for measurement in measurements] == [1.0, 0.5, 1.0]


def test_a_router_that_nobody_expects_counts_nothing() -> None:
    rounds = [[sample("old", counters(10))], [sample("old", counters(20))]]
    measurements = ticks(*rounds, pods={"a"})
    assert requests(measurements) == [0, 0]
    assert measurements[1].coverage == 0.0


def test_a_router_that_does_not_know_the_revision_has_no_host_for_it() -> None:
    (tick,) = ticks([sample("a", counters(1, hosts=3)), sample("b", None)], pods={"a", "b"})
    assert tick.counts[KEY].healthy_hosts == 0


def test_no_router_expected_is_full_coverage() -> None:
    assert ticks([], pods=set())[0].coverage == 1.0


def test_routers_with_other_buckets_are_added_on_the_edges_that_they_share() -> None:
    def finer(one: int, two: int, three: int, four: int) -> RouterSample:
        latency = LatencyCounts(le=(0.01, 0.05, 0.1), counts=(one, two, three, four))
        total = one + two + three + four
        return sample("b", RevisionCounters(requests=total, errors=0, latency=latency, healthy_hosts=1))

    _, tick = ticks(
        [sample("a", counters(0, latency=(0, 0, 0))), finer(0, 0, 0, 0)],
        [sample("a", counters(6, latency=(1, 2, 3))), finer(10, 20, 30, 40)],
        pods={"a", "b"},
    )
    assert tick.counts[KEY].latency == LatencyCounts(le=EDGES, counts=(11, 52, 43))


@given(
    steps=st.lists(
        st.tuples(st.integers(0, 50), st.integers(0, 50), st.booleans(), st.booleans()), min_size=1, max_size=30
    )
)
def test_nothing_is_lost_or_counted_twice_while_a_router_is_watched(
    steps: list[tuple[int, int, bool, bool]],
) -> None:
    baseline, _ = measure(Baseline(), [sample("a", counters(5))], {"a"})
    served, failed, boot, expected, seen, pending = 5, 0, 1, 0, 0, 0
    for good, bad, restarts, absent in steps:
        if restarts:
            # What was not read before the end of a process is lost; nothing can bring it back.
            served, failed, boot, pending = 0, 0, boot + 1, 0
        served, failed, pending = served + good + bad, failed + bad, pending + good + bad
        samples = [] if absent else [sample("a", counters(served, failed, (served, 0, 0)), boot=str(boot))]
        if not absent:
            expected, pending = expected + pending, 0
        baseline, tick = measure(baseline, samples, {"a"})
        for counts in tick.counts.values():
            assert 0 <= counts.errors <= counts.requests
            assert min(counts.latency.counts) >= 0
            seen += counts.requests
    assert seen == expected
