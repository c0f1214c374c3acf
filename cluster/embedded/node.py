"""The node: containerd, kubelet and kube-proxy with their configuration."""

import json
from pathlib import Path

from . import binaries, cgroups, files, image_store, kubeconfig, network, packages, ports, processes
from .api_probe import wait_until
from .control_plane import POD_CIDR, ControlPlane
from .errors import ClusterError
from .layout import Layout

NAME = "penstock"
CONTAINERD = "containerd"
KUBELET = "kubelet"
KUBE_PROXY = "kube-proxy"
COMPONENTS = (CONTAINERD, KUBELET, KUBE_PROXY)
CLUSTER_DNS = "10.96.0.10"
PAUSE_IMAGE = "docker.io/penstock/pause:dev"
EVICTION_SIGNALS = ("memory.available", "nodefs.available", "nodefs.inodesFree", "imagefs.available")
START_SECONDS = 30.0
PREFERRED_PORTS = {"kubelet": 10250, "kubelet-health": 10248, "proxy-health": 10256, "proxy-metrics": 10249}


class Node:
    """The processes that run pods on this machine."""

    def __init__(self, layout: Layout, control_plane: ControlPlane) -> None:
        self._layout = layout
        self._control_plane = control_plane

    def write_configuration(self) -> None:
        """Write the files that the three processes read."""
        folder = self._layout.configuration
        made = self._control_plane.certificates()
        for client in (KUBELET, KUBE_PROXY):
            path = folder / f"{client}.kubeconfig"
            kubeconfig.write(path, server=self._control_plane.server, certificates=made, client=client)
        files.write(
            folder / "net.d" / "10-penstock.conflist",
            network.network_configuration(ipam_dir=self._layout.state / "ipam"),
        )
        files.write(folder / "resolv.conf", "".join(f"nameserver {server}\n" for server in upstream_name_servers()))
        for component in COMPONENTS:
            files.write(self._configuration_path(component), self._configuration(component))

    def start_containerd(self) -> None:
        """Start containerd and wait for its socket."""
        self._start(CONTAINERD)
        socket = self._layout.containerd_socket
        answers = wait_until(lambda: ports.accepts(socket), timeout_seconds=START_SECONDS)
        if not answers:
            raise ClusterError(f"containerd does not listen on {socket}:\n{processes.tail(self._log(CONTAINERD))}")

    def start_agents(self) -> None:
        """Start kubelet and kube-proxy."""
        self._start(KUBELET)
        self._start(KUBE_PROXY)

    def is_running(self) -> bool:
        """Tell whether all three run, and were started as this object would start them."""
        return all(processes.is_current(self._daemon(component)) for component in COMPONENTS)

    def is_alive(self, component: str) -> bool:
        """Tell whether one of ``COMPONENTS`` runs."""
        record = processes.find(self._layout.run, component)
        return record is not None and processes.is_alive(record)

    def is_ready(self) -> bool:
        """Tell whether the kubelet works, and the API server calls the node ready."""
        # The API server's word alone may be from before a kubelet was killed.
        if not ports.answers_http(self._ports()["kubelet-health"], "/healthz"):
            return False
        node = self._control_plane.probe().read(f"/api/v1/nodes/{NAME}")
        conditions = node["status"].get("conditions", []) if node else []
        return any(condition["type"] == "Ready" and condition["status"] == "True" for condition in conditions)

    def wait_ready(self) -> None:
        """Wait until the node is ready; raises ClusterError with the end of kubelet's log."""
        if not wait_until(self.is_ready, timeout_seconds=START_SECONDS):
            raise ClusterError(
                f"the node is not ready after {START_SECONDS:.0f} s; the end of {self._log(KUBELET)}:\n"
                f"{processes.tail(self._log(KUBELET))}"
            )

    def _start(self, component: str) -> None:
        processes.ensure(self._daemon(component))

    def _daemon(self, component: str) -> processes.Daemon:
        return processes.Daemon(
            name=component,
            argv=self._argv(component),
            run_dir=self._layout.run,
            environment={"PATH": packages.SEARCH_PATH},
            configuration=self._configuration(component),
        )

    def _configuration_path(self, component: str) -> Path:
        suffix = "toml" if component == CONTAINERD else "json"
        return self._layout.configuration / f"{component}.{suffix}"

    def _configuration(self, component: str) -> str:
        if component == CONTAINERD:
            return self._containerd_configuration()
        if component == KUBELET:
            return json.dumps(self._kubelet_configuration(), indent=1)
        return json.dumps(self._proxy_configuration(), indent=1)

    def _log(self, component: str) -> Path:
        return self._layout.run / f"{component}.log"

    def _argv(self, component: str) -> list[str]:
        folder = self._layout.configuration
        configuration = self._configuration_path(component)
        if component == CONTAINERD:
            return [CONTAINERD, "--config", str(configuration)]
        if component == KUBELET:
            return [
                str(binaries.program(KUBELET)),
                f"--config={configuration}",
                f"--kubeconfig={folder / 'kubelet.kubeconfig'}",
                f"--root-dir={self._layout.kubelet_root}",
                f"--cert-dir={self._layout.kubelet_root / 'pki'}",
                f"--hostname-override={NAME}",
                f"--node-ip={network.NODE_ADDRESS}",
            ]
        return [str(binaries.program(KUBE_PROXY)), f"--config={configuration}"]

    def _ports(self) -> dict[str, int]:
        path = self._layout.state / "node-ports.json"
        if not path.exists():
            files.write(path, json.dumps(ports.choose(PREFERRED_PORTS, preferred=PREFERRED_PORTS)))
        return dict(json.loads(path.read_text()))

    def _containerd_configuration(self) -> str:
        layout = self._layout
        snapshotter = image_store.choose_snapshotter(layout)
        return f"""\
version = 2
root = "{layout.containerd_root}"
state = "{layout.containerd_state}"
disabled_plugins = [
  "io.containerd.snapshotter.v1.aufs", "io.containerd.snapshotter.v1.btrfs",
  "io.containerd.snapshotter.v1.devmapper", "io.containerd.snapshotter.v1.zfs",
]
[grpc]
  address = "{layout.containerd_socket}"
[plugins."io.containerd.internal.v1.opt"]
  path = "{layout.state / "opt"}"
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "{PAUSE_IMAGE}"
  # Without CAP_SYS_RESOURCE the pause container's score of -998 is refused, and with it every pod.
  restrict_oom_score_adj = true
  # Below the state folder, where `down` finds what a killed pod has left mounted.
  netns_mounts_under_state_dir = true
  stream_server_address = "127.0.0.1"
  stream_server_port = "0"
  [plugins."io.containerd.grpc.v1.cri".containerd]
    snapshotter = "{snapshotter}"
    default_runtime_name = "runc"
  [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
    runtime_type = "io.containerd.runc.v2"
    [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
      Root = "{layout.run / "runc"}"
      SystemdCgroup = false
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "{packages.cni_folder()}"
    conf_dir = "{layout.configuration / "net.d"}"
"""

    def _kubelet_configuration(self) -> dict[str, object]:
        chosen, ca = self._ports(), self._control_plane.certificates().ca
        return {
            "apiVersion": "kubelet.config.k8s.io/v1beta1",
            "kind": "KubeletConfiguration",
            "address": network.NODE_ADDRESS,
            "port": chosen["kubelet"],
            "healthzPort": chosen["kubelet-health"],
            "authentication": {"anonymous": {"enabled": False}, "x509": {"clientCAFile": str(ca)}},
            "authorization": {"mode": "Webhook"},
            "containerRuntimeEndpoint": f"unix://{self._layout.containerd_socket}",
            "cgroupDriver": "cgroupfs",
            "cgroupRoot": cgroups.ROOT,
            "failCgroupV1": False,
            "failSwapOn": False,
            "clusterDNS": [CLUSTER_DNS],
            "clusterDomain": "cluster.local",
            "resolvConf": str(self._layout.configuration / "resolv.conf"),
            "podLogsDir": str(self._layout.pod_logs),
            "volumePluginDir": str(self._layout.kubelet_root / "volume-plugins"),
            "maxPods": 110,
            "serializeImagePulls": False,
            # A small disk must not cost a pod its place: nothing is evicted, no image is deleted.
            "imageGCHighThresholdPercent": 100,
            "evictionHard": dict.fromkeys(EVICTION_SIGNALS, "0%"),
            # Scores below 0 need CAP_SYS_RESOURCE, which not every machine grants.
            "oomScoreAdj": 0,
        }

    def _proxy_configuration(self) -> dict[str, object]:
        chosen = self._ports()
        return {
            "apiVersion": "kubeproxy.config.k8s.io/v1alpha1",
            "kind": "KubeProxyConfiguration",
            "mode": "iptables",
            "clientConnection": {"kubeconfig": str(self._layout.configuration / "kube-proxy.kubeconfig")},
            "clusterCIDR": POD_CIDR,
            "hostnameOverride": NAME,
            "healthzBindAddress": f"127.0.0.1:{chosen['proxy-health']}",
            "metricsBindAddress": f"127.0.0.1:{chosen['proxy-metrics']}",
            # 0: the machine's own limits stay as they are.
            "conntrack": {"maxPerCore": 0, "min": 0, "tcpEstablishedTimeout": "0s", "tcpCloseWaitTimeout": "0s"},
            "oomScoreAdj": 0,
        }


def upstream_name_servers() -> list[str]:
    """Return the name servers of this machine that pods can use too."""
    try:
        return network.name_servers(Path("/etc/resolv.conf").read_text())
    except OSError:
        return []
