"""What the machine was like before the first ``up``, so that ``down`` can put it back."""

import json
from dataclasses import dataclass
from pathlib import Path

from . import files

# What kubelet, kube-proxy and this package change; those that a kernel lacks are left out.
SYSCTLS = (
    "net/ipv4/ip_forward",
    "net/ipv4/conf/all/forwarding",
    "net/ipv4/conf/default/forwarding",
    "net/ipv4/conf/all/route_localnet",
    "net/ipv6/conf/all/forwarding",
    "net/ipv6/conf/default/forwarding",
    "net/bridge/bridge-nf-call-iptables",
    "net/bridge/bridge-nf-call-ip6tables",
    "net/netfilter/nf_conntrack_max",
    "net/netfilter/nf_conntrack_tcp_timeout_established",
    "net/netfilter/nf_conntrack_tcp_timeout_close_wait",
    "vm/overcommit_memory",
    "vm/panic_on_oom",
    "kernel/panic",
    "kernel/panic_on_oops",
    "kernel/keys/root_maxkeys",
    "kernel/keys/root_maxbytes",
)
# Folders outside the state folder whose place is compiled into containerd, kubelet or the network plugins.
# Deepest first: the order in which they are removed.
FOLDERS = (
    "/run/containerd/s",
    "/run/containerd/fifo",
    "/run/containerd",
    "/var/lib/cni/results",
    "/var/lib/cni/cache",
    "/var/lib/cni",
    "/var/lib/kubelet/device-plugins",
    "/var/lib/kubelet/plugins_registry",
    "/var/lib/kubelet",
    "/var/log/containers",
    "/var/log/pods",
    "/run/mount",
    # Buildah's, even with a store of its own; what else is in there is somebody's images.
    "/etc/cni/net.d",
    "/etc/cni",
    "/run/containers",
    "/var/lib/containers/cache",
    "/var/lib/containers",
    "/run/xtables.lock",
)
PROC_SYS = Path("/proc/sys")


@dataclass(frozen=True, slots=True, kw_only=True)
class Originals:
    """Kernel settings by name; which of ``FOLDERS``, which firewall tables and chains were there already."""

    sysctls: dict[str, str]
    folders: frozenset[str]
    firewall: frozenset[str]


def record(path: Path, *, firewall: list[str]) -> None:
    """Write down the machine's state, once: a second ``up`` would note what the first has changed."""
    if path.exists():
        return
    content = {
        "firewall": firewall,
        "sysctls": {name: value for name in SYSCTLS if (value := read_sysctl(name)) is not None},
        "folders": [folder for folder in FOLDERS if Path(folder).exists()],
    }
    files.write(path, json.dumps(content, indent=1))


def load(path: Path) -> Originals | None:
    """Return what ``record`` wrote, or None where no ``up`` came that far."""
    if not path.exists():
        return None
    content = json.loads(path.read_text())
    return Originals(
        sysctls=content["sysctls"], folders=frozenset(content["folders"]), firewall=frozenset(content["firewall"])
    )


def restore_sysctls(originals: Originals) -> None:
    """Write back each kernel setting that differs."""
    for name, value in originals.sysctls.items():
        if read_sysctl(name) not in (None, value):
            write_sysctl(name, value)


def read_sysctl(name: str) -> str | None:
    """Return the value of a kernel setting, or None where this kernel has none of that name."""
    try:
        return (PROC_SYS / name).read_text().strip()
    except OSError:
        return None


def write_sysctl(name: str, value: str) -> None:
    """Set a kernel setting."""
    (PROC_SYS / name).write_text(value)
