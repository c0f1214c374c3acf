"""What the server counts, in Prometheus' text format."""

from collections.abc import Callable, Iterator, Mapping

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, disable_created_metrics, generate_latest
from prometheus_client.core import Metric
from prometheus_client.process_collector import ProcessCollector

from penstock_contract import metrics as names

# One more series per counter, which only says when the process started.
disable_created_metrics()  # type: ignore[no-untyped-call]  # the library left it without types

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"


class Metrics:
    """All metrics of one server; every series carries the constant ``labels``."""

    def __init__(self, labels: Mapping[str, str]) -> None:
        self._registry = CollectorRegistry()
        self._labelled = _Labelled(self._registry, labels)
        ProcessCollector(registry=self._registry)
        self._requests = self._counter(names.REQUESTS_TOTAL, "Inference requests answered, by status code", names.CODE)
        self._rejected = self._counter(
            names.REQUESTS_REJECTED_TOTAL, "Inference requests that never reached the model", names.REASON
        )
        self._rows = self._counter(names.ROWS_TOTAL, "Rows of requests that were answered with 200")
        self._duration = self._histogram(names.REQUEST_DURATION_SECONDS, "Inference requests, arrival to answer")
        self._run = self._histogram(names.RUN_DURATION_SECONDS, "Runs inside ONNX Runtime")
        self._load = self._gauge(names.MODEL_LOAD_SECONDS, "Time that loading the model took")
        self._in_flight = self._gauge(names.REQUESTS_IN_FLIGHT, "Requests that hold a turn to run now")
        self._queued = self._gauge(names.REQUESTS_QUEUED, "Requests that wait for a turn now")
        self._ready = self._gauge(names.READY, "1 while new requests are welcome")

    def watch(self, *, in_flight: Callable[[], float], queued: Callable[[], float], ready: Callable[[], float]) -> None:
        """Read these gauges at each scrape instead of at each request."""
        self._in_flight.set_function(in_flight)
        self._queued.set_function(queued)
        self._ready.set_function(ready)

    def info(self, **versions: str) -> None:
        """Say which versions run."""
        Gauge(names.SERVER_INFO, "Versions of what runs", versions, registry=self._registry).labels(**versions).set(1)

    def answered(self, code: int, seconds: float) -> None:
        """Count one inference request."""
        self._requests.labels(str(code)).inc()
        self._duration.observe(seconds)

    def rejected(self, reason: str) -> None:
        """Count one inference request that never reached the model; ``reason`` is one of ours."""
        self._rejected.labels(reason).inc()

    def ran(self, seconds: float, rows: int) -> None:
        """Count one successful run."""
        self._run.observe(seconds)
        self._rows.inc(rows)

    def loaded(self, seconds: float) -> None:
        """Remember how long loading took."""
        self._load.set(seconds)

    def exposition(self) -> bytes:
        """Return all series as Prometheus scrapes them."""
        return generate_latest(self._labelled)

    def _counter(self, name: str, text: str, *labels: str) -> Counter:
        return Counter(name, text, labels, registry=self._registry)

    def _gauge(self, name: str, text: str) -> Gauge:
        return Gauge(name, text, registry=self._registry)

    def _histogram(self, name: str, text: str) -> Histogram:
        return Histogram(name, text, buckets=names.LATENCY_BUCKETS_SECONDS, registry=self._registry)


class _Labelled:
    """A registry whose series carry more labels; adding them at scrape time costs requests nothing."""

    def __init__(self, registry: CollectorRegistry, labels: Mapping[str, str]) -> None:
        self._registry = registry
        self._labels = dict(labels)

    def collect(self) -> Iterator[Metric]:
        for family in self._registry.collect():
            family.samples = [sample._replace(labels={**self._labels, **sample.labels}) for sample in family.samples]
            yield family
