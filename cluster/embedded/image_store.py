"""The images inside the cluster's containerd."""

import json
from pathlib import Path

from . import files, mounts, shell
from .layout import Layout

NAMESPACE = "k8s.io"


def choose_snapshotter(layout: Layout) -> str:
    """Return how containerd keeps file systems: overlays, or plain copies where the disk cannot hold overlays."""
    layout.containerd_root.mkdir(parents=True, exist_ok=True)
    return "overlayfs" if mounts.is_overlay_possible(layout.containerd_root) else "native"


class ImageStore:
    """Imports archives once, and knows what it has."""

    def __init__(self, layout: Layout) -> None:
        self._layout = layout

    def has(self, reference: str, key: str) -> bool:
        """Tell whether ``reference`` is there and was made from exactly ``key``."""
        return self._recorded().get(reference) == key and reference in self.references()

    def add(self, archive: Path, *, reference: str, key: str) -> None:
        """Import ``archive``, which names its image ``reference``; tags it with ``key`` too."""
        self._ctr("images", "import", "--snapshotter", choose_snapshotter(self._layout), archive)
        keyed = f"{reference.rpartition(':')[0]}:{key}"
        self._ctr("images", "tag", "--force", reference, keyed)
        for older in self._older_keys(reference, keyed):
            self._ctr("images", "remove", older)
        files.write(self._layout.images, json.dumps({**self._recorded(), reference: key}, indent=1))

    def references(self) -> set[str]:
        """Return the names of all images."""
        return set(self._ctr("images", "list", "--quiet").split())

    def keys(self) -> dict[str, str]:
        """Return name → key of the images that were imported by this package and are there."""
        there = self.references()
        return {reference: key for reference, key in self._recorded().items() if reference in there}

    def _older_keys(self, reference: str, keyed: str) -> list[str]:
        repository = reference.rpartition(":")[0]
        return [other for other in self.references() - {reference, keyed} if other.rpartition(":")[0] == repository]

    def _recorded(self) -> dict[str, str]:
        try:
            return dict(json.loads(self._layout.images.read_text()))
        except (OSError, ValueError):
            return {}

    def _ctr(self, *arguments: str | Path) -> str:
        return shell.run(["ctr", "--address", self._layout.containerd_socket, "--namespace", NAMESPACE, *arguments])
