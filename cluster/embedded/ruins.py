"""Take away everything that a cluster has put on the machine, running or not."""

from pathlib import Path

from . import cgroups, firewall, mounts, network, originals, processes
from .console import say, step
from .layout import Layout

PROC = Path("/proc")
# Consumers before what they consume: no component comes to miss another and no kubelet restarts a pod.
STOP_ORDER = (
    "kubelet",
    "kube-proxy",
    "kube-scheduler",
    "kube-controller-manager",
    "containerd",
    "kube-apiserver",
    "etcd",
)
SHIM = "containerd-shim-runc-v2"
PROGRAMS = frozenset({*STOP_ORDER, SHIM})
CONTAINER_LOGS = Path("/var/log/containers")
NETWORK_RESULTS = Path("/var/lib/cni/results")
# Files without worth to anybody, by folder. All others are somebody's and keep their folder.
REMAINS = {
    "/var/lib/kubelet/device-plugins": ("kubelet_internal_checkpoint", "DEPRECATION"),
    "/run/mount": ("utab", "utab.lock"),
    "/etc/cni/net.d": ("cni.lock",),
    "/var/lib/containers/cache": ("blob-info-cache-v1.boltdb",),
}
SOMEBODYS_IMAGES = Path("/var/lib/containers/storage")
XTABLES_LOCK = Path("/run/xtables.lock")


def clear(layout: Layout) -> None:
    """Stop all processes of the cluster at ``layout``, and undo all it did to the machine.

    Without the note that the first ``up`` writes before anything else, this state folder has done nothing: names of
    chains, interfaces and groups that look like ours are then another cluster's, and are left alone.
    """
    before = originals.load(layout.originals)
    if before is None:
        mounts.delete_tree(layout.state)
        say(f"✓  no cluster at {layout.state}: nothing to remove")
        return
    with step("stopping processes"):
        _stop_processes(layout)
    with step("mounts, network, control groups"):
        shim_sockets = _shim_sockets(layout)
        mounts.unmount_below(layout.state)
        network.remove()
        firewall.remove(keep=before.firewall)
        cgroups.remove()
    with step("files, kernel settings"):
        _remove_files_outside(layout, before, shim_sockets)
        originals.restore_sysctls(before)
        # Last, and in one move: a run that ends before this is done again as a whole.
        mounts.delete_tree(layout.state)


def end_unrecorded(layout: Layout) -> None:
    """End daemons of ours that no record names: a run was interrupted between the start and its note.

    Shims have no records and stay: a new containerd takes them over, and their pods go on.
    """
    known = {record.pid for record in processes.recorded(layout.run)}
    for record in _strays(layout.state):
        if record.name != SHIM and record.pid not in known:
            processes.kill(record)


def belongs(argv: list[str], state: Path) -> bool:
    """Tell whether a process with this command line is one of the cluster's at ``state``.

    >>> belongs(["/x/etcd", "--data-dir=/var/lib/c/etcd"], Path("/var/lib/c"))
    True
    >>> belongs(["vi", "/var/lib/c/kubeconfig"], Path("/var/lib/c"))
    False
    """
    if not argv or Path(argv[0]).name not in PROGRAMS:
        return False
    return any(f"{state}/" in argument for argument in argv[1:])


def _stop_processes(layout: Layout) -> None:
    records = {record.name: record for record in processes.recorded(layout.run)}
    if kubelet := records.get("kubelet"):
        processes.stop(kubelet)
    cgroups.kill_all()
    for name in STOP_ORDER:
        if name in records:
            processes.stop(records[name])
    # Shims, and what an interrupted run had started but not yet written down.
    for record in _strays(layout.state):
        processes.kill(record)


def _strays(state: Path) -> list[processes.ProcessRecord]:
    found: list[processes.ProcessRecord] = []
    for folder in PROC.glob("[0-9]*"):
        try:
            argv = (folder / "cmdline").read_bytes().decode(errors="replace").split("\0")
        except OSError:
            continue  # ended in the meantime
        if belongs(argv, state) and (record := processes.identify(int(folder.name), name=Path(argv[0]).name)):
            found.append(record)
    return found


def _shim_sockets(layout: Layout) -> list[Path]:
    """Return the sockets of the shims: outside the state folder, at an address that each task's folder names."""
    addresses = layout.containerd_state.glob("io.containerd.runtime.v2.task/*/*/address")
    return [Path(address.read_text().strip().removeprefix("unix://")) for address in addresses]


def _remove_files_outside(layout: Layout, before: originals.Originals, shim_sockets: list[Path]) -> None:
    for path in shim_sockets:
        path.unlink(missing_ok=True)
    for link in CONTAINER_LOGS.glob("*.log"):
        if link.is_symlink() and str(link.readlink()).startswith(f"{layout.state}/"):
            link.unlink()
    for path in NETWORK_RESULTS.glob("*"):
        # One file per network interface of a pod, which names the pod's network namespace.
        if f"{layout.state}/" in path.read_text(errors="replace"):
            path.unlink()
    for name in originals.FOLDERS:
        if name not in before.folders:
            remove_if_ours(Path(name))


def remove_if_ours(path: Path) -> None:
    """Remove a folder that was not there before: with its sockets and remains, but never with somebody's files."""
    if path == XTABLES_LOCK:
        path.unlink(missing_ok=True)
    belongs_to_a_store = path.is_relative_to(SOMEBODYS_IMAGES.parent) and SOMEBODYS_IMAGES.exists()
    if not path.is_dir() or belongs_to_a_store:
        return
    for left in path.iterdir():
        if left.is_socket() or left.name in REMAINS.get(str(path), ()):
            left.unlink()
    if not any(path.iterdir()):
        path.rmdir()
