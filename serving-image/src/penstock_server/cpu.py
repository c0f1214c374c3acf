"""How many CPU cores this process may use."""

import os
from pathlib import Path

CGROUP_ROOT = Path("/sys/fs/cgroup")


def usable_cores(root: Path = CGROUP_ROOT) -> int:
    """Return the whole cores that the container's limit and the CPU affinity leave, at least 1.

    Rounded down: a thread more than the quota would be throttled and make every run wait for it.
    """
    affinity = len(os.sched_getaffinity(0))
    quota = _quota_v2(root / "cpu.max") or _quota_v1(root / "cpu")
    return max(1, affinity if quota is None else min(affinity, int(quota)))


def _quota_v2(file: Path) -> float | None:
    text = _read(file)
    match text.split():
        case [quota, period] if quota != "max":
            return int(quota) / int(period)
        case _:
            return None


def _quota_v1(folder: Path) -> float | None:
    quota, period = _read(folder / "cpu.cfs_quota_us"), _read(folder / "cpu.cfs_period_us")
    if not quota or not period or int(quota) <= 0:
        return None
    return int(quota) / int(period)


def _read(file: Path) -> str:
    try:
        return file.read_text(encoding="ascii").strip()
    except OSError:
        return ""
