"""What live traffic says of every watched revision, as Prometheus metrics of bounded number."""

from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from penstock_operator.core.drift.live.words import named, short
from penstock_operator.core.objects import ObjectRef

if TYPE_CHECKING:  # it brings numpy along, for which an operator that watches no traffic has no use
    from penstock_operator.core.drift_sight import Sight

#: Names of columns come from the profiles of models. Of one revision at most so many columns are shown, the worst
#: first, and of all together at most so many series; what is left out is counted.
COLUMNS_MAX = 100
SERIES_MAX = 50_000
_OF_REVISION = ("namespace", "policy", "model_deployment", "revision")
_OF_SIGNAL = (*_OF_REVISION, "signal")


class DriftMetrics(Collector):
    """Implements the DriftObserver port; what it was told last is shown at each scrape."""

    def __init__(self) -> None:
        self._sights: dict[ObjectRef, tuple[Sight, ...]] = {}

    def watched(self, policy: ObjectRef, sights: "Sequence[Sight]") -> None:
        """Take in all that a policy knows now."""
        if sights:
            self._sights[policy] = tuple(sights)
        else:
            self._sights.pop(policy, None)

    def collect(self) -> Iterator[Metric]:
        """Yield one family after the other."""
        rows = CounterMetricFamily("penstock_drift_rows_total", "Rows judged for drift", labels=_OF_REVISION)
        judged = CounterMetricFamily("penstock_drift_windows_total", "Windows judged for drift", labels=_OF_REVISION)
        waiting = GaugeMetricFamily(
            "penstock_drift_waiting_rows", "Rows that wait for their window to be full", labels=_OF_REVISION
        )
        coverage = GaugeMetricFamily(
            "penstock_drift_coverage_ratio", "Share of ready pods whose counts could be read", labels=_OF_REVISION
        )
        watching = GaugeMetricFamily(
            "penstock_drift_watching", "1 where live traffic is judged, 0 where it cannot be", labels=_OF_REVISION
        )
        alarms = GaugeMetricFamily(
            "penstock_drift_alarm", "1 for each signal that is beyond its limit", labels=(*_OF_SIGNAL, "signal_class")
        )
        psi = GaugeMetricFamily(
            "penstock_drift_psi", "Population stability index of the last window, less what chance makes",
            labels=_OF_SIGNAL,
        )  # fmt: skip
        p_value = GaugeMetricFamily(
            "penstock_drift_p_value", "How likely the last window would be if nothing had changed", labels=_OF_SIGNAL
        )
        together = GaugeMetricFamily(
            "penstock_drift_together", "Of all columns of the last window at once: inputs/mmd, contribution/nDCG",
            labels=_OF_SIGNAL,
        )  # fmt: skip
        omitted = GaugeMetricFamily("penstock_drift_signals_omitted", "Columns that are not shown, to bound series")
        left, dropped = SERIES_MAX, 0
        for labels, sight in self._all():
            watch = sight.watch
            segment = sight.watched.segment
            if not segment:  # the rows of segments are among these
                rows.add_metric(labels, watch.rows)
                judged.add_metric(labels, watch.windows)
                waiting.add_metric(labels, watch.waiting)
                coverage.add_metric(labels, watch.coverage)
                watching.add_metric(labels, float(sight.problem is None and sight.judge is not None))
            for one in watch.open.values():
                alarms.add_metric([*labels, named(short(one.name), segment), one.signal.value], 1)
            for signal, number in watch.together.items():
                together.add_metric([*labels, named(signal, segment)], number)
            ranked = sorted(watch.columns, key=lambda column: -(column.described.psi_adjusted or 0.0))
            shown = ranked[: min(COLUMNS_MAX, left)]
            left -= len(shown)
            dropped += len(ranked) - len(shown)
            for column in shown:
                if column.described.psi_adjusted is not None:
                    name = named(short(column.described.name), segment)
                    psi.add_metric([*labels, name], column.described.psi_adjusted)
                    p_value.add_metric([*labels, name], column.described.p)
        omitted.add_metric([], dropped)
        yield from (rows, judged, waiting, coverage, watching, alarms, psi, p_value, together, omitted)

    def _all(self) -> "Iterable[tuple[list[str], Sight]]":
        for ref, sights in list(self._sights.items()):
            for sight in sights:
                yield [ref.namespace, ref.name, sight.watched.model_deployment, sight.watched.revision], sight
