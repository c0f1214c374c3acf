"""Entry point for ``python3 -m embedded`` (from cluster/) or ``python3 cluster/embedded``."""

import importlib
import sys
from pathlib import Path

INTERRUPTED = 130

if not __package__:
    # Run as a folder: relative imports need the package's parent on the path.
    sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

if __name__ == "__main__":
    try:
        status = importlib.import_module("embedded.cli").main()
    except KeyboardInterrupt:
        status = INTERRUPTED
    sys.exit(status)
