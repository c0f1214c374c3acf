"""What the operator's own metrics say between two moments."""

import re
from dataclasses import dataclass
from http.client import HTTPConnection
from itertools import pairwise

from benchmarks.scale.machine import memory_megabytes, waited_seconds
from benchmarks.serving import quiet

_LINE = re.compile(r"^(?P<name>[a-z_]+)(?:\{(?P<labels>[^}]*)\})? (?P<value>\S+)$")


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """The operator's metrics, its memory and the machine's processes at one moment."""

    values: dict[str, float]
    machine: quiet.Snapshot
    memory_megabytes: float
    waited_seconds: float
    """How long the event loop was ready to run and had no processor, since the operator began."""

    def histogram(self, name: str, kind: str) -> dict[float, float]:
        """Return cumulative counts by upper edge."""
        found = {}
        for key, value in self.values.items():
            if key.startswith(f"{name}_bucket{{") and f'kind="{kind}"' in key:
                edge = re.search(r'le="([^"]+)"', key)
                assert edge is not None
                found[float(edge[1])] = value
        return dict(sorted(found.items()))

    def total(self, prefix: str) -> float:
        return sum(value for key, value in self.values.items() if key.startswith(prefix))


def read(port: int, pid: int) -> Reading:
    connection = HTTPConnection("127.0.0.1", port, timeout=10)
    try:
        connection.request("GET", "/metrics")
        text = connection.getresponse().read().decode()
    finally:
        connection.close()
    values = {}
    for line in text.splitlines():
        if found := _LINE.match(line):
            labels = f"{{{found['labels']}}}" if found["labels"] else ""
            values[found["name"] + labels] = float(found["value"])
    return Reading(
        values=values,
        machine=quiet.snapshot(),
        memory_megabytes=memory_megabytes(pid),
        waited_seconds=waited_seconds(pid),
    )


def quantile(before: dict[float, float], after: dict[float, float], share: float) -> float:
    """Return a quantile of what a histogram counted between two readings, linear within its bucket."""
    counted = {edge: value - before.get(edge, 0.0) for edge, value in after.items()}
    total = max(counted.values(), default=0.0)
    if total == 0:
        return float("nan")
    wanted, edges = share * total, [(0.0, 0.0), *counted.items()]
    for (low, below), (high, upto) in pairwise(edges):
        if upto >= wanted:
            inside = (wanted - below) / (upto - below) if upto > below else 1.0
            return low if high == float("inf") else low + (high - low) * inside
    return edges[-1][0]
