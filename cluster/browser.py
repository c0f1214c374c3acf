"""Prints where a Chromium is, which tests look at pages with; installs Debian's where there is none.

Standard library only.
"""

import os
import shutil
import subprocess
import sys

NAMES = ("chromium", "chromium-browser", "google-chrome")


def found() -> str | None:
    """Return the program that PENSTOCK_CHROMIUM names, or one on the PATH."""
    named = os.environ.get("PENSTOCK_CHROMIUM")
    return named or next((path for name in NAMES if (path := shutil.which(name))), None)


def main() -> None:
    """Print its path."""
    if found() is None:
        if shutil.which("apt-get") is None or os.geteuid() != 0:
            sys.exit("there is no Chromium: install one, or name yours in PENSTOCK_CHROMIUM")
        quiet = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
        for arguments in (["update"], ["install", "--yes", "--no-install-recommends", "chromium"]):
            subprocess.run(["apt-get", "-q", *arguments], check=True, stdout=sys.stderr, env=quiet)
    print(found())


if __name__ == "__main__":
    main()
