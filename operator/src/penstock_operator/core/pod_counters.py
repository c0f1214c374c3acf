"""From the text that a serving pod exposes at /metrics to the counters of its revision."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

from penstock_contract import metrics
from penstock_operator.core.routes import LatencyCounts, RevisionCounters

_BOOT = "process_start_time_seconds"
_BUCKET = f"{metrics.REQUEST_DURATION_SECONDS}_bucket"
#: A label; its value is people's own text and may contain anything.
_LABEL = re.compile(r'(\w+)="((?:[^"\\]|\\.)*)"')
_SUCCESSES = ("2", "3")
#: Enough for every status code and every edge; a pod that exposes more is none of ours.
_SERIES_MAX = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class PodCounters:
    """What one process has counted since its start; ``boot`` tells its incarnations apart."""

    boot: str
    counters: RevisionCounters


def parse_pod_counters(exposition: bytes, revision: str) -> PodCounters:
    """Return the counters of a pod of ``revision``. Raises ValueError for what no serving pod of it would say.

    A pod that serves another revision than its label says is refused: its counts would be charged to the wrong one.
    """
    boot = ""
    answers: dict[str, int] = {}
    buckets: dict[float, int] = {}
    for name, labels, value in _samples(exposition.decode()):
        if name == _BOOT:
            boot = value
            continue
        if labels.get(metrics.REVISION) != revision:
            raise ValueError(f"the pod counts for revision {labels.get(metrics.REVISION)!r} and is labelled {revision}")
        if name == metrics.REQUESTS_TOTAL:
            answers[labels[metrics.CODE]] = _count(value)
        else:
            buckets[float(labels["le"])] = _count(value)
    if not boot or not buckets:
        raise ValueError(f"{_BOOT} or {_BUCKET} is not there")
    return PodCounters(boot=boot, counters=_counters(answers, buckets))


def _counters(answers: dict[str, int], buckets: dict[float, int]) -> RevisionCounters:
    edges = sorted(buckets)
    if edges[-1] != float("inf"):
        raise ValueError("the last bucket must be +Inf")
    below = [buckets[edge] for edge in edges]
    counts = tuple(total - before for before, total in pairwise([0, *below]))
    if any(count < 0 for count in counts):
        raise ValueError("buckets must not fall")
    return RevisionCounters(
        requests=sum(answers.values()),
        errors=sum(count for code, count in answers.items() if code[:1] not in _SUCCESSES),
        latency=LatencyCounts(le=tuple(edges[:-1]), counts=counts),
        healthy_hosts=1,
    )


def _samples(text: str) -> Iterator[tuple[str, dict[str, str], str]]:
    """Yield name, labels and value of the series that matter here."""
    wanted = (_BOOT, metrics.REQUESTS_TOTAL, _BUCKET)
    found = 0
    for line in text.split("\n"):  # not by lines: a label may hold other line ends
        if not line.startswith(wanted):
            continue
        series, _, value = line.rpartition(" ")
        name, _, labels = series.partition("{")
        if name not in wanted:
            continue
        found += 1
        if found > _SERIES_MAX:
            raise ValueError(f"more than {_SERIES_MAX} series")
        yield name, _labels(labels), value


def _labels(text: str) -> dict[str, str]:
    """Return labels by name, as they are written: what is asked for here contains nothing that is escaped."""
    return dict(_LABEL.findall(text))


def _count(value: str) -> int:
    number = float(value)
    if not number.is_integer() or number < 0:
        raise ValueError(f"{value} is not a count")
    return int(number)
