"""The composition root: reads the settings, builds every part, runs the process."""

import asyncio
import gc
import logging
import os
import secrets
import sys
import time
from collections.abc import Mapping
from contextlib import AsyncExitStack
from functools import partial
from pathlib import Path

import aiohttp
from kubernetes.aio.config import ConfigException

from penstock_operator import app
from penstock_operator.adapters import leader_endpoint, log
from penstock_operator.adapters.api_client import ApiClient, load_access
from penstock_operator.adapters.audit import LogAudit
from penstock_operator.adapters.cache import ObjectCache
from penstock_operator.adapters.drift_metrics import DriftMetrics
from penstock_operator.adapters.events import EventRecorder
from penstock_operator.adapters.gateway_api.objects import KubernetesGatewayApi
from penstock_operator.adapters.guarded_http import guarded_session
from penstock_operator.adapters.job_source import JobSource
from penstock_operator.adapters.judge_metrics import JudgeMetrics
from penstock_operator.adapters.kubernetes import CHILD_SELECTOR, KubernetesCluster
from penstock_operator.adapters.lease import KubernetesLease
from penstock_operator.adapters.metrics import Metrics
from penstock_operator.adapters.ops_server import Heartbeat, OpsServer
from penstock_operator.adapters.prometheus import HttpPrometheus
from penstock_operator.adapters.resync import Resync
from penstock_operator.adapters.router_stats import HttpRouterStats
from penstock_operator.adapters.secrets import SecretReader
from penstock_operator.adapters.serving_pods import HttpServingPods
from penstock_operator.adapters.trainer import JobTrainer
from penstock_operator.adapters.watch_sink import CacheSink
from penstock_operator.adapters.web_source import WebSource
from penstock_operator.adapters.webhooks import Postman
from penstock_operator.adapters.xds.server import XdsServer
from penstock_operator.core.fanout import affected
from penstock_operator.core.manifests.router import RouterSettings
from penstock_operator.core.manifests.serving_pod import ServingImage
from penstock_operator.core.news import is_news, moves_ties
from penstock_operator.core.objects import Kind, Manifest, ObjectRef
from penstock_operator.election import Elector, Leadership, SoleReplica
from penstock_operator.intake import Intake
from penstock_operator.journal import Journaled
from penstock_operator.ports import (
    Clock,
    Cluster,
    DriftObserver,
    GatewayApi,
    MetricSource,
    RolloutObserver,
    Router,
    RouterStats,
    ServingPods,
)
from penstock_operator.queue import Reconciler, WorkQueue
from penstock_operator.reconcile.acting import Actor
from penstock_operator.reconcile.built_in_router import BuiltInRouter
from penstock_operator.reconcile.comparing import Comparing
from penstock_operator.reconcile.drift_policy import DriftPolicyReconciler
from penstock_operator.reconcile.fleet import Fleet
from penstock_operator.reconcile.gateway_router import GatewayRouter
from penstock_operator.reconcile.measuring import Measuring
from penstock_operator.reconcile.model_deployment import ModelDeploymentReconciler
from penstock_operator.reconcile.pod_sampling import PodSampler
from penstock_operator.reconcile.routers import Routers
from penstock_operator.reconcile.sampling import Sampler
from penstock_operator.reconcile.traffic_split import TrafficSplitReconciler
from penstock_operator.reconcile.watching import TrafficWatch
from penstock_operator.settings import Settings, SettingsError, read_settings

_LOG = logging.getLogger(__name__)
#: A rollout writes new numbers at each tick; who shows them too may follow this much later.
_NUMBERS_SECONDS = 10.0
#: And later still among hundreds of splits: of each kind so many follow in a second, all splits together.
_FOLLOWERS_PER_SECOND = 5.0
#: A full garbage collection walks through the whole cache while nothing else happens. Objects of the cluster go by
#: their reference counts, and what is left in cycles may wait, a hundred times as long as usual.
_YOUNG_COLLECTIONS_BEFORE_A_FULL_ONE = 1000
#: The chart's name of the operator's service account.
_ACCOUNT = "penstock-operator"


class SystemClock:
    """Wall-clock time, for what is written into status."""

    def now(self) -> float:
        """Return Unix time in seconds."""
        return time.time()


def main() -> None:
    """Run the operator until SIGTERM; exit status 2 for settings that cannot be read."""
    try:
        settings = read_settings()
    except SettingsError as error:
        sys.exit(f"penstock-operator: {error}")
    log.configure(settings.log_level)
    gc.set_threshold(*gc.get_threshold()[:2], _YOUNG_COLLECTIONS_BEFORE_A_FULL_ONE)
    try:
        status = asyncio.run(_run(settings))
    except ConfigException as error:
        sys.exit(f"penstock-operator: neither in a pod nor with a kubeconfig ($KUBECONFIG, ~/.kube/config): {error}")
    logging.shutdown()
    os._exit(status)  # nothing is left to save, and no library's thread may delay the exit


