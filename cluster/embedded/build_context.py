"""The files that go into one image, apart from the rest of the tree."""

import hashlib
import shutil
from collections.abc import Iterable, Iterator
from pathlib import Path

from .errors import ClusterError

# What tools leave beside the sources; it must neither reach an image nor cause a rebuild.
LEFT_OUT = ("__pycache__", "*.pyc", "*.egg-info", ".mypy_cache", ".ruff_cache", ".pytest_cache", ".venv", "*.partial")


def digest(root: Path, paths: Iterable[str]) -> str:
    """Return a hash over names, modes and contents of the files at ``paths`` below ``root``."""
    total = hashlib.sha256()
    for path in sorted(files(root, paths)):
        executable = path.stat().st_mode & 0o111 != 0
        total.update(f"{path.relative_to(root)}\0{executable}\0".encode())
        total.update(hashlib.sha256(path.read_bytes()).digest())
    return total.hexdigest()


def files(root: Path, paths: Iterable[str]) -> Iterator[Path]:
    """Yield the files at or below ``paths``, which may be globs; raises ClusterError where one names nothing."""
    for pattern in paths:
        matches = [root] if pattern in (".", "./") else list(root.glob(pattern.strip("/").removeprefix("./")))
        if not matches:
            raise ClusterError(f"a Dockerfile copies {pattern!r}, which is not in {root}: correct its COPY line")
        for match in matches:
            candidates = [match] if match.is_file() else match.rglob("*")
            yield from (path for path in candidates if path.is_file() and not _is_left_out(path.relative_to(root)))


def stage(root: Path, paths: Iterable[str], target: Path) -> None:
    """Copy the files at ``paths`` to the same places below ``target``."""
    for path in files(root, paths):
        copy = target / path.relative_to(root)
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(path, copy)


def _is_left_out(path: Path) -> bool:
    return any(Path(part).match(pattern) for part in path.parts for pattern in LEFT_OUT)
