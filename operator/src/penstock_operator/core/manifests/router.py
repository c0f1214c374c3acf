"""The fleet of routers in a namespace: who they are, how they run, how they leave."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from penstock_operator.core.manifests.pod_security import container_security_context, pod_security_context
from penstock_operator.core.manifests.router_bootstrap import BOOT_VARIABLE, BootstrapSettings, bootstrap_json
from penstock_operator.core.names import MANAGED_BY, ROUTER, managed_labels
from penstock_operator.core.objects import Manifest

#: One port of the routers for each split.
SPLIT_PORTS = range(10_000, 20_000)
STATS_PORT = 9902
_ADMIN_PORT = 9901
_MEBIBYTE = 1024 * 1024

# The shell is replaced by Envoy at once; it is there for a value that differs for each process.
_START = f'{BOOT_VARIABLE}=$(</proc/sys/kernel/random/uuid) exec envoy "$@"'
_DRAIN_SECONDS = 15
_FINISH_SECONDS = 20
_ASK = f"""\
admin() {{
  exec 3<>/dev/tcp/127.0.0.1/{_ADMIN_PORT} || return 1
  printf '%s %s HTTP/1.1\\r\\nHost: admin\\r\\nConnection: close\\r\\nContent-Length: 0\\r\\n\\r\\n' "$1" "$2" >&3
  while IFS= read -r -t 2 line; do printf '%s\\n' "$line"; done <&3
  exec 3>&-
}}
"""
_ALIVE = f"""\
{_ASK}
[[ "$(admin GET /ready)" == HTTP/1.1* ]]
"""
# Endpoints are withdrawn while this runs. Answers say `Connection: close` from now on, new connections still work,
# and the end comes when nobody waits for an answer any more.
_STOP = f"""\
{_ASK}
admin POST /healthcheck/fail
sleep {_DRAIN_SECONDS}
for ((second = 0; second < {_FINISH_SECONDS}; second++)); do
  case "$(admin GET '/stats?filter=http.split.downstream_rq_active')" in
    *"rq_active: "[1-9]*) sleep 1 ;;
    *) exit 0 ;;
  esac
done
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class RouterSettings:
    """How routers run.

    ``xds_address`` is ``host:port`` of the operator as routers reach it; ``operator_namespace`` is where it runs.
    """

    image: str
    xds_address: str
    operator_namespace: str
    replicas: int = 2
    image_pull_policy: str = "IfNotPresent"
    image_pull_secrets: tuple[str, ...] = ()
    cpu_request: str = "100m"
    memory_request_mebibytes: int = 128
    memory_limit_mebibytes: int = 512
    worker_threads: int = 2

    def __post_init__(self) -> None:
        """Refuse an address without a port."""
        host, _, port = self.xds_address.rpartition(":")
        if not host or not port.isdigit():
            raise ValueError(f"xds_address must be host:port, such as penstock-xds.penstock.svc:18000, "
                             f"got {self.xds_address!r}")  # fmt: skip

    @property
    def xds_port(self) -> int:
        """The operator's port."""
        return int(self.xds_address.rpartition(":")[2])

    @property
    def bootstrap(self) -> BootstrapSettings:
        """What Envoy needs to know of this."""
        return BootstrapSettings(
            xds_host=self.xds_address.rpartition(":")[0].strip("[]"),
            xds_port=self.xds_port,
            # The rest is for threads, buffers of the kernel's and the allocator's own.
            heap_bytes=self.memory_limit_mebibytes * _MEBIBYTE * 8 // 10,
            admin_port=_ADMIN_PORT,
            stats_port=STATS_PORT,
        )


def router_manifests(
    namespace: str, settings: RouterSettings, owner_references: Sequence[dict[str, Any]] = ()
) -> tuple[Manifest, ...]:
    """Return everything that the routers of a namespace are made of.

    It is the same whatever splits there are, so that a new split restarts no router. The owners are all splits of
    the namespace, so that the fleet goes with the last one.
    """
    metadata: dict[str, Any] = {
        "name": ROUTER,
        "namespace": namespace,
        "labels": managed_labels(ROUTER),
        **({"ownerReferences": sorted(owner_references, key=lambda owner: owner["uid"])} if owner_references else {}),
    }
    return (
        {
            "apiVersion": "v1",
            "kind": "ServiceAccount",
            "metadata": metadata,
            "automountServiceAccountToken": False,
        },
        {
            "apiVersion": "networking.k8s.io/v1",
            "kind": "NetworkPolicy",
            "metadata": metadata,
            "spec": _network_policy_spec(settings),
        },
        {
            "apiVersion": "policy/v1",
            "kind": "PodDisruptionBudget",
            "metadata": metadata,
            "spec": {"maxUnavailable": 1, "selector": {"matchLabels": router_selector()}},
        },
        {
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "metadata": metadata,
            "spec": _deployment_spec(namespace, settings),
        },
    )


def router_selector() -> dict[str, str]:
    """Return the labels that select router pods, in Services too."""
    return managed_labels(ROUTER)


