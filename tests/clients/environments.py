"""A virtual environment for each client, kept in the cache by the hash of what is in it."""

import hashlib
import os
import shutil
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "penstock" / "clients"
_STAMP = ".complete"


@dataclass(frozen=True, slots=True, kw_only=True)
class Client:
    """``requirements`` are pinned; ``below`` is the first minor version of Python 3 that the client cannot use."""

    name: str
    requirements: tuple[str, ...]
    below: int = 99


CLIENTS = {
    one.name: one
    for one in (
        Client(name="tritonclient", requirements=("tritonclient[http,grpc]==2.73.0", "numpy==2.4.6")),
        Client(name="kserve", requirements=("kserve==0.21.0",), below=14),
        Client(name="mlserver", requirements=("mlserver==1.7.1",), below=13),
        Client(name="schemathesis", requirements=("schemathesis==4.32.5",)),
    )
}


def folder_of(client: Client) -> Path:
    """Return the folder of the client's environment; made first if it is not there."""
    interpreter = _interpreter(client)
    wanted = "\n".join((_version(interpreter), *client.requirements))
    folder = CACHE / f"{client.name}-{hashlib.sha256(wanted.encode()).hexdigest()[:12]}"
    if not (folder / _STAMP).exists():
        print(f"== installing {client.name} into {folder}, once", file=sys.stderr, flush=True)
        began = time.monotonic()
        shutil.rmtree(folder, ignore_errors=True)
        subprocess.run([interpreter, "-m", "venv", str(folder)], check=True)
        install = [str(folder / "bin" / "python"), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        subprocess.run(["nice", *install, *client.requirements], check=True)
        (folder / _STAMP).write_text(wanted)
        print(f"== {client.name}: installed after {time.monotonic() - began:.0f} s", file=sys.stderr, flush=True)
    return folder


def _interpreter(client: Client) -> str:
    if sys.version_info.minor < client.below:
        return sys.executable
    for minor in range(client.below - 1, 10, -1):
        found = shutil.which(f"python3.{minor}")
        if found:
            return found
    raise RuntimeError(f"{client.name} needs a Python below 3.{client.below}; install python3.{client.below - 1}")


def _version(interpreter: str) -> str:
    return subprocess.run([interpreter, "--version"], check=True, capture_output=True, text=True).stdout.strip()


def main() -> None:
    """Make every environment that is not there yet."""
    for client in CLIENTS.values():
        folder_of(client)


if __name__ == "__main__":
    main()
