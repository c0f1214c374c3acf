"""What a framework itself answers to some rows, in a file beside the model that it exported."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any


def record(path: Path, *, made_with: str, inputs: Mapping[str, Any], outputs: Mapping[str, Any], **more: Any) -> None:
    """Write arrays as lists; ``more``: what else a test needs to know."""
    told = {
        "made_with": made_with,
        "inputs": {name: array.tolist() for name, array in inputs.items()},
        "outputs": {name: array.tolist() for name, array in outputs.items()},
        **more,
    }
    path.write_text(json.dumps(told, ensure_ascii=False, separators=(",", ":")) + "\n")
