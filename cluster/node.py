"""Programs of Node: kept in the cache by the hash of their lock file; installs Debian's Node where there is none.

What tests compare with is not always Python. Standard library only.
"""

import hashlib
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

from cluster.environments import CACHE

_PACKAGES = ("nodejs", "npm")


def ensure() -> None:
    """Install Node where there is none; raise RuntimeError where that is not possible."""
    if shutil.which("npm"):
        return
    if shutil.which("apt-get") is None or os.geteuid() != 0:
        raise RuntimeError("there is no npm: install Node 20 or newer with npm")
    quiet = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    for arguments in (["update"], ["install", "--yes", "--no-install-recommends", *_PACKAGES]):
        subprocess.run(["apt-get", "-q", *arguments], check=True, stdout=sys.stderr, env=quiet)


def programs_of(name: str, locked: Path) -> Path:
    """Return the folder with the programs of the packages that ``locked`` names; installed first if it is not there.

    ``locked`` holds a package.json and a package-lock.json with the hash of each package. No script of a package runs.
    """
    lock = (locked / "package-lock.json").read_bytes()
    folder = CACHE / f"{name}-{hashlib.sha256(lock).hexdigest()[:12]}"
    mark = folder / ".complete"
    if not mark.exists():
        ensure()
        print(f"== installing {name} for Node into a folder of its own, once", file=sys.stderr, flush=True)
        began = time.monotonic()
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        for file in ("package.json", "package-lock.json"):
            shutil.copy(locked / file, folder)
        options = ["--ignore-scripts", "--no-audit", "--no-fund", "--no-update-notifier", "--loglevel=error"]
        subprocess.run(["nice", "npm", "ci", *options], check=True, cwd=folder, stdout=sys.stderr)
        mark.touch()
        print(f"== {name}: installed after {time.monotonic() - began:.0f} s", file=sys.stderr, flush=True)
    return folder / "node_modules" / ".bin"