async def _run(settings: Settings) -> int:
    metrics = Metrics()
    drift = DriftMetrics()
    metrics.registry.register(drift)
    heartbeat = Heartbeat()
    cache = ObjectCache()
    metrics.registry.register(JudgeMetrics(lambda: cache.every(Kind.TRAFFIC_SPLIT)))
    ops = OpsServer(
        host=_bind_address(settings).strip("[]"),
        port=settings.ops_port,
        registry=metrics.registry,
        heartbeat=heartbeat,
        ready=lambda: _unready(cache),
    )
    ops.start()
    stop = app.Stop()
    stop.claim_signals()
    access = await load_access()
    async with AsyncExitStack() as stack:
        agent = f"penstock-operator ({settings.pod_name})"
        lease_client = await stack.enter_async_context(
            ApiClient(access, may_write=lambda: True, observer=metrics, user_agent=agent)
        )
        leadership = _leadership(settings, lease_client)
        client = await stack.enter_async_context(
            ApiClient(access, may_write=leadership.may_write, observer=metrics, user_agent=agent)
        )
        recorder = EventRecorder(client, instance=settings.pod_name, on_drop=metrics.event_dropped)
        cluster = KubernetesCluster(client, cache, recorder)
        # A router that counts is one that connects from its pod's address; outside of pods there is none to compare.
        router = XdsServer(verify_peers=bool(settings.pod_ip))
        session = await stack.enter_async_context(aiohttp.ClientSession())
        outside = await stack.enter_async_context(guarded_session())
        secrets_of_people = SecretReader(client, account=f"{settings.operator_namespace}:{_ACCOUNT}")
        postman = Postman(outside, secrets_of_people, observer=metrics, hosts=settings.webhook_hosts)
        reconcilers = build_reconcilers(
            settings=settings,
            cluster=cluster,
            router=router,
            statistics=HttpRouterStats(session),
            gateways=_gateways(settings, client),
            clock=SystemClock(),
            observer=metrics,
            actor=Actor(cluster=cluster, letters=postman, trainer=JobTrainer(client), observer=metrics),
            pods=HttpServingPods(session),
            drift=drift,
            sources={
                "Prometheus": HttpPrometheus(
                    session,
                    url=settings.prometheus_url,
                    token_file=Path(settings.prometheus_token_file) if settings.prometheus_token_file else None,
                ),
                "Web": WebSource(outside, secrets_of_people),
                "Job": JobSource(client),
            },
        )
        journaled = {kind: Journaled(reconciler, cluster.get) for kind, reconciler in reconcilers.items()}
        queue = WorkQueue(journaled, observer=metrics, workers=settings.workers, urgent={Kind.TRAFFIC_SPLIT})
        _connect(cache, queue)
        resync = Resync(cluster.resync, namespaces=settings.watch_namespaces, interval_seconds=settings.resync_seconds)
        sink = CacheSink(cache, on_gap=resync.request)
        intake = Intake(
            access,
            namespaces=settings.watch_namespaces,
            child_selector=CHILD_SELECTOR,
            sink=sink,
            until_listed=resync.until_listed,
            claim_signals=stop.claim_signals,
        )
        metrics.watch(
            cache=cache,
            last_event=sink.last_event,
            queue_depth=lambda: queue.depth,
            queue_oldest_seconds=queue.oldest_age,
        )

        parts = app.Parts(
            metrics=metrics,
            heartbeat=heartbeat,
            queue=queue,
            leadership=leadership,
            background=(intake.run, resync.run, recorder.run, postman.run),
            until_listed=resync.listed.wait,
            flush_events=recorder.flush,
            open_to_routers=partial(router.start, _bind_address(settings), settings.xds_port),
            lead_routers_here=partial(_lead_routers_here, settings, client),
            close_to_routers=partial(router.stop, 0.5),
        )
        return await app.run(parts, stop)


