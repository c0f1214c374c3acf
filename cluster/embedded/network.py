"""The bridge that pods hang on, and the node's own address on it."""

import ipaddress
import json
from pathlib import Path

from . import originals, shell
from .control_plane import POD_CIDR, SERVICE_CIDR
from .errors import ClusterError

BRIDGE = "penstock0"
NODE_SUBNET = "10.244.0.0/24"
# The bridge's own address is the node's address too: it is there on a machine without any network, never changes,
# and leaves the API server and the kubelet unreachable from outside the machine.
NODE_ADDRESS = "10.244.0.1"


def prepare() -> None:
    """Make the bridge and its routes, and let the kernel forward; does nothing where that is done."""
    _refuse_overlap()
    if not _exists():
        shell.run(["ip", "link", "add", BRIDGE, "type", "bridge"])
    shell.run(["ip", "address", "replace", f"{NODE_ADDRESS}/{NODE_SUBNET.partition('/')[2]}", "dev", BRIDGE])
    shell.run(["ip", "link", "set", BRIDGE, "up"])
    # Without a default route a connection to a Service would fail before kube-proxy's rules see it.
    shell.run(["ip", "route", "replace", SERVICE_CIDR, "dev", BRIDGE, "src", NODE_ADDRESS])
    if originals.read_sysctl("net/bridge/bridge-nf-call-iptables") is None:
        shell.succeeds(["modprobe", "br_netfilter"])
    for name in ("net/ipv4/ip_forward", "net/bridge/bridge-nf-call-iptables"):
        if originals.read_sysctl(name) is None:
            raise ClusterError(f"the kernel has no {name.replace('/', '.')}: load the module br_netfilter")
        originals.write_sysctl(name, "1")


def remove() -> None:
    """Delete the bridge and what hangs on it."""
    if not _exists():
        return
    for link in links_on_bridge():
        shell.succeeds(["ip", "link", "delete", link])
    shell.run(["ip", "link", "delete", BRIDGE])


def links_on_bridge() -> list[str]:
    """Return the names of the interfaces that are ports of the bridge."""
    if not _exists():
        return []
    return sorted(path.name.removeprefix("lower_") for path in Path(f"/sys/class/net/{BRIDGE}").glob("lower_*"))


def network_configuration(*, ipam_dir: Path) -> str:
    """Return the network plugins' configuration (CNI), as JSON."""
    plugins: list[dict[str, object]] = [
        {
            "type": "bridge",
            "bridge": BRIDGE,
            "isGateway": True,
            "hairpinMode": True,
            # Masquerading is one rule of ours for all pods: a chain per pod would outlive a killed pod.
            "ipMasq": False,
            "ipam": {
                "type": "host-local",
                "dataDir": str(ipam_dir),
                "ranges": [[{"subnet": NODE_SUBNET, "gateway": NODE_ADDRESS}]],
                "routes": [{"dst": "0.0.0.0/0"}],
            },
        },
        {"type": "portmap", "capabilities": {"portMappings": True}, "snat": True},
    ]
    return json.dumps({"cniVersion": "0.4.0", "name": "penstock", "plugins": plugins}, indent=1)


def name_servers(resolv_conf: str) -> list[str]:
    r"""Return the name servers in ``resolv_conf`` that a pod can reach: one on loopback is another one in there.

    >>> name_servers("nameserver 127.0.0.53\nnameserver 192.0.2.7 # office\nsearch x")
    ['192.0.2.7']
    """
    words = (line.split() for line in resolv_conf.splitlines())
    servers = [line[1] for line in words if len(line) > 1 and line[0] == "nameserver"]
    return [server for server in servers if not ipaddress.ip_address(server.partition("%")[0]).is_loopback]


def overlapping(routes: str) -> list[str]:
    r"""Return the lines of ``ip -4 route`` that would fight with the cluster's networks.

    >>> overlapping("default via 192.0.2.1 dev eth0\n10.244.0.0/24 dev cni0\n10.244.0.0/24 dev penstock0")
    ['10.244.0.0/24 dev cni0']
    """
    ours = [ipaddress.ip_network(POD_CIDR), ipaddress.ip_network(SERVICE_CIDR)]
    return [
        line
        for line in routes.splitlines()
        if line and f"dev {BRIDGE}" not in line and any(_destination(line).overlaps(network) for network in ours)
    ]


def _destination(route: str) -> ipaddress.IPv4Network:
    words = [word for word in route.split() if word not in ("blackhole", "unreachable", "prohibit", "broadcast")]
    try:
        destination = ipaddress.IPv4Network(words[0], strict=False)
    except ValueError:
        destination = ipaddress.IPv4Network("255.255.255.255/32")  # "default" and the like: overlaps with nothing
    return destination if destination.prefixlen else ipaddress.IPv4Network("255.255.255.255/32")


def _refuse_overlap() -> None:
    if lines := overlapping(shell.run(["ip", "-4", "route", "show"])):
        raise ClusterError(
            f"this machine already routes a part of {POD_CIDR} or {SERVICE_CIDR}, which the cluster needs: "
            f"{'; '.join(line.strip() for line in lines)}. Remove that network, or use CLUSTER=current"
        )


def _exists() -> bool:
    return Path(f"/sys/class/net/{BRIDGE}").exists()
