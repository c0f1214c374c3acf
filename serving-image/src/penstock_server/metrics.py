"""What the server counts, in Prometheus' text format."""

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from itertools import accumulate

import numpy as np
import numpy.typing as npt
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.process_collector import ProcessCollector

from penstock_contract import metrics as names
from penstock_server import coarse_clock

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
_OK = int(HTTPStatus.OK)  # comparing with the member of the enumeration takes five times as long
#: Sorting so many values into buckets takes 15 µs, no longer than a request.
_ASIDE_MAX = 512


class Histogram:
    """Counts values by bucket.

    The library's own takes a lock for each observation and adds to each bucket above the value: about
    2 µs, where this takes 0.1: values are put aside and sorted many at a time. It may only be used by one thread,
    which is the event loop's.
    """

    def __init__(self, name: str, text: str, bounds: Sequence[float]) -> None:
        self._name = name
        self._text = text
        self._bounds = np.array(bounds, np.float64)
        self._labels = [*map(str, map(float, bounds)), "+Inf"]
        self._counts: npt.NDArray[np.int64] = np.zeros(len(bounds) + 1, np.int64)
        self._sum = 0.0
        self._aside: list[float] = []

    def observe(self, value: float) -> None:
        """Count one value."""
        aside = self._aside
        aside.append(value)
        if len(aside) >= _ASIDE_MAX:
            self._sort()

    @property
    def sum(self) -> float:
        """All values together."""
        self._sort()
        return self._sum

    @property
    def count(self) -> int:
        """How many values were counted."""
        self._sort()
        return int(self._counts.sum())

    def family(self) -> Metric:
        """Return what is counted, as Prometheus wants it: each bucket with all below it."""
        self._sort()
        buckets = list(zip(self._labels, map(float, accumulate(self._counts.tolist())), strict=True))
        return HistogramMetricFamily(self._name, self._text, buckets=buckets, sum_value=self._sum)

    def _sort(self) -> None:
        """Count what was put aside."""
        if self._aside:
            values = np.array(self._aside, np.float64)
            self._aside.clear()
            # A bound belongs to the bucket below it: "le" is less or equal.
            self._counts += np.bincount(self._bounds.searchsorted(values), minlength=len(self._counts))
            self._sum += float(values.sum())


@dataclass(frozen=True, slots=True, kw_only=True)
class Statistics:
    """What a server has done since its start, as clients ask for it: requests, rows, runs, and their times."""

    successes: int
    success_seconds: float
    failures: int
    failure_seconds: float
    rows: int
    runs: int
    run_seconds: float
    last_run_at: float  # seconds since 1970, 0: never