def build_reconcilers(
    *,
    settings: Settings,
    cluster: Cluster,
    router: Router,
    statistics: RouterStats,
    gateways: GatewayApi | None,
    clock: Clock,
    observer: RolloutObserver,
    actor: Actor,
    pods: ServingPods,
    drift: DriftObserver,
    sources: Mapping[str, MetricSource],
) -> dict[Kind, Reconciler]:
    """Return the reconciler of each kind."""
    image = ServingImage(image=settings.serving_image, pull_policy=settings.image_pull_policy)
    routers = RouterSettings(
        image=settings.router_image,
        xds_address=settings.xds_address,
        operator_namespace=settings.operator_namespace,
        replicas=settings.router_replicas,
        image_pull_policy=settings.image_pull_policy,
        image_pull_secrets=settings.image_pull_secrets,
    )
    return {
        Kind.MODEL_DEPLOYMENT: ModelDeploymentReconciler(cluster=cluster, clock=clock, image=image),
        Kind.TRAFFIC_SPLIT: TrafficSplitReconciler(
            cluster=cluster,
            clock=clock,
            router=Routers(
                built_in=BuiltInRouter(
                    fleet=Fleet(cluster=cluster, router=router, settings=routers),
                    sampler=Sampler(stats=statistics, clock=clock, monotonic=time.monotonic),
                    monotonic=time.monotonic,
                ),
                gateway=GatewayRouter(
                    cluster=cluster,
                    api=gateways,
                    sampler=PodSampler(cluster=cluster, pods=pods, clock=clock, monotonic=time.monotonic),
                    monotonic=time.monotonic,
                ),
            ),
            observer=observer,
            comparing=Comparing(cluster=cluster, pods=pods, monotonic=time.monotonic),
            measuring=Measuring(sources=sources, clock=clock, monotonic=time.monotonic),
            audit=LogAudit(),
            tick_seconds=settings.tick_seconds,
            monotonic=time.monotonic,
        ),
        Kind.DRIFT_POLICY: DriftPolicyReconciler(
            cluster=cluster,
            clock=clock,
            actor=actor,
            watch=partial(_watch_of_traffic, settings, cluster, pods, clock, drift),
        ),
    }


def _watch_of_traffic(
    settings: Settings, cluster: Cluster, pods: ServingPods, clock: Clock, observer: DriftObserver
) -> TrafficWatch:
    # With it come numpy and scipy, 45 MB and a third of a second, for policies that watch traffic alone.
    from penstock_operator.reconcile.drift_watch import DriftWatch  # noqa: PLC0415

    return DriftWatch(
        cluster=cluster,
        pods=pods,
        clock=clock,
        monotonic=time.monotonic,
        interval_seconds=settings.profile_seconds,
        observer=observer,
    )


def _gateways(settings: Settings, client: ApiClient) -> GatewayApi | None:
    """Return the door to the Gateway API, where the chart has granted rights on it."""
    if not settings.gateway_enabled:
        return None
    return KubernetesGatewayApi(client, namespaces=settings.watch_namespaces, monotonic=time.monotonic)


def _leadership(settings: Settings, client: ApiClient) -> Leadership:
    """Each process has its own identity; one that starts again in the same pod is the heir of its predecessor."""
    if not settings.leader_election:
        return SoleReplica()
    pod = f"{settings.pod_name}_{settings.pod_uid}_" if settings.pod_uid else None
    return Elector(
        store=KubernetesLease(client, namespace=settings.operator_namespace, name=settings.lease_name),
        identity=f"{pod or settings.pod_name + '_'}{secrets.token_hex(4)}",
        heir_of=pod,
    )


async def _lead_routers_here(settings: Settings, client: ApiClient) -> None:
    """Make the xDS Service point at this pod; outside of pods there is nothing to point at."""
    if settings.pod_ip:
        await leader_endpoint.point_to(
            client,
            namespace=settings.operator_namespace,
            pod_ip=settings.pod_ip,
            pod_name=settings.pod_name,
            port=settings.xds_port,
        )


def _bind_address(settings: Settings) -> str:
    """Listen in the family of the pod's own address, so that routers' addresses compare with those of their pods."""
    return "[::]" if ":" in settings.pod_ip else "0.0.0.0"  # noqa: S104 - a pod's port; the chart's policy guards it


def _connect(cache: ObjectCache, queue: WorkQueue) -> None:
    """Make every change of the cache mark the objects that depend on it."""

    def on_change(ref: ObjectRef, old: Manifest | None, new: Manifest | None) -> None:
        at_once = is_news(ref.kind, old, new)
        # Where nothing but numbers changed, the old state leads to the same objects.
        states = (old, new) if at_once and moves_ties(ref.kind, old, new) else (new,)
        keys = {key for state in states if state is not None for key in affected(ref.kind, state, cache.list)}
        for key in keys:
            if at_once:
                queue.add(key)
            else:
                queue.add_after(key, max(_NUMBERS_SECONDS, cache.count(Kind.TRAFFIC_SPLIT) / _FOLLOWERS_PER_SECOND))

    cache.subscribe(on_change)


def _unready(cache: ObjectCache) -> str | None:
    missing = [kind.resource.plural for kind in Kind if not cache.synced(kind)]
    return f"not listed yet: {', '.join(missing)}" if missing else None


if __name__ == "__main__":
    main()
