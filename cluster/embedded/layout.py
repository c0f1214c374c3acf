"""The folders and files inside the state folder."""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """Everything of one cluster is below ``state``, so that one look there finds all of it."""

    state: Path

    @property
    def lock(self) -> Path:
        """Return the lock of ``up`` and ``down``; beside the state folder, which ``down`` deletes."""
        return self.state.with_name(f"{self.state.name}.lock")

    @property
    def originals(self) -> Path:
        """Return the record of what the machine was like before."""
        return self.state / "originals.json"

    @property
    def kubeconfig(self) -> Path:
        """Return the administrator's kubeconfig."""
        return self.state / "kubeconfig"

    @property
    def audit_log(self) -> Path:
        """Return the log of all API requests."""
        return self.state / "audit.log"

    @property
    def run(self) -> Path:
        """Return the folder of pid records and logs, the control plane's too."""
        return self.state / "run"

    @property
    def configuration(self) -> Path:
        """Return the folder of the node's configuration files."""
        return self.state / "etc"

    @property
    def containerd_root(self) -> Path:
        """Return the folder of images and containers."""
        return self.state / "containerd"

    @property
    def containerd_state(self) -> Path:
        """Return the folder of what containerd knows about running containers."""
        return self.run / "containerd"

    @property
    def containerd_socket(self) -> Path:
        """Return containerd's socket, by which its shims are recognised too."""
        return self.run / "containerd.sock"

    @property
    def kubelet_root(self) -> Path:
        """Return the folder of the pods' volumes."""
        return self.state / "kubelet"

    @property
    def pod_logs(self) -> Path:
        """Return the folder of the containers' logs."""
        return self.state / "pod-logs"

    @property
    def images(self) -> Path:
        """Return the record of the images in containerd: name → key of what it was made from."""
        return self.state / "images.json"
