"""Where the cluster keeps its things on this machine."""

import os
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]
MODULES = REPOSITORY / "cluster" / "modules"
DEFAULT_STATE = Path("/var/lib/penstock-cluster")


def cache_dir() -> Path:
    """Return the folder for what is slow to make: binaries, the base image, image archives."""
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "penstock"


def state_dir() -> Path:
    """Return the folder that holds everything of the running cluster; ``down`` deletes it.

    Its path must be short: a socket's path may have 107 characters, and sockets live some folders below it.
    """
    return Path(os.environ.get("PENSTOCK_STATE") or DEFAULT_STATE).absolute()
