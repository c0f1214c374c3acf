"""Where the prediction log is written to: standard output, or a folder of an object store."""

import asyncio
import gzip
import sys
import time
import uuid
from collections.abc import Sequence
from typing import TextIO
from urllib.parse import urlsplit

from penstock_server.prediction_log import Sink, SinkFailed

STDOUT = "stdout"
_SCHEMES = ("s3", "gs", "az")
#: How long a store may take for one object.
_TIMEOUT_SECONDS = 20.0


def sink_of(destination: str, *, credentials_dir: str, revision: str) -> Sink:
    """Return the sink that a setting names; raise SinkFailed where there is no such place."""
    if destination == STDOUT:
        return StandardOutput()
    parts = urlsplit(destination)
    if parts.scheme not in _SCHEMES or not parts.netloc or parts.query or parts.fragment:
        raise SinkFailed(f"{destination!r} is no destination: write stdout, or a folder such as s3://logs/fraud")
    return StoredFolder(
        scheme=parts.scheme,
        bucket=parts.netloc,
        folder="/".join(part for part in (*parts.path.split("/"), revision) if part),
        credentials_dir=credentials_dir,
    )


class StandardOutput:
    """Lines among those of the server's own log."""

    seconds = 0.25

    def __init__(self, stream: TextIO | None = None) -> None:
        self._stream = stream

    def write(self, lines: Sequence[bytes]) -> None:
        """Write whole lines."""
        stream = self._stream or sys.stdout
        try:
            for line in lines:
                stream.write(line.decode())
            stream.flush()
        except (OSError, ValueError) as error:
            raise SinkFailed(f"standard output: {error}") from error


class StoredFolder:
    """Each batch is an object ``FOLDER/YYYY-MM-DD/HHMMSS-BOOT-NUMBER.jsonl.gz``; nothing is written twice."""

    seconds = 60.0

    def __init__(self, *, scheme: str, bucket: str, folder: str, credentials_dir: str) -> None:
        self._scheme = scheme
        self._bucket = bucket
        self._folder = folder
        self._credentials_dir = credentials_dir
        self._boot = uuid.uuid4().hex[:12]
        self._number = 0

    def write(self, lines: Sequence[bytes]) -> None:
        """Put one object."""
        # A large library, which only those who log into a store have to load.
        from obstore import put  # noqa: PLC0415
        from obstore.exceptions import BaseError  # noqa: PLC0415

        from penstock_server.fetch import credentials, object_source, object_stores  # noqa: PLC0415
        from penstock_server.fetch.failure import FetchFailed  # noqa: PLC0415

        key = self._next_key()
        shown = f"{self._scheme}://{self._bucket}/{key}"
        secrets = credentials.Credentials()
        try:
            secrets = credentials.read(self._credentials_dir)
            access = object_stores.store_access(self._scheme, self._bucket, secrets, timeout_seconds=_TIMEOUT_SECONDS)
            asyncio.run(object_source.check_endpoint(access.endpoint_name, access.endpoint))
            put(access.connect(), key, gzip.compress(b"".join(lines)))
        except FetchFailed as error:
            raise SinkFailed(f"{shown}: {error}") from error
        except (BaseError, OSError, ValueError) as error:
            said = str(error).partition("\n\nDebug source:")[0]
            raise SinkFailed(f"{shown}: {secrets.redact(' '.join(said.split()))}") from error

    def _next_key(self) -> str:
        self._number += 1
        stamp = time.strftime("%Y-%m-%d/%H%M%S", time.gmtime())
        return f"{self._folder}/{stamp}-{self._boot}-{self._number:06}.jsonl.gz"
