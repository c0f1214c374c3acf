"""What a serving pod exposes, as counters of its revision."""

import pytest
from prometheus_client.parser import text_string_to_metric_families
from tests.fakes.gateway import exposition

from penstock_contract.metrics import LATENCY_BUCKETS_SECONDS
from penstock_operator.core.pod_counters import parse_pod_counters
from penstock_operator.core.routes import LatencyCounts
from penstock_server.metrics import Metrics


def test_answers_are_counted_by_class_and_latencies_by_bucket() -> None:
    text = exposition("fraud-1", answers={200: 90, 304: 1, 404: 4, 500: 3, 504: 2}, slow={0.005: 80, 0.1: 15})
    counted = parse_pod_counters(text, "fraud-1")
    assert counted.boot == "1700000000.25"
    assert (counted.counters.requests, counted.counters.errors) == (100, 9)
    assert counted.counters.latency == LatencyCounts(le=(0.005, 0.01, 0.1, 1.0), counts=(80, 0, 15, 0, 5))


@pytest.mark.parametrize("version", ["1", 'a,b="c"', "x\\", "two\nlines", "line\u2028separator", "},{ 7"])
def test_what_the_server_exposes_is_read_whatever_the_version_is_called(version: str) -> None:
    metrics = Metrics({"revision": "fraud-1", "model": "fraud", "model_version": version})
    metrics.answered(200, 0.0009)
    metrics.answered(200, 0.0009)
    metrics.answered(429, 40.0)
    text = metrics.exposition()
    assert list(text_string_to_metric_families(text.decode()))

    counters = parse_pod_counters(text, "fraud-1").counters
    assert (counters.requests, counters.errors) == (3, 1)
    assert counters.latency.le == LATENCY_BUCKETS_SECONDS
    assert counters.latency.counts[LATENCY_BUCKETS_SECONDS.index(0.001)] == 2
    assert counters.latency.counts[-1] == 1


def test_a_pod_that_has_answered_nothing_yet_counts_nothing() -> None:
    text = Metrics({"revision": "fraud-1", "model": "fraud", "model_version": "1"}).exposition()
    counters = parse_pod_counters(text, "fraud-1").counters
    assert (counters.requests, counters.errors, sum(counters.latency.counts)) == (0, 0, 0)


GOOD = exposition("fraud-1", answers={200: 5}).decode()


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (GOOD.replace("fraud-1", "fraud-2"), "labelled fraud-1"),
        (GOOD.replace('code="200"} 5.0', 'code="200"} NaN'), "NaN"),
        (GOOD.replace('code="200"} 5.0', 'code="200"} -1'), "not a count"),
        (GOOD.replace('code="200"} 5.0', 'code="200"} 2.5'), "not a count"),
        (GOOD.replace('le="1.0"} 5.0', 'le="1.0"} 6.0'), "must not fall"),
        (GOOD.replace("_seconds_bucket{", "_hours_bucket{"), "is not there"),
        (GOOD.replace("process_start_time_seconds", "other"), "is not there"),
        ("\n".join(line for line in GOOD.split("\n") if '+Inf"} 5' not in line), r"must be \+Inf"),
        ("", "is not there"),
        ("<html>", "is not there"),
        (GOOD * 200, "more than 1000 series"),
    ],
)
def test_what_no_serving_pod_of_the_revision_would_say_is_refused(text: str, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        parse_pod_counters(text.encode(), "fraud-1")