class Metrics:
    """All metrics of one server; every series carries the constant ``labels``.

    Counting is adding to plain numbers; all else happens when somebody asks. Only the event loop's
    thread counts.
    """

    def __init__(self, labels: Mapping[str, str]) -> None:
        self._labels = dict(labels)
        self._process = ProcessCollector(registry=None)
        self._registry = CollectorRegistry()
        self._registry.register(self)
        self._codes: dict[int, int] = {}
        self._reasons: dict[str, int] = {}
        self._rows = 0
        self._success_seconds = 0.0
        self._last_run_at = 0.0
        self._duration = _latency(names.REQUEST_DURATION_SECONDS, "Inference requests, arrival to answer")
        self._run = _latency(names.RUN_DURATION_SECONDS, "Runs inside ONNX Runtime")
        self._queue = _latency(names.QUEUE_DURATION_SECONDS, "Requests that waited for their run, arrival to run")
        self._run_rows = Histogram(names.RUN_ROWS, "Rows of runs", names.ROWS_BUCKETS)
        self._load_seconds = 0.0
        self._versions: dict[str, str] = {}
        self._gauges: dict[str, tuple[str, Callable[[], float]]] = {}
        self._more: list[Callable[[], Iterable[Metric]]] = []

    def watch(self, *, in_flight: Callable[[], float], queued: Callable[[], float], ready: Callable[[], float]) -> None:
        """Read these gauges at each scrape instead of at each request."""
        self._gauges[names.REQUESTS_IN_FLIGHT] = "Requests that hold a turn to run now", in_flight
        self._gauges[names.REQUESTS_QUEUED] = "Requests that wait for a turn now", queued
        self._gauges[names.READY] = "1 while new requests are welcome", ready

    def add(self, families: Callable[[], Iterable[Metric]]) -> None:
        """Expose what somebody else counts as well; asked at each scrape."""
        self._more.append(families)

    def errors(self) -> dict[str, int]:
        """Return how many inference requests were not answered with 200, by status code."""
        return {str(code): count for code, count in sorted(self._codes.items()) if code != HTTPStatus.OK}

    def info(self, **versions: str) -> None:
        """Say which versions run."""
        self._versions = versions

    def answered(self, code: int, seconds: float) -> None:
        """Count one inference request."""
        codes = self._codes
        codes[code] = codes[code] + 1 if code in codes else 1
        self._duration.observe(seconds)
        if code == _OK:
            self._success_seconds += seconds

    def rejected(self, reason: str) -> None:
        """Count one inference request that never reached the model; ``reason`` is one of ours."""
        self._reasons[reason] = self._reasons.get(reason, 0) + 1

    def ran(self, seconds: float, rows: int) -> None:
        """Count one successful run."""
        self._run.observe(seconds)
        self._run_rows.observe(rows)
        self._rows += rows
        self._last_run_at = coarse_clock.now()

    def waited(self, seconds: float) -> None:
        """Count one request that had to wait for its turn to run."""
        self._queue.observe(seconds)

    def loaded(self, seconds: float) -> None:
        """Remember how long loading took."""
        self._load_seconds = seconds

    def statistics(self) -> Statistics:
        """Return what a client may ask about the past."""
        requests, runs = self._duration, self._run
        successes = self._codes.get(HTTPStatus.OK, 0)
        return Statistics(
            successes=successes,
            success_seconds=self._success_seconds,
            failures=requests.count - successes,
            failure_seconds=max(0.0, requests.sum - self._success_seconds),
            rows=self._rows,
            runs=runs.count,
            run_seconds=runs.sum,
            last_run_at=self._last_run_at,
        )

    def exposition(self) -> bytes:
        """Return all series as Prometheus scrapes them."""
        return generate_latest(self._registry)

    def collect(self) -> Iterator[Metric]:
        """Return all series; what the library calls."""
        for family in self._families():
            family.samples = [sample._replace(labels={**self._labels, **sample.labels}) for sample in family.samples]
            yield family

    def _families(self) -> Iterator[Metric]:
        yield from self._process.collect()
        yield _counter(
            names.REQUESTS_TOTAL, "Inference requests answered, by status code", names.CODE, sorted(self._codes.items())
        )
        yield _counter(
            names.REQUESTS_REJECTED_TOTAL,
            "Inference requests that never reached the model",
            names.REASON,
            self._reasons.items(),
        )
        yield CounterMetricFamily(names.ROWS_TOTAL, "Rows of requests that were answered with 200", self._rows)
        yield CounterMetricFamily(names.CPU_SECONDS_TOTAL, "CPU time that serving has cost", time.process_time())
        yield self._duration.family()
        yield self._run.family()
        yield self._run_rows.family()
        yield self._queue.family()
        yield GaugeMetricFamily(names.MODEL_LOAD_SECONDS, "Time that loading the model took", self._load_seconds)
        for name, (text, read) in self._gauges.items():
            yield GaugeMetricFamily(name, text, float(read()))
        for families in self._more:
            yield from families()
        if self._versions:
            versions = GaugeMetricFamily(names.SERVER_INFO, "Versions of what runs", labels=list(self._versions))
            versions.add_metric(list(self._versions.values()), 1)
            yield versions


def _latency(name: str, text: str) -> Histogram:
    return Histogram(name, text, names.LATENCY_BUCKETS_SECONDS)


def _counter(name: str, text: str, label: str, counts: Iterable[tuple[object, int]]) -> CounterMetricFamily:
    family = CounterMetricFamily(name, text, labels=[label])
    for value, count in counts:
        family.add_metric([str(value)], count)
    return family
