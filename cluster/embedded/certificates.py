"""The keys and certificates of one cluster."""

import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from . import binaries

MARKER = "complete"


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyPair:
    """A certificate and its private key, as PEM files."""

    certificate: Path
    key: Path


@dataclass(frozen=True, slots=True, kw_only=True)
class Certificates:
    """A folder made by ``ensure``."""

    folder: Path

    def pair(self, name: str) -> KeyPair:
        """Return the pair called ``name``: ``ca``, ``server`` or one of the clients."""
        return KeyPair(certificate=self.folder / f"{name}.crt", key=self.folder / f"{name}.key")

    @property
    def ca(self) -> Path:
        """Return the certificate that all others are checked against."""
        return self.folder / "ca.crt"

    @property
    def token_keys(self) -> KeyPair:
        """Return the keys of service account tokens: the public one stands for the certificate."""
        return KeyPair(
            certificate=self.folder / "service-account.pub",
            key=self.folder / "service-account.key",
        )


def ensure(folder: Path, *, hosts: Sequence[str], clients: Mapping[str, str]) -> Certificates:
    """Make the certificates once; ``clients`` maps a file name to ``COMMON NAME/ORGANISATION``.

    Made again where the hosts or clients differ from those before: an address may change between two starts.
    """
    marker = folder / MARKER
    wanted = [*(f"-host={host}" for host in hosts), *(f"-client={name}={who}" for name, who in clients.items())]
    if not marker.exists() or marker.read_text() != "\n".join(wanted):
        program = binaries.ensure([binaries.CERTIFICATES]) / "penstock-certificates"
        subprocess.run([str(program), "-out", str(folder), *wanted], check=True)
        marker.write_text("\n".join(wanted))
    return Certificates(folder=folder)
