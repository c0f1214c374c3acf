"""Write kubeconfig files; JSON is YAML, so the standard library suffices."""

import base64
import json
from pathlib import Path

from . import files
from .certificates import Certificates


def write(path: Path, *, server: str, certificates: Certificates, client: str, context: str = "penstock") -> Path:
    """Write a kubeconfig for the client certificate ``client``, with all data inside so that it can be copied."""
    pair = certificates.pair(client)
    content = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [
            {
                "name": context,
                "cluster": {"server": server, "certificate-authority-data": _encoded(certificates.ca)},
            }
        ],
        "users": [
            {
                "name": client,
                "user": {
                    "client-certificate-data": _encoded(pair.certificate),
                    "client-key-data": _encoded(pair.key),
                },
            }
        ],
        "contexts": [{"name": context, "context": {"cluster": context, "user": client}}],
        "current-context": context,
    }
    files.write(path, json.dumps(content, indent=2) + "\n")
    return path


def _encoded(path: Path) -> str:
    return base64.b64encode(path.read_bytes()).decode()
