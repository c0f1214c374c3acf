"""Entry point for ``python3 -m embedded`` (from cluster/) or ``python3 cluster/embedded``."""

import importlib
import sys
from pathlib import Path

if not __package__:
    # Run as a folder: relative imports need the package's parent on the path.
    sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

if __name__ == "__main__":
    sys.exit(importlib.import_module("embedded.cli").main())
