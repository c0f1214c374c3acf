"""A virtual environment for each server, kept by the hash of what is in it."""

import hashlib
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
CACHE = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "penstock" / "bench"
_STAMP = ".complete"


def python_of(name: str, requirements: tuple[str, ...], *, also: str = "") -> Path:
    """Return the Python of the environment that holds these requirements; made first if it is not there.

    ``also``: what else must be the same for an environment to be used again.
    """
    wanted = "\n".join((sys.version, *requirements, also))
    folder = CACHE / f"{name}-{hashlib.sha256(wanted.encode()).hexdigest()[:12]}"
    python = folder / "bin" / "python"
    if not (folder / _STAMP).exists():
        print(f"installing {name} into {folder}, once: {', '.join(requirements)}", flush=True)
        began = time.monotonic()
        shutil.rmtree(folder, ignore_errors=True)
        subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True)
        install = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *requirements]
        subprocess.run(["nice", *install], check=True, cwd=ROOT)
        (folder / _STAMP).write_text(wanted)
        print(f"installed {name} after {time.monotonic() - began:.0f} s", flush=True)
    return python


def versions(python: Path, *distributions: str) -> dict[str, str]:
    """Return the versions of distributions in an environment; those that are not there are left out."""
    program = (
        "import importlib.metadata as m, json, sys\n"
        "found = {}\n"
        "for name in sys.argv[1:]:\n"
        "    try: found[name] = m.version(name)\n"
        "    except m.PackageNotFoundError: pass\n"
        "print(' '.join(f'{k}={v}' for k, v in found.items()))"
    )
    printed = subprocess.run([str(python), "-c", program, *distributions], check=True, capture_output=True, text=True)
    return dict(pair.split("=", 1) for pair in printed.stdout.split())
