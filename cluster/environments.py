"""Virtual environments of other people's programs: kept in the cache by the hash of what is in them.

What tests and benchmarks compare with needs packages that nothing else here needs, some of them in other versions.
"""

import hashlib
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "penstock" / "environments"
_OLDEST_MINOR = 11


def python_of(name: str, requirements: tuple[str, ...], *, below: int | None = None, also: str = "") -> Path:
    """Return the Python of the environment that holds these requirements; made first if it is not there.

    ``below``: the first minor version of Python 3 that cannot be used. ``also``: what else must be the same for an
    environment to be used again. Raises RuntimeError where this machine has no Python that can be used.
    """
    interpreter = sys.executable if below is None or sys.version_info.minor < below else _older(name, below)
    wanted = "\n".join((_version(interpreter), *requirements, also))
    folder = CACHE / f"{name}-{hashlib.sha256(wanted.encode()).hexdigest()[:12]}"
    python, mark = folder / "bin" / "python", folder / ".complete"
    if not mark.exists():
        print(f"== installing {name} into an environment of its own, once", file=sys.stderr, flush=True)
        began = time.monotonic()
        shutil.rmtree(folder, ignore_errors=True)
        # In its final place at once: an environment cannot be moved. The mark says that it is complete.
        subprocess.run([interpreter, "-m", "venv", "--without-pip", str(folder)], check=True)
        # Byte code is made of what is imported, when it is: of these packages that is little.
        options = ["--quiet", "--disable-pip-version-check", "--no-compile"]
        install = [sys.executable, "-m", "pip", "--python", str(python), "install", *options, *requirements]
        subprocess.run(["nice", *install], check=True, cwd=ROOT)
        mark.write_text(wanted)
        print(f"== {name}: installed after {time.monotonic() - began:.0f} s", file=sys.stderr, flush=True)
    return python


def _older(name: str, below: int) -> str:
    found = (shutil.which(f"python3.{minor}") for minor in range(below - 1, _OLDEST_MINOR - 1, -1))
    python = next((path for path in found if path), None)
    if python is None:
        raise RuntimeError(f"{name} needs a Python below 3.{below}; install python3.{below - 1}")
    return python


def _version(interpreter: str) -> str:
    if interpreter == sys.executable:
        return sys.version
    return subprocess.run([interpreter, "-VV"], check=True, capture_output=True, text=True).stdout.strip()
