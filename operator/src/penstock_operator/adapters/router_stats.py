"""Reads the counters that Envoy keeps, from every router of a namespace at once."""

import asyncio
import re
from collections.abc import Sequence
from dataclasses import replace
from functools import lru_cache
from operator import sub

import aiohttp

from penstock_operator.adapters.xds.naming import ClusterName, Purpose
from penstock_operator.core.manifests.router import STATS_PORT
from penstock_operator.core.manifests.router_bootstrap import (
    BOOT_HEADER,
    EDGE_SHIFT_MS,
    LATENCY_EDGES_MS,
    LATENCY_END_MS,
)
from penstock_operator.core.routes import LatencyCounts, RevisionCounters, RouterPod, RouterSample

# Envoy's own text form is a tenth of the Prometheus one: a histogram is one line of `B<edge>(<interval>,<total>)`.
_PATH = "/stats"
_CLASSES = ("upstream_rq_2xx", "upstream_rq_3xx", "upstream_rq_4xx", "upstream_rq_5xx")
_ERROR_CLASSES = ("upstream_rq_4xx", "upstream_rq_5xx")
#: What the counts of calls have between the cluster and the statistic.
_GRPC_STATS = ".grpc"
#: One bucket is ``B<edge>(<interval>,<total>)``.
_EDGE = re.compile(r"B([^( ]+)\(")
_TOTAL = re.compile(r",([0-9]+)\)")
_TEXT_SHOWN = 100
_MILLISECONDS = 1000
_NO_LATENCY = LatencyCounts(
    le=tuple(edge / _MILLISECONDS for edge in LATENCY_EDGES_MS), counts=(0,) * (len(LATENCY_EDGES_MS) + 1)
)


class HttpRouterStats:
    """Implements the RouterStats port over the routers' statistics port. The session belongs to the caller."""

    def __init__(self, session: aiohttp.ClientSession, *, port: int = STATS_PORT, timeout_seconds: float = 1.0) -> None:
        self._session = session
        self._port = port
        self._timeout = aiohttp.ClientTimeout(total=timeout_seconds)

    async def read(self, namespace: str, pods: Sequence[RouterPod]) -> Sequence[RouterSample]:
        """Read all pods at once; a pod that does not answer in time or makes no sense is absent from the result."""
        samples = await asyncio.gather(*(self._read_pod(namespace, pod) for pod in pods))
        return [sample for sample in samples if sample is not None]

    async def _read_pod(self, namespace: str, pod: RouterPod) -> RouterSample | None:
        host = f"[{pod.ip}]" if ":" in pod.ip else pod.ip
        query = {"usedonly": "", "histogram_buckets": "cumulative", "filter": f"^cluster\\.{namespace}/"}
        try:
            async with self._session.get(
                f"http://{host}:{self._port}{_PATH}", params=query, timeout=self._timeout, allow_redirects=False
            ) as response:
                boot = response.headers.get(BOOT_HEADER, "")
                if response.status != 200 or not boot:  # noqa: PLR2004
                    return None
                text = await response.text()
        except (aiohttp.ClientError, TimeoutError, OSError, UnicodeDecodeError):
            return None
        try:
            counters = parse_counters(text, namespace)
        except ValueError:
            return None
        return RouterSample(
            pod=pod.name,
            boot=boot,
            counters=counters[Purpose.SPREAD],
            matched=counters[Purpose.MATCHED],
            mirrored=counters[Purpose.MIRRORED],
        )


