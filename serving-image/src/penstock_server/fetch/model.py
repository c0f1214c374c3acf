"""From what is wanted to a model file that may be loaded: fetched, verified, inspected, and only then in its place."""

import asyncio
import hashlib
from pathlib import Path

from penstock_contract.environment import FetchEnvironment
from penstock_contract.termination import Reason
from penstock_server.fetch import guard, location
from penstock_server.fetch.credentials import Credentials
from penstock_server.fetch.download import Download, Limits
from penstock_server.fetch.failure import FetchFailed
from penstock_server.fetch.http_source import HttpSource
from penstock_server.fetch.location import Http, Mounted
from penstock_server.fetch.mounted_source import MountedSource
from penstock_server.fetch.s3_source import S3Source
from penstock_server.fetch.source import Source
from penstock_server.log import Log


def fetch(wanted: FetchEnvironment, credentials: Credentials, log: Log) -> None:
    """Put the model at its destination; raise FetchFailed, and then nothing is there."""
    destination = Path(wanted.destination)
    if _is_there(destination, wanted.sha256):
        log("already-there", path=str(destination))
    else:
        destination.unlink(missing_ok=True)
        partial = destination.with_name(f".{destination.name}.partial")
        try:
            _bring(wanted, credentials, partial, log)
            partial.rename(destination)
        finally:
            partial.unlink(missing_ok=True)
    log("ready", path=str(destination), sha256=wanted.sha256.lower())


def _bring(wanted: FetchEnvironment, credentials: Credentials, file: Path, log: Log) -> None:
    shown = location.shown(wanted.uri)
    log("fetching", uri=shown)
    limits = Limits(bytes_max=wanted.max_bytes, seconds_max=wanted.timeout_seconds)
    digest = asyncio.run(Download(_source(wanted, credentials), file, limits, log).run())
    if digest != wanted.sha256.lower():
        raise FetchFailed(
            Reason.CHECKSUM_MISMATCH,
            f"{shown} has sha256 {digest}, but spec.model.sha256 is {wanted.sha256.lower()}; "
            "put the first there if this file is the right one",
        )
    log("verified", sha256=digest)
    inspected = guard.inspect(file)
    file.chmod(0o444)
    log("inspected", bytes=inspected.bytes, nodes=inspected.nodes)


def _source(wanted: FetchEnvironment, credentials: Credentials) -> Source:
    match location.parse(wanted.uri):
        case Http(url=url):
            return HttpSource(url, credentials)
        case Mounted(path=path):
            return MountedSource(path, mount_dir=wanted.mount_dir, shown=location.shown(wanted.uri))
        case s3:
            return S3Source(s3, credentials, timeout_seconds=wanted.timeout_seconds)


def _is_there(path: Path, sha256: str) -> bool:
    """Return whether an earlier run of this container has done the work already."""
    if path.is_symlink() or not path.is_file():
        return False
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest() == sha256.lower()
