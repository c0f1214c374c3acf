"""How much memory the process may take, so that what wants more fails instead of all of it."""

import os
from pathlib import Path

CGROUP_ROOT = Path("/sys/fs/cgroup")
_STATUS = Path("/proc/self/status")
#: Version 1 writes a number near 2**63 for "no limit".
_NO_LIMIT_FROM = 1 << 60
#: The rest is for requests, answers, and what a model keeps outside of its tensors.
_SHARE = 0.75
_BYTES_MIN = 32 << 20


def tensor_bytes_max(root: Path = CGROUP_ROOT) -> int:
    """Return what tensors may take of the memory that the container's limit, or the machine, has left."""
    return max(int((memory_bytes(root) - _resident_bytes()) * _SHARE), _BYTES_MIN)


def memory_bytes(root: Path = CGROUP_ROOT) -> int:
    """Return the memory that the container's limit and the machine allow."""
    physical = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    limits = [_limit(root / "memory.max"), _limit(root / "memory" / "memory.limit_in_bytes")]
    return min([physical, *(limit for limit in limits if limit is not None)])


def _limit(file: Path) -> int | None:
    text = _read(file).strip()
    return int(text) if text.isdecimal() and int(text) < _NO_LIMIT_FROM else None


def _resident_bytes() -> int:
    _, found, rest = _read(_STATUS).partition("\nVmRSS:")
    return int(rest.split()[0]) * 1024 if found else 0


def _read(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
