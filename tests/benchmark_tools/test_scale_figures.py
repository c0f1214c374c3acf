"""Figures of the benchmark of scale: quantiles of what was counted between two readings."""

import math

import pytest
from benchmarks.scale.figures import Reading, quantile
from benchmarks.scale.machine import Parties
from benchmarks.serving.quiet import Process, Snapshot

INFINITY = float("inf")
NOBODY = Snapshot(processes={}, stolen_seconds=0.0)


def test_a_quantile_lies_within_its_bucket_in_proportion() -> None:
    after = {0.1: 50.0, 0.5: 90.0, 1.0: 100.0, INFINITY: 100.0}
    assert quantile({}, after, 0.5) == pytest.approx(0.1)
    assert quantile({}, after, 0.7) == pytest.approx(0.3)
    assert quantile({}, after, 1.0) == pytest.approx(1.0)


def test_only_what_was_counted_between_the_readings_counts() -> None:
    before = {0.1: 100.0, 1.0: 100.0, INFINITY: 100.0}
    assert quantile(before, {0.1: 100.0, 1.0: 110.0, INFINITY: 110.0}, 0.5) == pytest.approx(0.55)


def test_beyond_the_last_edge_that_edge_is_told() -> None:
    assert quantile({}, {1.0: 1.0, INFINITY: 100.0}, 0.99) == 1.0


def test_nothing_counted_has_no_quantile() -> None:
    assert math.isnan(quantile({}, {1.0: 0.0, INFINITY: 0.0}, 0.5))


def test_a_histogram_is_found_by_name_and_kind() -> None:
    values = {
        'late_bucket{kind="TrafficSplit",le="0.5"}': 3.0,
        'late_bucket{kind="TrafficSplit",le="+Inf"}': 4.0,
        'late_bucket{kind="DriftPolicy",le="0.5"}': 9.0,
        'late_count{kind="TrafficSplit"}': 4.0,
    }
    reading = Reading(values=values, machine=NOBODY, memory_megabytes=0.0, waited_seconds=0.0)
    assert reading.histogram("late", "TrafficSplit") == {0.5: 3.0, INFINITY: 4.0}


def test_each_party_has_its_own_processor_time_and_the_rest_is_the_others() -> None:
    def machine(operator: float, compiler: float, stolen: float) -> Snapshot:
        def process(seconds: float) -> Process:
            return Process(parent=1, session=1, name="any", cpu_seconds=seconds, began=1)

        return Snapshot(processes={7: process(operator), 8: process(1.0), 9: process(compiler)}, stolen_seconds=stolen)

    parties = Parties(pids={"operator": 7, "etcd": 8})
    used = parties.cores(machine(1.0, 5.0, 0.0), machine(6.0, 14.0, 1.0), 10.0)
    assert used == {"operator": 0.5, "etcd": 0.0, "others": 1.0}
