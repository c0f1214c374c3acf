"""Mounts below a folder: list them, and take them down."""

import re
import shutil
from pathlib import Path

from . import shell
from .errors import ClusterError

MOUNTS = Path("/proc/self/mountinfo")
MOUNT_POINT = 4  # the fifth field of a line of mountinfo


def below(folder: Path, mountinfo: str) -> list[str]:
    r"""Return the mount points at or below ``folder``, the last mounted first.

    >>> below(Path("/a"), "1 0 0:1 / /a/b rw - x\n2 0 0:1 / /ab rw - x\n3 0 0:1 / /a/b\\040c rw - x")
    ['/a/b c', '/a/b']
    """
    points = [_unescaped(line.split()[MOUNT_POINT]) for line in mountinfo.splitlines()]
    return [point for point in reversed(points) if point == str(folder) or point.startswith(f"{folder}/")]


def unmount_below(folder: Path) -> None:
    """Unmount everything at or below ``folder``."""
    for point in below(folder, MOUNTS.read_text()):
        if not shell.succeeds(["umount", point]):
            shell.run(["umount", "--lazy", point])


def delete_tree(folder: Path) -> None:
    """Unmount everything below ``folder``, then delete it; raises ClusterError before it deletes through a mount."""
    unmount_below(folder)
    if left := below(folder, MOUNTS.read_text()):
        raise ClusterError(f"cannot unmount {', '.join(left)}: end what uses it, then run this again")
    doomed = folder.with_name(f"{folder.name}.deleted")
    if doomed.exists():
        shutil.rmtree(doomed)
    if folder.exists():
        # Out of the way in one move: whoever ends this half way leaves no half folder under the old name.
        folder.rename(doomed)
        shutil.rmtree(doomed)


def is_overlay_possible(folder: Path) -> bool:
    """Tell whether ``folder`` can hold the layers of an overlay mount (it cannot on an overlay itself)."""
    probe = folder / ".overlay-probe"
    parts = {name: probe / name for name in ("lower", "upper", "work", "merged")}
    for part in parts.values():
        part.mkdir(parents=True, exist_ok=True)
    options = f"lowerdir={parts['lower']},upperdir={parts['upper']},workdir={parts['work']}"
    mounted = shell.succeeds(["mount", "-t", "overlay", "overlay", "-o", options, parts["merged"]])
    if mounted:
        shell.run(["umount", parts["merged"]])
    delete_tree(probe)
    return mounted


def _unescaped(point: str) -> str:
    return re.sub(r"\\([0-7]{3})", lambda match: chr(int(match[1], 8)), point)