def parse_counters(text: str, namespace: str) -> dict[Purpose, dict[tuple[str, str], RevisionCounters]]:
    """Return the counters in Envoy's text form by purpose, split and revision.

    Raises ValueError for what is not that form.
    """
    clusters: dict[str, dict[str, str]] = {}
    for line in text.splitlines():
        name, found, value = line.partition(": ")
        cluster, _, statistic = name.removeprefix("cluster.").rpartition(".")
        if cluster.endswith(_GRPC_STATS):
            cluster, statistic = cluster.removesuffix(_GRPC_STATS), f"grpc.{statistic}"
        if found and cluster:
            clusters.setdefault(cluster, {})[statistic] = value
    counters: dict[Purpose, dict[tuple[str, str], RevisionCounters]] = {purpose: {} for purpose in Purpose}
    for text_name, statistics in clusters.items():
        name_of = ClusterName.parse_stats(text_name)
        if name_of.namespace == namespace:
            of_purpose, key = counters[name_of.purpose], (name_of.split, name_of.revision)
            found_now = _counters(statistics, name_of)
            of_purpose[key] = _together(of_purpose[key], found_now) if key in of_purpose else found_now
    return counters


def _together(one: RevisionCounters, other: RevisionCounters) -> RevisionCounters:
    """Return the counters of a revision over both protocols."""
    if one.latency.le != other.latency.le:
        # One of them has had no request yet, and shows no edges of its own.
        latency = max(one.latency, other.latency, key=lambda latency: sum(latency.counts))
    else:
        pairs = zip(one.latency.counts, other.latency.counts, strict=True)
        latency = replace(one.latency, counts=tuple(map(sum, pairs)))
    return RevisionCounters(
        requests=one.requests + other.requests,
        errors=one.errors + other.errors,
        latency=latency,
        # The next request may be of either.
        healthy_hosts=min(one.healthy_hosts, other.healthy_hosts),
        dropped=one.dropped + other.dropped,
    )


def _counters(statistics: dict[str, str], name: ClusterName) -> RevisionCounters:
    def number(statistic: str) -> int:
        return int(statistics.get(statistic, "0"))

    # Of the classes and not of `completed`: read while requests are counted, errors must not exceed requests.
    answers = {answer: number(answer) for answer in _CLASSES}
    errors = {answer: answers[answer] for answer in _ERROR_CLASSES}
    if name.grpc and name.purpose is not Purpose.MIRRORED:
        # Calls end with a status of their own after an answer of 200; those of copies have it as that of the answer.
        answers = {"success": number("grpc.success"), "failure": number("grpc.failure")}
        errors = {"failure": answers["failure"]}
    return RevisionCounters(
        requests=sum(answers.values()),
        errors=sum(errors.values()),
        latency=_latency(statistics.get("upstream_rq_time", ""), timeouts=number("upstream_rq_timeout")),
        healthy_hosts=number("membership_healthy"),
        # Envoy answers what it may not send itself, with a 503.
        dropped=number("upstream_rq_pending_overflow") if name.purpose is Purpose.MIRRORED else 0,
    )


def _latency(text: str, *, timeouts: int) -> LatencyCounts:
    """Return the histogram; requests that the router gave up on are in no bucket of Envoy's, so in the last here."""
    if not text.strip():
        return replace(_NO_LATENCY, counts=(*_NO_LATENCY.counts[:-1], timeouts))
    # Hundreds of these are read every two seconds: two expressions cost a fifth of a loop over the buckets.
    edges, totals = _edges(tuple(_EDGE.findall(text))), [int(total) for total in _TOTAL.findall(text)]
    if len(edges) + 1 != len(totals) or len(totals) != text.count("B"):
        raise ValueError(f"latency buckets that cannot be read: {text[:_TEXT_SHOWN]}")
    counts = list(map(sub, totals, [0, *totals[:-1]]))
    counts[-1] += timeouts
    return LatencyCounts(le=edges, counts=tuple(counts))


@lru_cache(maxsize=64)
def _edges(texts: tuple[str, ...]) -> tuple[float, ...]:
    """Return the edges in seconds but for the last one, which all requests are below; every revision has the same."""
    milliseconds = [float(text) for text in texts]
    if not milliseconds or milliseconds[-1] != LATENCY_END_MS:
        raise ValueError(f"the last latency bucket must end at {LATENCY_END_MS} ms, edges are {texts[-3:]}")
    return tuple((edge_ms + EDGE_SHIFT_MS) / _MILLISECONDS for edge_ms in milliseconds[:-1])
