"""Write a container image as an OCI archive, from files alone; no image builder needed."""

import hashlib
import io
import json
import tarfile
from collections.abc import Mapping, Sequence
from pathlib import Path

ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}


def write(
    archive: Path,
    *,
    reference: str,
    files: Mapping[str, Path],
    entrypoint: Sequence[str],
    machine: str,
    user: str = "65532:65532",
) -> None:
    """Write an image that holds ``files`` (path in the image → executable on disk) and nothing else.

    The same input gives the same bytes. Compression is left out: the archive never leaves the machine.
    """
    layer = _layer(files)
    config = {
        "architecture": ARCHITECTURES.get(machine, machine),
        "os": "linux",
        "config": {"Entrypoint": list(entrypoint), "User": user, "WorkingDir": "/"},
        "rootfs": {"type": "layers", "diff_ids": [_digest(layer)]},
    }
    blobs = {_digest(layer): layer}
    manifest = {
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "config": _add(blobs, _json(config), "application/vnd.oci.image.config.v1+json"),
        "layers": [_descriptor(layer, "application/vnd.oci.image.layer.v1.tar")],
    }
    described = _add(blobs, _json(manifest), "application/vnd.oci.image.manifest.v1+json")
    described["annotations"] = {"io.containerd.image.name": reference}
    members = {f"blobs/{digest.replace(':', '/')}": content for digest, content in blobs.items()}
    members["index.json"] = _json({"schemaVersion": 2, "manifests": [described]})
    members["oci-layout"] = _json({"imageLayoutVersion": "1.0.0"})
    partial = archive.with_name(f"{archive.name}.partial")
    partial.parent.mkdir(parents=True, exist_ok=True)
    partial.write_bytes(_tar(members, mode=0o644))
    partial.rename(archive)


def _layer(files: Mapping[str, Path]) -> bytes:
    return _tar({path.lstrip("/"): source.read_bytes() for path, source in files.items()}, mode=0o755)


def _tar(members: Mapping[str, bytes], *, mode: int) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.USTAR_FORMAT) as tar:
        for name in sorted(members):
            member = tarfile.TarInfo(name)
            member.size = len(members[name])
            member.mode = mode
            tar.addfile(member, io.BytesIO(members[name]))
    return buffer.getvalue()


def _add(blobs: dict[str, bytes], content: bytes, media_type: str) -> dict[str, object]:
    blobs[_digest(content)] = content
    return _descriptor(content, media_type)


def _descriptor(content: bytes, media_type: str) -> dict[str, object]:
    return {"mediaType": media_type, "digest": _digest(content), "size": len(content)}


def _digest(content: bytes) -> str:
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


def _json(value: object) -> bytes:
    return json.dumps(value, sort_keys=True).encode()
