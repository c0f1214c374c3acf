"""What the router is asked to do: one listener for each split, and where its requests go."""

import re
from dataclasses import dataclass, field
from enum import StrEnum

_PERCENT = 100
#: RFC 9110's token in lower case. Routers refuse requests that have underscores in header names.
_HEADER_NAME = re.compile(r"[a-z0-9!#$%&'*+.^`|~-]+")
#: Not longer, because routers look for it with an expression whose size they limit.
_COOKIE_NAME = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]{1,64}")
#: These never reach a match: Envoy keeps the first apart, and takes the others away.
_RESERVED_HEADERS = ("host", "x-penstock-", "x-envoy-")


@dataclass(frozen=True, slots=True, kw_only=True)
class Backend:
    """One revision behind a split.

    ``weight`` is in percent; 0 keeps the revision's cluster warm (resolved and health-checked) without traffic.
    ``host`` is the DNS name of the revision's headless Service. Its pods answer HTTP on ``port``, and gRPC on
    ``grpc_port`` where they do.

    ``keys_from`` matters with stickiness only: of the hundred equal parts that all keys fall into, this revision takes
    its share from this part upwards, past those of others. So its keys stay where they are while weights change, and
    come out of what backends without ``keys_from`` have.
    """

    revision: str
    host: str
    port: int
    weight: int
    grpc_port: int | None = None
    keys_from: int | None = None

    def __post_init__(self) -> None:
        """Refuse a part that does not exist."""
        if self.keys_from is not None and not 0 <= self.keys_from < _PERCENT:
            raise ValueError(f"keys_from of {self.revision} must be 0 to {_PERCENT - 1}, got {self.keys_from}")


class MatchKind(StrEnum):
    """How a header's value is compared."""

    EXACT = "Exact"
    PREFIX = "Prefix"
    PRESENT = "Present"


@dataclass(frozen=True, slots=True, kw_only=True)
class HeaderMatch:
    """Requests with such a header go to ``revision``, whatever the weights. ``value`` is empty for PRESENT."""

    header: str
    kind: MatchKind
    value: str = ""
    revision: str

    def __post_init__(self) -> None:
        """Refuse what no request can fulfil."""
        check_header_name(self.header)
        if self.kind is MatchKind.PRESENT and self.value:
            raise ValueError(f"a match for the presence of {self.header} takes no value, got {self.value!r}")
        if self.kind is not MatchKind.PRESENT and not self.value:
            raise ValueError(f"a match for {self.header} needs a value; for any value match its presence")


@dataclass(frozen=True, slots=True, kw_only=True)
class HeaderKey:
    """Requests with the same value of a header go to the same revision; those without it are spread by weight."""

    name: str

    def __post_init__(self) -> None:
        """Refuse a name that no request can have."""
        check_header_name(self.name)


@dataclass(frozen=True, slots=True, kw_only=True)
class CookieKey:
    """Requests with the same cookie go to the same revision; who has none is given one for ``ttl_seconds``."""

    name: str
    ttl_seconds: int

    def __post_init__(self) -> None:
        """Refuse what browsers would not keep."""
        if not _COOKIE_NAME.fullmatch(self.name):
            raise ValueError(f"{self.name!r} is no name of a cookie; use 1 to 64 letters, digits, - or _")
        if self.ttl_seconds < 1:
            raise ValueError(f"a cookie must live for at least a second, got {self.ttl_seconds}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Mirror:
    """Copies of ``percent`` of the requests that are spread by weight go to ``revision``, whose answers are dropped.

    ``compare``: pods note their answers to those requests and to the copies, so that they can be compared.
    """

    revision: str
    percent: int
    compare: bool = False

    def __post_init__(self) -> None:
        """Refuse a share that is none."""
        if not 0 <= self.percent <= _PERCENT:
            raise ValueError(f"mirror {self.revision}: percent must be 0 to {_PERCENT}, got {self.percent}")


@dataclass(frozen=True, slots=True, kw_only=True)
class SplitRoute:
    """One endpoint: the router pods listen on ``port`` and spread requests over ``backends`` by weight.

    The weights of the backends sum to 100. ``request_timeout_seconds`` is the router's own, longer than the pods'.

    ``matches`` come before weights, the first that fits wins. ``stickiness`` says which requests stay together.
    ``mirrors`` copy requests that no match took. Every revision that these name is one of ``backends``.

    gRPC goes the same ways where all backends have a port for it, but calls are not copied.
    """

    namespace: str
    split: str
    port: int
    backends: tuple[Backend, ...]
    request_timeout_seconds: float
    matches: tuple[HeaderMatch, ...] = ()
    stickiness: HeaderKey | CookieKey | None = None
    mirrors: tuple[Mirror, ...] = ()

    @property
    def grpc(self) -> bool:
        """Whether calls of gRPC are led too."""
        return all(backend.grpc_port is not None for backend in self.backends)

    def __post_init__(self) -> None:
        """Refuse weights that would lose requests, and names of what is not there."""
        name = f"{self.namespace}/{self.split}"
        total = sum(backend.weight for backend in self.backends)
        if total != _PERCENT or any(backend.weight < 0 for backend in self.backends):
            raise ValueError(f"weights of {name} must be >= 0 and sum to {_PERCENT}, got {total}")
        revisions = [backend.revision for backend in self.backends]
        if len(set(revisions)) != len(revisions):
            raise ValueError(f"backends of {name} name a revision twice: {', '.join(sorted(revisions))}")
        for what, named in (
            ("match", [match.revision for match in self.matches]),
            ("mirror", [mirror.revision for mirror in self.mirrors]),
        ):
            unknown = sorted(set(named) - set(revisions))
            if unknown:
                raise ValueError(f"{what} of {name}: {', '.join(unknown)} is not one of its backends; "
                                 f"add it with weight 0")  # fmt: skip
        mirrored = [mirror.revision for mirror in self.mirrors]
        if len(set(mirrored)) != len(mirrored):
            raise ValueError(f"mirrors of {name} name a revision twice: {', '.join(sorted(mirrored))}")


def check_header_name(name: str) -> None:
    """Raise ValueError where no request that reaches a route can have a header of this name.

    >>> check_header_name("x_beta")
    Traceback (most recent call last):
    ...
    ValueError: header 'x_beta': use lower-case letters, digits and -; routers refuse requests with underscores in names
    """
    if not _HEADER_NAME.fullmatch(name):
        raise ValueError(
            f"header {name!r}: use lower-case letters, digits and -; routers refuse requests with underscores in names"
        )
    if name.startswith(_RESERVED_HEADERS):
        raise ValueError(f"header {name!r} is the router's own; choose another, such as x-beta")


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
    ``healthy_hosts`` is a gauge: pods of the revision that this router may send to. ``dropped`` of the errors were
    copies that the router never sent, because too many were on their way.
    """

    requests: int
    errors: int
    latency: LatencyCounts
    healthy_hosts: int
    dropped: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class RouterSample:
    """All counters of one router process at one moment. ``boot`` tells its incarnations apart.

    By (split, revision), and by how requests came there: ``counters`` are of those that were spread by weight, which
    alone can be compared between revisions; ``matched`` of those that a header sent there; ``mirrored`` of copies.
    """

    pod: str
    boot: str
    counters: dict[tuple[str, str], RevisionCounters]
    matched: dict[tuple[str, str], RevisionCounters] = field(default_factory=dict)
    mirrored: dict[tuple[str, str], RevisionCounters] = field(default_factory=dict)
