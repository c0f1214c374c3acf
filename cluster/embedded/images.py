"""Build the project's images from their Dockerfiles, each one only when what goes into it has changed."""

import hashlib
import os
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from . import base_image, build_context, dockerfile, scratch_images, shell
from .buildah import Buildah
from .console import step
from .errors import ClusterError
from .image_store import ImageStore
from .locks import exclusive
from .paths import REPOSITORY, cache_dir

CERTIFICATES = Path("/etc/ssl/certs/ca-certificates.crt")
CERTIFICATES_INSIDE = "/run/ca.crt"
KIND_CLUSTER = "penstock"
KEPT_ARCHIVES = 2
KEPT_LAYERS = 120


@dataclass(frozen=True, slots=True, kw_only=True)
class Image:
    """One image of the project and the Dockerfile it is built from, with the repository as its context."""

    name: str
    dockerfile: Path

    @property
    def reference(self) -> str:
        """Return the name that pods use, in full."""
        return f"docker.io/penstock/{self.name}:dev"

    def text(self) -> str:
        """Return the Dockerfile; raises ClusterError where there is none."""
        try:
            return self.dockerfile.read_text()
        except FileNotFoundError as error:
            raise ClusterError(
                f"{self.dockerfile} is missing: the image penstock/{self.name} is built from it"
            ) from error

    def key(self) -> str:
        """Return a short hash of the Dockerfile, the files it copies and the base image."""
        text = self.text()
        content = build_context.digest(REPOSITORY, dockerfile.copied_paths(text))
        return hashlib.sha256(f"{text}\0{content}\0{base_image.key()}".encode()).hexdigest()[:12]


IMAGES = (
    Image(name="operator", dockerfile=REPOSITORY / "operator" / "Dockerfile"),
    Image(name="server", dockerfile=REPOSITORY / "serving-image" / "Dockerfile"),
    Image(name="router", dockerfile=REPOSITORY / "cluster" / "images" / "router" / "Dockerfile"),
)


def import_all(store: ImageStore, images: Sequence[Image] = IMAGES) -> dict[str, str]:
    """Build what is missing, import it into the cluster, and return name → key; about a second when all is there."""
    scratch_images.ensure(store)
    keys = {image.name: image.key() for image in images}
    missing = [image for image in images if not store.has(image.reference, keys[image.name])]
    if missing:
        with exclusive(cache_dir() / "images.lock", doing="building images"):
            for image in missing:
                archive = _archive(image, keys[image.name])
                with step(f"importing penstock/{image.name}"):
                    store.add(archive, reference=image.reference, key=keys[image.name])
    return keys


def load_into_kind(images: Sequence[Image] = IMAGES) -> dict[str, str]:
    """Build the same images with Docker and load them into the kind cluster; returns name → key."""
    keys = {image.name: image.key() for image in images}
    for image in images:
        name = f"penstock/{image.name}"
        with step(f"building {name} with docker"), tempfile.TemporaryDirectory() as folder:
            staged = _staged(image, Path(folder))
            tags = [f"--tag={name}:{tag}" for tag in ("dev", keys[image.name])]
            shell.run(["docker", "build", *tags, f"--file={staged}", folder])
        with step(f"loading {name} into kind"):
            shell.run(
                ["kind", "load", "docker-image", "--name", KIND_CLUSTER, f"{name}:dev", f"{name}:{keys[image.name]}"]
            )
    return keys


def _archive(image: Image, key: str) -> Path:
    archive = cache_dir() / "images" / f"{image.name}-{key}.tar"
    if archive.exists():
        return archive
    buildah = Buildah(cache_dir() / "buildah")
    base_image.ensure(buildah)
    with step(f"building penstock/{image.name}"), tempfile.TemporaryDirectory() as folder:
        _build(buildah, image, Path(folder))
        buildah.export(image.reference, archive)
    _delete_older(archive, image)
    buildah.prune(images_max=KEPT_LAYERS)
    return archive


def _build(buildah: Buildah, image: Image, context: Path) -> None:
    staged = _staged(image, context)
    declared = dockerfile.arguments(image.text())
    arguments = {name: value for name, value in os.environ.items() if name in declared and name.startswith("PIP_")}
    # Downloads are kept between builds, outside the image.
    volumes = {_made(cache_dir() / "pip"): "/root/.cache/pip"}
    if "PIP_CERT" in declared and CERTIFICATES.exists():
        # Where the machine trusts a certificate authority of its own, pip in the build has to as well. Not mounted
        # over the image's /etc/ssl/certs: installing the package ca-certificates would fail.
        volumes[CERTIFICATES] = f"{CERTIFICATES_INSIDE}:ro"
        arguments["PIP_CERT"] = CERTIFICATES_INSIDE
    buildah.build(context, dockerfile=staged, reference=image.reference, arguments=arguments, volumes=volumes)


def _staged(image: Image, context: Path) -> Path:
    """Copy exactly what the image's key covers to ``context``, and return the Dockerfile there."""
    build_context.stage(REPOSITORY, dockerfile.copied_paths(image.text()), context)
    staged = context / "Dockerfile"
    staged.write_text(image.text())
    return staged


def _delete_older(archive: Path, image: Image) -> None:
    archives = sorted(archive.parent.glob(f"{image.name}-*.tar"), key=lambda path: path.stat().st_mtime, reverse=True)
    for older in archives[KEPT_ARCHIVES:]:
        older.unlink()


def _made(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    return folder
