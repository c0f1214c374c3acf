"""The two images that hold one program each: pause and CoreDNS."""

import platform
from dataclasses import dataclass
from pathlib import Path

from . import addons, binaries, node, oci_archive
from .image_store import ImageStore
from .paths import cache_dir


@dataclass(frozen=True, slots=True, kw_only=True)
class ScratchImage:
    """An image made of one program."""

    reference: str
    module: binaries.GoModule
    program: str

    @property
    def key(self) -> str:
        """Return the key of what the program is built from."""
        return binaries.module_key(self.module)


IMAGES = (
    ScratchImage(reference=node.PAUSE_IMAGE, module=binaries.PAUSE, program="pause"),
    ScratchImage(reference=addons.COREDNS_IMAGE, module=binaries.COREDNS, program="coredns"),
)


def ensure(store: ImageStore) -> None:
    """Import the images that ``store`` lacks."""
    for image in IMAGES:
        if not store.has(image.reference, image.key):
            store.add(_archive(image), reference=image.reference, key=image.key)


def _archive(image: ScratchImage) -> Path:
    archive = cache_dir() / "images" / f"{image.program}-{image.key}.tar"
    if not archive.exists():
        oci_archive.write(
            archive,
            reference=image.reference,
            files={image.program: binaries.bin_dir() / image.program},
            entrypoint=[f"/{image.program}"],
            machine=platform.machine(),
        )
    return archive