def _deployment_spec(namespace: str, settings: RouterSettings) -> dict[str, Any]:
    return {
        "replicas": settings.replicas,
        "revisionHistoryLimit": 2,
        "selector": {"matchLabels": router_selector()},
        "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 0, "maxSurge": 1}},
        "template": {"metadata": {"labels": router_selector()}, "spec": _pod_spec(namespace, settings)},
    }


def _pod_spec(namespace: str, settings: RouterSettings) -> dict[str, Any]:
    selector = {"matchLabels": router_selector()}
    pull_secrets = [{"name": name} for name in settings.image_pull_secrets]
    return {
        "serviceAccountName": ROUTER,
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "securityContext": pod_security_context(),
        **({"imagePullSecrets": pull_secrets} if pull_secrets else {}),
        "terminationGracePeriodSeconds": _DRAIN_SECONDS + _FINISH_SECONDS + 5,
        "affinity": {
            "podAntiAffinity": {
                "preferredDuringSchedulingIgnoredDuringExecution": [
                    {
                        "weight": 100,
                        "podAffinityTerm": {"topologyKey": "kubernetes.io/hostname", "labelSelector": selector},
                    }
                ]
            }
        },
        "topologySpreadConstraints": [
            {
                "maxSkew": 1,
                "topologyKey": "topology.kubernetes.io/zone",
                "whenUnsatisfiable": "ScheduleAnyway",
                "labelSelector": selector,
            }
        ],
        "containers": [_container(namespace, settings)],
    }


def _container(namespace: str, settings: RouterSettings) -> dict[str, Any]:
    return {
        "name": "envoy",
        "image": settings.image,
        "imagePullPolicy": settings.image_pull_policy,
        "command": ["bash", "-c", _START, "envoy"],
        "args": router_arguments(settings.bootstrap, namespace=namespace, workers=settings.worker_threads),
        "env": [{"name": "POD_NAME", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}}],
        "ports": [{"name": "stats", "containerPort": STATS_PORT, "protocol": "TCP"}],
        "securityContext": container_security_context(),
        "terminationMessagePolicy": "FallbackToLogsOnError",
        "resources": {
            "requests": {
                "cpu": settings.cpu_request,
                "memory": f"{settings.memory_request_mebibytes}Mi",
                # Logs only, and said: without it the limit would be the request, and some nodes tell no capacity.
                "ephemeral-storage": "0",
            },
            "limits": {"memory": f"{settings.memory_limit_mebibytes}Mi"},
        },
        "lifecycle": {"preStop": {"exec": {"command": ["bash", "-c", _STOP]}}},
        # Ready means: has its configuration. Alive must not: without the operator a router waits, and restarting it
        # helps nobody. Its ports stay closed as long, so it is asked from inside whether its main thread answers.
        "readinessProbe": {
            "httpGet": {"path": "/ready", "port": STATS_PORT},
            "timeoutSeconds": 2,
            "periodSeconds": 1,
            "failureThreshold": 2,
        },
        "livenessProbe": {
            "exec": {"command": ["bash", "-c", _ALIVE]},
            "timeoutSeconds": 3,
            "periodSeconds": 10,
            "failureThreshold": 6,
        },
    }


def router_arguments(bootstrap: BootstrapSettings, *, namespace: str, workers: int) -> list[str]:
    """Return Envoy's arguments. ``$(POD_NAME)`` is filled in by the kubelet."""
    return [
        *("--config-yaml", bootstrap_json(bootstrap).replace("$(", "$$(")),
        *("--service-node", "$(POD_NAME)"),
        *("--service-cluster", namespace),
        *("--concurrency", str(workers)),
        *("--drain-time-s", str(_DRAIN_SECONDS)),
        *("--parent-shutdown-time-s", str(_DRAIN_SECONDS + _FINISH_SECONDS)),
        *("--drain-strategy", "immediate"),
        "--disable-hot-restart",
        *("--log-level", "warning"),
    ]


def _network_policy_spec(settings: RouterSettings) -> dict[str, Any]:
    operator = {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": settings.operator_namespace}}}
    return {
        "podSelector": {"matchLabels": router_selector()},
        "policyTypes": ["Ingress", "Egress"],
        "ingress": [
            # Endpoints are for everybody; who may call a model is said by policies of the people's own.
            {"ports": [{"protocol": "TCP", "port": SPLIT_PORTS.start, "endPort": SPLIT_PORTS.stop - 1}]},
            {"from": [operator], "ports": [{"protocol": "TCP", "port": STATS_PORT}]},
        ],
        "egress": [
            {"ports": [{"protocol": protocol, "port": 53} for protocol in ("TCP", "UDP")]},
            {"to": [operator], "ports": [{"protocol": "TCP", "port": settings.xds_port}]},
            # Serving pods, which are in the same namespace.
            {"to": [{"podSelector": {"matchLabels": {MANAGED_BY: managed_labels(ROUTER)[MANAGED_BY]}}}]},
        ],
    }
