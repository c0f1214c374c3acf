"""Where the benchmark keeps things, and what is in the environment of a server."""

import os
import subprocess
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
CACHE = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "penstock" / "bench"


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
