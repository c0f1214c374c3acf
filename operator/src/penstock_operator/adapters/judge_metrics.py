"""What the judge says of each metric of each revision on trial, as Prometheus metrics."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from penstock_operator.core.objects import Manifest

_OF_METRIC = ("namespace", "split", "policy", "metric", "revision")
#: What is shown, by the field of status.analysis that holds it.
_NUMBERS = {
    "evidence": ("penstock_judge_evidence", "Evidence against the candidate; at the limit it is taken back"),
    "limit": ("penstock_judge_evidence_limit", "The evidence that takes the candidate back"),
    "acceptance": ("penstock_judge_acceptance", "Evidence that the candidate is good enough; at 20 it passes"),
}
_ARMS = ("stable", "candidate")


class JudgeMetrics(Collector):
    """Shows ``status.analysis`` of the splits that ``splits`` returns: policies, metrics and revisions are our own."""

    def __init__(self, splits: Callable[[], Iterable[Manifest]]) -> None:
        self._splits = splits

    def collect(self) -> Iterator[Metric]:
        """Yield one family after the other."""
        families = {field: GaugeMetricFamily(*named, labels=_OF_METRIC) for field, named in _NUMBERS.items()}
        verdicts = GaugeMetricFamily(
            "penstock_judge_verdict", "1 for the present verdict of each metric", labels=(*_OF_METRIC, "verdict")
        )
        values = GaugeMetricFamily(
            "penstock_judge_value", "The metric itself: a share, seconds or a mean", labels=(*_OF_METRIC, "arm")
        )
        counts = GaugeMetricFamily(
            "penstock_judge_samples", "Requests or readings that the value is of", labels=(*_OF_METRIC, "arm")
        )
        for split in self._splits():
            for entry in (split.get("status") or {}).get("analysis") or ():
                labels = _labels(split, entry)
                verdicts.add_metric([*labels, str(entry.get("verdict", ""))], 1)
                for field, family in families.items():
                    if field in entry:
                        family.add_metric(labels, float(entry[field]))
                for arm in _ARMS:
                    if summary := entry.get(arm):
                        values.add_metric([*labels, arm], float(summary.get("value", 0.0)))
                        counts.add_metric([*labels, arm], float(summary.get("n", 0)))
        yield from (*families.values(), verdicts, values, counts)


def _labels(split: Manifest, entry: Mapping[str, Any]) -> list[str]:
    metadata = split["metadata"]
    told = (metadata["namespace"], metadata["name"], entry.get("policy"), entry.get("metric"), entry.get("revision"))
    return [str(label or "") for label in told]
