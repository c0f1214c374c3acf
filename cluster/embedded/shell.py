"""Run system tools and turn their failures into messages."""

import subprocess
from collections.abc import Sequence
from pathlib import Path

from .errors import ClusterError


def run(command: Sequence[str | Path], *, stdin: str | None = None, cwd: Path | None = None) -> str:
    """Return what ``command`` printed; raises ClusterError with its complaint where it fails."""
    words = [str(word) for word in command]
    try:
        result = subprocess.run(words, check=False, input=stdin, capture_output=True, text=True, cwd=cwd)
    except FileNotFoundError as error:
        raise ClusterError(f"`{words[0]}` is not installed: {error}") from error
    if result.returncode != 0:
        complaint = (result.stderr or result.stdout).strip()
        raise ClusterError(f"`{' '.join(words)}` failed ({result.returncode}): {complaint}")
    return result.stdout


def succeeds(command: Sequence[str | Path]) -> bool:
    """Tell whether ``command`` ends with status 0."""
    try:
        return subprocess.run([str(word) for word in command], check=False, capture_output=True).returncode == 0
    except FileNotFoundError:
        return False
