"""The ops port: answers from threads, whatever the event loop does."""

import socket
from collections.abc import Callable, Iterator
from http.client import HTTPConnection

import pytest

from penstock_operator.adapters.cache import ObjectCache
from penstock_operator.adapters.metrics import Metrics
from penstock_operator.adapters.ops_server import Heartbeat, OpsServer
from penstock_operator.core.objects import Kind


class Bench:
    """A server with a clock and a readiness in the test's hands."""

    def __init__(self) -> None:
        self.now = 0.0
        self.trouble: str | None = None
        self.metrics = Metrics()
        self.heartbeat = Heartbeat(clock=lambda: self.now)
        self.server = OpsServer(
            host="127.0.0.1",
            port=0,
            registry=self.metrics.registry,
            heartbeat=self.heartbeat,
            ready=lambda: self.trouble,
        )

    def get(self, path: str, method: str = "GET") -> tuple[int, str]:
        connection = HTTPConnection("127.0.0.1", self.server.port, timeout=5)
        try:
            connection.request(method, path)
            answer = connection.getresponse()
            return answer.status, answer.read().decode()
        finally:
            connection.close()


@pytest.fixture
def bench() -> Iterator[Bench]:
    made = Bench()
    made.server.start()
    yield made
    made.server.stop()


def test_a_turning_loop_is_healthy(bench: Bench) -> None:
    bench.now = 19
    assert bench.get("/healthz") == (200, "ok\n")


def test_a_blocked_loop_is_not(bench: Bench) -> None:
    bench.now = 25
    assert bench.get("/healthz") == (503, "the event loop has been blocked for 25 s\n")
    assert bench.get("/readyz")[0] == 503
    bench.heartbeat.beat()
    assert bench.get("/healthz")[0] == 200


def test_readiness_says_what_is_missing(bench: Bench) -> None:
    bench.trouble = "not listed yet: pods"
    assert bench.get("/readyz?verbose") == (503, "not listed yet: pods\n")
    assert bench.get("/healthz")[0] == 200


def test_other_paths_are_not_there(bench: Bench) -> None:
    assert bench.get("/")[0] == 404


def test_a_head_request_has_no_body(bench: Bench) -> None:
    assert bench.get("/healthz", "HEAD") == (200, "")


def test_silent_connections_do_not_keep_probes_out(bench: Bench) -> None:
    silent = [socket.create_connection(("127.0.0.1", bench.server.port)) for _ in range(10)]
    try:
        assert bench.get("/healthz") == (200, "ok\n")
    finally:
        for connection in silent:
            connection.close()


@pytest.fixture
def watched(bench: Bench) -> ObjectCache:
    cache = ObjectCache()
    depth: Callable[[], int] = lambda: 3  # noqa: E731
    bench.metrics.watch(cache=cache, last_event={Kind.POD: 0.0}, queue_depth=depth, queue_oldest_seconds=lambda: 1.5)
    return cache


def test_the_metrics_show_the_queue_the_api_and_the_leader(bench: Bench, watched: ObjectCache) -> None:
    bench.metrics.reconciled(Kind.TRAFFIC_SPLIT, 0.1, "ok")
    bench.metrics.reconciled(Kind.TRAFFIC_SPLIT, 0.1, "error")
    bench.metrics.requested("apply", "services", "200", 0.01)
    bench.metrics.leads(leading=True)
    bench.metrics.event_dropped()
    _, text = bench.get("/metrics")
    for line in (
        'penstock_reconcile_total{kind="TrafficSplit",outcome="ok"} 1.0',
        'penstock_reconcile_errors_total{kind="TrafficSplit"} 1.0',
        'penstock_reconcile_errors_total{kind="DriftPolicy"} 0.0',
        'penstock_api_requests_total{code="200",resource="services",verb="apply"} 1.0',
        "penstock_leader 1.0",
        "penstock_events_dropped_total 1.0",
        "penstock_queue_depth 3.0",
        "penstock_queue_oldest_seconds 1.5",
        'penstock_cached_objects{kind="Pod"} 0.0',
    ):
        assert line in text.splitlines()
    assert 'penstock_watch_last_event_age_seconds{kind="Pod"}' in text
    assert watched.count(Kind.POD) == 0


def test_the_metrics_show_the_state_of_every_object_of_ours(bench: Bench, watched: ObjectCache) -> None:
    metadata = {"name": "fraud", "namespace": "shop", "uid": "u", "resourceVersion": "1"}
    status = {
        "conditions": [{"type": "Ready", "status": "True"}],
        "weights": [{"revision": "fraud-1", "weight": 75}, {"revision": "fraud-2", "weight": 25}],
    }
    watched.put(Kind.TRAFFIC_SPLIT, {"metadata": metadata, "status": status})
    watched.put(Kind.MODEL_DEPLOYMENT, {"metadata": metadata})
    lines = bench.get("/metrics")[1].splitlines()
    condition = 'penstock_condition{kind="TrafficSplit",name="fraud",namespace="shop",status="True",type="Ready"} 1.0'
    assert condition in lines
    assert 'penstock_split_weight{namespace="shop",revision="fraud-2",split="fraud"} 25.0' in lines
