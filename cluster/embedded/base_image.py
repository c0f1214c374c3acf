"""``debian:trixie-slim`` without a registry: made by debootstrap once, then kept in the cache."""

import hashlib
import os
import platform
from pathlib import Path

from . import mounts, shell
from .buildah import Buildah
from .console import step
from .paths import cache_dir

REFERENCE = "docker.io/library/debian:trixie-slim"
SUITE = "trixie"
# As in the official slim image: what nobody reads inside a container.
DROPPED = (
    "./usr/share/doc/*",
    "./usr/share/man/*",
    "./usr/share/info/*",
    "./usr/share/locale/*",
    "./var/cache/apt/*",
    "./var/lib/apt/lists/*",
    "./var/log/*",
    "./dev/*",
)


def key() -> str:
    """Return the key of the base image; images built on it depend on it."""
    return hashlib.sha256(f"{SUITE} {DROPPED} {platform.machine()} 1".encode()).hexdigest()[:12]


def ensure(buildah: Buildah) -> None:
    """Put the base image into ``buildah``'s store, unless it is there."""
    keyed = f"localhost/penstock-base:{key()}"
    if buildah.has(keyed):
        return
    archive = _archive()
    with step("base image: debian:trixie-slim"):
        buildah.commit_archive(archive, references=(REFERENCE, keyed))


def _archive() -> Path:
    """Return the archive of the base image's files; about 20 s where it has to be made."""
    archive = cache_dir() / "images" / f"debian-{SUITE}-{key()}.tar"
    if archive.exists():
        return archive
    rootfs = cache_dir() / "images" / "rootfs.partial"
    partial = archive.with_name(f"{archive.name}.partial")
    # Without one debootstrap takes the mirror that it knows itself.
    mirror = [chosen] if (chosen := os.environ.get("PENSTOCK_DEBIAN_MIRROR")) else []
    with step(f"debootstrap {SUITE}"):
        # A killed debootstrap leaves /proc mounted in there.
        mounts.delete_tree(rootfs)
        rootfs.mkdir(parents=True)
        shell.run(["debootstrap", "--variant=minbase", SUITE, rootfs, *mirror])
        mounts.unmount_below(rootfs)
        left_out = [f"--exclude={pattern}" for pattern in DROPPED]
        shell.run(["tar", "--numeric-owner", *left_out, "-cf", partial, "-C", rootfs, "."])
        partial.rename(archive)
        mounts.delete_tree(rootfs)
    return archive
