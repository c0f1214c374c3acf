"""The operator's own Prometheus metrics."""

import time
from collections import Counter as Counted
from collections.abc import Callable, Iterator

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, PlatformCollector, ProcessCollector
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from penstock_operator.adapters.cache import ObjectCache
from penstock_operator.core.objects import CUSTOM_KINDS, Kind, Manifest, ObjectRef

_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)
#: Finer around a second, which is what a tick may be late.
_LATE_SECONDS = (0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 0.75, 1, 1.5, 2.5, 5, 10, 30)
_ACKNOWLEDGE_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5)


class Metrics:
    """Counters and gauges in a registry of their own.

    Hears of reconciles (``queue.Observer``), of API requests (``api_client.RequestObserver``) and of the event loop.
    """

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        PlatformCollector(registry=self.registry)
        registry = self.registry
        self._reconciles = Counter(
            "penstock_reconcile_total", "Reconciles by outcome", ["kind", "outcome"], registry=registry
        )
        self._errors = Counter(
            "penstock_reconcile_errors_total", "Reconciles that did not end well", ["kind"], registry=registry
        )
        self._durations = Histogram(
            "penstock_reconcile_duration_seconds", "How long a reconcile took", ["kind"], buckets=_SECONDS,
            registry=registry,
        )  # fmt: skip
        self._lateness = Histogram(
            "penstock_reconcile_lateness_seconds", "How long after it was due a reconcile began", ["kind"],
            buckets=_LATE_SECONDS, registry=registry,
        )  # fmt: skip
        self._requests = Counter(
            "penstock_api_requests_total", "Requests to the API server", ["verb", "resource", "code"],
            registry=registry,
        )  # fmt: skip
        self._request_durations = Histogram(
            "penstock_api_request_duration_seconds", "How long the API server took", ["verb"], buckets=_SECONDS,
            registry=registry,
        )  # fmt: skip
        self._dropped_events = Counter(
            "penstock_events_dropped_total", "Kubernetes Events dropped by rate limit or failure", registry=registry
        )
        self._acknowledgements = Histogram(
            "penstock_weights_acknowledged_seconds", "How long new weights took to reach all routers",
            buckets=_ACKNOWLEDGE_SECONDS, registry=registry,
        )  # fmt: skip
        self._alerts = Counter(
            "penstock_alerts_total", "Alerts that policies raised", ["namespace", "policy", "metric"],
            registry=registry,
        )  # fmt: skip
        self._actions = Counter(
            "penstock_actions_total", "What followed from alarms of policies",
            ["namespace", "policy", "action", "dry_run"], registry=registry,
        )  # fmt: skip
        self._deliveries = Counter(
            "penstock_webhook_deliveries_total", "Tries to tell a policy's webhook",
            ["namespace", "policy", "outcome"], registry=registry,
        )  # fmt: skip
        self._leader = Gauge("penstock_leader", "1 where this replica leads", registry=registry)
        self._loop_lag = Gauge(
            "penstock_event_loop_lag_seconds", "How late the event loop was at its last beat", registry=registry
        )
        for kind in CUSTOM_KINDS:  # a rate over a counter that is absent until its first error shows nothing
            self._errors.labels(kind.resource.kind)

    def began(self, kind: Kind, late_seconds: float) -> None:
        """Count how late one reconcile began."""
        self._lateness.labels(kind.resource.kind).observe(late_seconds)

    def reconciled(self, kind: Kind, seconds: float, outcome: str) -> None:
        """Count one reconcile."""
        name = kind.resource.kind
        self._reconciles.labels(name, outcome).inc()
        self._durations.labels(name).observe(seconds)
        if outcome != "ok":
            self._errors.labels(name).inc()

    def requested(self, verb: str, resource: str, code: str, seconds: float) -> None:
        """Count one request to the API server."""
        self._requests.labels(verb, resource, code).inc()
        self._request_durations.labels(verb).observe(seconds)

    def event_dropped(self) -> None:
        """Count one Event that nobody will see."""
        self._dropped_events.inc()

    def weights_acknowledged(self, seconds: float) -> None:
        """Count one change of weights that all routers acknowledged."""
        self._acknowledgements.observe(seconds)

    def alerted(self, namespace: str, policy: str, metric: str) -> None:
        """Count one alert."""
        self._alerts.labels(namespace, policy, metric).inc()

    def acted(self, namespace: str, policy: str, action: str, *, dry_run: bool) -> None:
        """Count one deed."""
        self._actions.labels(namespace, policy, action, str(dry_run).lower()).inc()

    def delivered(self, owner: ObjectRef, *, arrived: bool) -> None:
        """Count one try to tell somebody."""
        self._deliveries.labels(owner.namespace, owner.name, "arrived" if arrived else "failed").inc()

    def leads(self, *, leading: bool) -> None:
        """Say whether this replica leads."""
        self._leader.set(leading)

    def loop_lagged(self, seconds: float) -> None:
        """Say how late the event loop was."""
        self._loop_lag.set(seconds)

    def watch(
        self,
        *,
        cache: ObjectCache,
        last_event: dict[Kind, float],
        queue_depth: Callable[[], int],
        queue_oldest_seconds: Callable[[], float],
    ) -> None:
        """Also show what can be read from these at each scrape."""
        depth = Gauge("penstock_queue_depth", "Objects that wait for a worker", registry=self.registry)
        depth.set_function(queue_depth)
        oldest = Gauge("penstock_queue_oldest_seconds", "Age of the longest waiting object", registry=self.registry)
        oldest.set_function(queue_oldest_seconds)
        self.registry.register(_WatchState(cache, last_event))
        self.registry.register(_ObjectState(cache))


