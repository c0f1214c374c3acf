"""Lints the chart, if helm is there already; `make check` builds nothing for it."""

import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from cluster.embedded.binaries import bin_dir  # noqa: E402 - the path is set above


def main() -> None:
    """Run helm lint; the tests of the chart run it in any case."""
    built = bin_dir() / "helm"
    helm = shutil.which("helm") or (str(built) if built.exists() else None)
    if helm is None:
        print("helm lint: left out, no helm yet (`make tools` builds it; `make test` does it too)")
        return
    sys.exit(
        subprocess.run([helm, "lint", "--strict", "--quiet", str(ROOT / "charts" / "penstock")], check=False).returncode
    )


if __name__ == "__main__":
    main()
