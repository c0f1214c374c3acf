"""Buildah with a store of its own in the cache, so that the machine's other images are left alone."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from . import mounts, shell


class Buildah:
    """One store of images and layers in ``folder``."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        driver = "overlay" if mounts.is_overlay_possible(folder) else "vfs"
        self._options = [f"--root={folder / 'store'}", f"--runroot={folder / 'run'}", f"--storage-driver={driver}"]

    def has(self, reference: str) -> bool:
        """Tell whether the store has an image of that name."""
        return shell.succeeds(["buildah", *self._options, "inspect", "--type", "image", reference])

    def commit_archive(self, archive: Path, *, references: Sequence[str]) -> None:
        """Make an image whose files are those in ``archive`` (tar)."""
        container = self._run("from", "scratch").strip()
        try:
            self._run("add", "--quiet", container, archive, "/")
            self._run(
                "config",
                "--cmd",
                "bash",
                "--env",
                "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
                container,
            )
            self._run("commit", "--quiet", container, references[0])
        finally:
            self._run("rm", container)
        for reference in references[1:]:
            self._run("tag", references[0], reference)

    def build(
        self,
        context: Path,
        *,
        dockerfile: Path,
        reference: str,
        arguments: Mapping[str, str],
        volumes: Mapping[Path, str],
    ) -> None:
        """Build ``dockerfile``; ``volumes`` are mounted during the build only (host path → path in the build)."""
        self._run(
            "bud",
            "--quiet",
            "--layers",
            "--pull-never",
            # Network and namespaces of the machine: RUN needs to reach package mirrors, and no more.
            "--isolation=chroot",
            "--network=host",
            *(f"--build-arg={name}={value}" for name, value in arguments.items()),
            *(f"--volume={path}:{inside}" for path, inside in volumes.items()),
            f"--tag={reference}",
            f"--file={dockerfile}",
            context,
        )

    def export(self, reference: str, archive: Path) -> None:
        """Write an image to ``archive`` (OCI), under its own name; uncompressed, which is ten times as fast."""
        partial = archive.with_name(f"{archive.name}.partial")
        partial.unlink(missing_ok=True)
        partial.parent.mkdir(parents=True, exist_ok=True)
        self._run("push", "--quiet", "--disable-compression", reference, f"oci-archive:{partial}:{reference}")
        partial.replace(archive)

    def prune(self, *, images_max: int) -> None:
        """Delete what no named image is made of, once there are more than ``images_max`` images, layers counted.

        Until then it is kept: these are the layers that make the next build fast, some 16 for each build.
        """
        if len(self._run("images", "--all", "--quiet").split()) > images_max:
            self._run("rmi", "--prune", "--force")

    def _run(self, command: str, *arguments: str | Path) -> str:
        return shell.run(["buildah", *self._options, command, *arguments])