class _WatchState(Collector):
    """What the watches have brought, by kind."""

    def __init__(self, cache: ObjectCache, last_event: dict[Kind, float]) -> None:
        self._cache = cache
        self._last_event = last_event

    def collect(self) -> Iterator[GaugeMetricFamily]:
        """Read the cache."""
        ages = GaugeMetricFamily(
            "penstock_watch_last_event_age_seconds", "Time since the last watch event", labels=["kind"]
        )
        counts = GaugeMetricFamily("penstock_cached_objects", "Objects known", labels=["kind"])
        now = time.monotonic()
        for kind in Kind:
            name = kind.resource.kind
            counts.add_metric([name], self._cache.count(kind))
            if (last := self._last_event.get(kind)) is not None:
                ages.add_metric([name], now - last)
        yield ages
        yield counts


class _ObjectState(Collector):
    """The state of every object of our kinds, read from its status."""

    def __init__(self, cache: ObjectCache) -> None:
        self._cache = cache

    def collect(self) -> Iterator[GaugeMetricFamily]:
        """Read the cache."""
        conditions = GaugeMetricFamily(
            "penstock_condition",
            "1 for the present status of each condition",
            labels=["kind", "namespace", "name", "type", "status"],
        )
        weights = GaugeMetricFamily(
            "penstock_split_weight",
            "Percent of requests, as acknowledged by every router",
            labels=["namespace", "split", "revision"],
        )
        alarms = GaugeMetricFamily(
            "penstock_alarms",
            "Alarms of a policy by signal class and state",
            labels=["namespace", "policy", "signal", "state"],
        )
        for kind in CUSTOM_KINDS:
            for manifest in self._cache.every(kind):
                _add_conditions(conditions, kind, manifest)
        for policy in self._cache.every(Kind.DRIFT_POLICY):
            _add_alarms(alarms, policy)
        for split in self._cache.every(Kind.TRAFFIC_SPLIT):
            _add_weights(weights, split)
        yield conditions
        yield weights
        yield alarms


def _add_conditions(family: GaugeMetricFamily, kind: Kind, manifest: Manifest) -> None:
    metadata = manifest["metadata"]
    for condition in (manifest.get("status") or {}).get("conditions") or ():
        labels = (kind.resource.kind, metadata["namespace"], metadata["name"], condition["type"], condition["status"])
        family.add_metric([str(label) for label in labels], 1)


def _add_alarms(family: GaugeMetricFamily, policy: Manifest) -> None:
    """Count alarms by class: names of columns are whatever the data held, and no labels."""
    metadata = policy["metadata"]
    found = Counted(
        (str(entry.get("signal")), str(entry.get("state")))
        for entry in (policy.get("status") or {}).get("alarms") or ()
    )
    for (signal, state), count in sorted(found.items()):
        family.add_metric([metadata["namespace"], metadata["name"], signal, state], count)


def _add_weights(family: GaugeMetricFamily, split: Manifest) -> None:
    metadata = split["metadata"]
    for entry in (split.get("status") or {}).get("weights") or ():
        family.add_metric([metadata["namespace"], metadata["name"], str(entry["revision"])], float(entry["weight"]))
