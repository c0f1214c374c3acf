"""The whole cluster: bring it up, take it down, say how it is."""

from collections.abc import Sequence
from http import HTTPStatus
from pathlib import Path

from . import (
    addons,
    binaries,
    cgroups,
    dns_probe,
    envoy_gateway,
    firewall,
    images,
    mounts,
    network,
    originals,
    packages,
    processes,
    ruins,
    scratch_images,
    shell,
)
from .api_probe import wait_until
from .console import say, step
from .control_plane import ControlPlane, ForNodes
from .errors import ClusterError
from .image_store import ImageStore
from .layout import Layout
from .locks import exclusive
from .node import CLUSTER_DNS, COMPONENTS, CONTAINERD, NAME, Node, upstream_name_servers

DNS_SECONDS = 60.0


class Cluster:
    """The one cluster whose state is at ``layout.state``."""

    def __init__(self, layout: Layout) -> None:
        self.layout = layout
        self.control_plane = ControlPlane(
            layout.state,
            audit_log=layout.audit_log,
            for_nodes=ForNodes(address=network.NODE_ADDRESS, node_name=NAME),
        )
        self.node = Node(layout, self.control_plane)
        self.store = ImageStore(layout)

    def up(self) -> None:
        """Bring up what is not up; a second call, or one after an interrupted or killed run, does the rest."""
        packages.require_root("where that is allowed")
        if self.is_healthy():
            say(f"✓  the cluster is already running ({self.layout.state})")
            return
        with exclusive(self.layout.lock, doing="starting or stopping the cluster"):
            packages.ensure()
            binaries.ensure()
            self._prepare_machine()
            self._start()
        say(f"✓  the cluster is up: export KUBECONFIG={self.layout.kubeconfig}")

    def down(self) -> None:
        """Stop everything and remove every trace, of a killed or interrupted run too."""
        packages.require_root("where that is allowed")
        with exclusive(self.layout.lock, doing="starting or stopping the cluster"):
            ruins.clear(self.layout)

    def import_images(self, wanted: Sequence[images.Image]) -> dict[str, str]:
        """Build the images and import them; returns name → key, which is a tag of the image as well."""
        packages.require_root("where that is allowed")
        if not self.node.is_alive(CONTAINERD):
            raise ClusterError("the cluster is not running: bring it up first (`up`)")
        return images.import_all(self.store, wanted)

    def install_gateway(self) -> None:
        """Install Envoy Gateway, the images for its proxies included."""
        self.import_images([image for image in images.IMAGES if image.name == "router"])
        envoy_gateway.ensure(self.layout, self.store)

    def is_healthy(self) -> bool:
        """Tell whether all is running, ready and made from what is in the tree now; never raises for ruins."""
        if not self.layout.kubeconfig.exists() or not self.control_plane.is_running() or not self.node.is_running():
            return False
        if not all(binaries.is_linked(module) for module in binaries.CLUSTER_MODULES):
            return False
        return self.control_plane.probe().status("/readyz") == HTTPStatus.OK and self.node.is_ready() and _dns_answers()

    def status(self) -> list[tuple[str, str]]:
        """Return (component, state) for a person."""
        names = (*self.control_plane.components, *COMPONENTS)
        states = [(name, self._state_of(name)) for name in names]
        return [*states, ("cluster", "healthy" if self.is_healthy() else "not healthy: run `up`, or see `logs`")]

    def _prepare_machine(self) -> None:
        with step("network, control groups"):
            self.layout.state.mkdir(parents=True, exist_ok=True, mode=0o700)
            if not self.layout.originals.exists():
                firewall.refuse_foreign()
                originals.record(self.layout.originals, firewall=firewall.present())
            ruins.end_unrecorded(self.layout)
            cgroups.prepare()
            network.prepare()
            firewall.prepare()

    def _start(self) -> None:
        with step("control plane: etcd, API server, controllers, scheduler"):
            self.control_plane.start()
        with step("containerd"):
            self.node.write_configuration()
            self.node.start_containerd()
            scratch_images.ensure(self.store)
        with step("node: kubelet, kube-proxy"):
            self.node.start_agents()
            self.node.wait_ready()
        with step("CoreDNS"):
            self._apply_dns()

    def _apply_dns(self) -> None:
        objects = addons.manifest(address=CLUSTER_DNS, name_servers=upstream_name_servers())
        kubectl: list[str | Path] = [binaries.bin_dir() / "kubectl", f"--kubeconfig={self.layout.kubeconfig}"]
        shell.run(
            [*kubectl, "apply", "--server-side", "--force-conflicts", "--field-manager=penstock-cluster", "-f", "-"],
            stdin=objects,
        )
        if not wait_until(_dns_answers, timeout_seconds=DNS_SECONDS):
            pods = shell.run([*kubectl, "-n", "kube-system", "describe", "pods"])
            raise ClusterError(f"CoreDNS is not ready after {DNS_SECONDS:.0f} s:\n{pods[-3000:]}")

    def _state_of(self, component: str) -> str:
        record = processes.find(self.layout.run, component)
        if record is None:
            return "never started"
        return f"running, pid {record.pid}" if processes.is_alive(record) else f"dead (was pid {record.pid})"


def _dns_answers() -> bool:
    """Tell whether a name can be looked up: Service, kube-proxy, pod and API access in one."""
    return dns_probe.answers(CLUSTER_DNS)


def purge_cache(cache: Path) -> None:
    """Delete the cache of binaries, base image and archives."""
    with step(f"deleting {cache}"):
        mounts.delete_tree(cache)
