"""What the router is asked to do: one listener for each split, weights over revisions."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Backend:
    """One revision behind a split.

    ``weight`` is in percent; 0 keeps the revision's cluster warm (resolved and health-checked) without traffic.
    ``host`` is the DNS name of the revision's headless Service.
    """

    revision: str
    host: str
    port: int
    weight: int


@dataclass(frozen=True, slots=True, kw_only=True)
class SplitRoute:
    """One endpoint: the router pods listen on ``port`` and spread requests over ``backends`` by weight.

    The weights of the backends sum to 100. ``request_timeout_seconds`` is the router's own, longer than the pods'.
    """

    namespace: str
    split: str
    port: int
    backends: tuple[Backend, ...]
    request_timeout_seconds: float

    def __post_init__(self) -> None:
        """Refuse weights that would lose requests."""
        total = sum(backend.weight for backend in self.backends)
        if total != 100 or any(backend.weight < 0 for backend in self.backends):  # noqa: PLR2004
            raise ValueError(f"weights of {self.namespace}/{self.split} must be >= 0 and sum to 100, got {total}")


@dataclass(frozen=True, slots=True, kw_only=True)
class RouterPod:
    """A running router pod, as the cluster's API knows it."""

    name: str
    ip: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Acknowledgement:
    """Which router pods run the configuration last published for a namespace.

    ``rejected`` maps a pod's name to Envoy's own words; such a pod keeps its last good configuration.
    """

    version: str
    acknowledged: frozenset[str]
    rejected: dict[str, str]
    missing: frozenset[str]

    @property
    def complete(self) -> bool:
        """Whether every router pod runs it, and there is at least one."""
        return not self.rejected and not self.missing and bool(self.acknowledged)


@dataclass(frozen=True, slots=True, kw_only=True)
class LatencyCounts:
    """A latency histogram: ``counts[i]`` requests took at most ``le[i]`` seconds and more than ``le[i-1]``.

    ``counts`` has one entry more than ``le``: those slower than the last edge.
    """

    le: tuple[float, ...]
    counts: tuple[int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class RevisionCounters:
    """Cumulative counters of one revision behind one split in one router process.

    ``errors`` counts every answer that is not a success (4xx, 5xx and what the router itself answered for it).
    ``healthy_hosts`` is a gauge: pods of the revision that this router may send to.
    """

    requests: int
    errors: int
    latency: LatencyCounts
    healthy_hosts: int


@dataclass(frozen=True, slots=True, kw_only=True)
class RouterSample:
    """All counters of one router process at one moment. ``boot`` tells its incarnations apart."""

    pod: str
    boot: str
    counters: dict[tuple[str, str], RevisionCounters]
    """By (split, revision)."""
