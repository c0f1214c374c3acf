"""The Debian packages that the cluster stands on, installed where they are missing."""

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from .console import step
from .errors import ClusterError

# Command → package. Sorted by who needs them: containers, network, images.
COMMANDS = {
    "containerd": "containerd",
    "containerd-shim-runc-v2": "containerd",
    "ctr": "containerd",
    "runc": "runc",
    "mount": "mount",
    "ip": "iproute2",
    "iptables": "iptables",
    "nft": "nftables",
    "conntrack": "conntrack",
    "buildah": "buildah",
    "debootstrap": "debootstrap",
}
CNI_PACKAGE = "containernetworking-plugins"
CNI_FOLDERS = (Path("/usr/lib/cni"), Path("/opt/cni/bin"), Path("/usr/libexec/cni"))
CNI_PLUGINS = ("bridge", "host-local", "loopback", "portmap")
# /usr/sbin is not on every user's PATH.
SEARCH_PATH = f"{os.environ.get('PATH', '')}:/usr/local/sbin:/usr/sbin:/sbin"
POLICY = Path("/usr/sbin/policy-rc.d")
SET_ASIDE = Path("/usr/sbin/policy-rc.d.before-penstock")


def missing_packages() -> list[str]:
    """Return the packages whose programs are not on this machine."""
    missing = [package for command, package in COMMANDS.items() if shutil.which(command, path=SEARCH_PATH) is None]
    if cni_folder() is None:
        missing.append(CNI_PACKAGE)
    return sorted(set(missing))


def cni_folder() -> Path | None:
    """Return the folder of the network plugins, or None where they are not installed."""
    for folder in CNI_FOLDERS:
        if all((folder / plugin).exists() for plugin in CNI_PLUGINS):
            return folder
    return None


def ensure() -> None:
    """Install what is missing; raises ClusterError naming it where that is not possible."""
    missing = missing_packages()
    if not missing:
        return
    names = " ".join(missing)
    if shutil.which("apt-get") is None:
        raise ClusterError(f"this machine lacks the programs of {names}: install them with your package manager")
    require_root(f"or ask an administrator for: apt-get install {names}")
    with step(f"apt-get install {names}"), no_service_starts():
        _apt("update", "-q")
        _apt("install", "-q", "-y", "--no-install-recommends", *missing)
    if "containerd" in missing and Path("/run/systemd/system").is_dir():
        # The cluster runs a containerd of its own; the packaged unit would start one more at the next boot.
        subprocess.run(["systemctl", "disable", "--quiet", "containerd"], check=False)
    if still := missing_packages():
        raise ClusterError(f"{' '.join(still)} installed, but their programs are not on PATH: {SEARCH_PATH}")


def require_root(otherwise: str) -> None:
    """Raise ClusterError where the user is not root."""
    if os.geteuid() != 0:
        raise ClusterError(
            "the embedded cluster needs root (it mounts, makes network interfaces and cgroups): run it with sudo, "
            f"{otherwise}, or use CLUSTER=current with a cluster of your own"
        )


@contextmanager
def no_service_starts() -> Iterator[None]:
    """Forbid package scripts to start services; what was at policy-rc.d comes back, after a killed run as well."""
    _restore_policy()
    if POLICY.exists():
        POLICY.rename(SET_ASIDE)
    else:
        SET_ASIDE.write_text("")  # empty: there was none
    POLICY.write_text("#!/bin/sh\nexit 101\n")
    POLICY.chmod(0o755)
    try:
        yield
    finally:
        _restore_policy()


def _restore_policy() -> None:
    if not SET_ASIDE.exists():
        return
    if SET_ASIDE.stat().st_size:
        SET_ASIDE.rename(POLICY)
    else:
        POLICY.unlink(missing_ok=True)
        SET_ASIDE.unlink()


def _apt(*arguments: str) -> None:
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    command = ["apt-get", *arguments]
    result = subprocess.run(command, check=False, env=environment, capture_output=True, text=True)
    if result.returncode != 0:
        last_lines = "\n".join(f"{result.stdout}\n{result.stderr}".strip().splitlines()[-15:])
        raise ClusterError(f"`{' '.join(command)}` failed:\n{last_lines}")
