"""Prints a Python with a real MLflow in it, for the tests that fetch from its registry; installs it the first time.

An environment of its own, beside the other programs in the cache: MLflow needs many packages that nothing else here
needs, some of them in other versions.
"""

import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "penstock" / "environments"
REQUIREMENTS = ("mlflow>=3.5,<4", "onnx>=1.21,<2", "onnxruntime>=1.24.2,<2")


def python() -> Path:
    """Return the interpreter; a minute or two the first time, milliseconds later."""
    key = hashlib.sha256("\n".join((sys.version, *REQUIREMENTS)).encode()).hexdigest()[:12]
    home = CACHE / f"mlflow-{key}"
    interpreter = home / "bin" / "python"
    mark = home / ".complete"
    if not mark.exists():
        print("== installing MLflow into an environment of its own, once", file=sys.stderr, flush=True)
        shutil.rmtree(home, ignore_errors=True)
        # In its final place at once: an environment cannot be moved. The mark says that it is complete.
        subprocess.run([sys.executable, "-m", "venv", str(home)], check=True)
        pip = [str(interpreter), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        subprocess.run(["nice", *pip, *REQUIREMENTS], check=True)
        mark.touch()
    return interpreter


if __name__ == "__main__":
    print(python())
