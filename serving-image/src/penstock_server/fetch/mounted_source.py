"""A file on a volume that is mounted into the pod: of a persistent volume claim, a ConfigMap or an image."""

import os
import stat
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import BinaryIO

from penstock_contract.termination import Reason
from penstock_server.fetch.failure import FetchFailed, unavailable
from penstock_server.fetch.source import CHUNK_BYTES, Position, Stream


class MountedSource:
    """Reads a file below ``mount_dir``; links are followed (ConfigMap volumes are made of them), but only inside it."""

    def __init__(self, path: str, *, mount_dir: str, shown: str) -> None:
        self._path = path
        self._mount_dir = mount_dir
        self._shown = shown

    @asynccontextmanager
    async def open(self, position: Position | None = None) -> AsyncIterator[Stream]:  # noqa: ARG002 - always whole
        """Yield the file; raise FetchFailed if it is absent, unreadable, outside or not a regular file."""
        try:
            descriptor = self._descriptor()
            status = os.fstat(descriptor)
            if not stat.S_ISREG(status.st_mode):
                os.close(descriptor)
                raise FetchFailed(Reason.SOURCE_FORBIDDEN, f"{self._shown} is not a regular file")
            with os.fdopen(descriptor, "rb") as file:
                yield Stream(size=status.st_size, chunks=_chunks(file))
        except (FileNotFoundError, NotADirectoryError) as error:
            raise FetchFailed(Reason.SOURCE_NOT_FOUND, f"there is no {self._shown}") from error
        except PermissionError as error:
            raise FetchFailed(
                Reason.SOURCE_FORBIDDEN, f"{self._shown} may not be read by user {os.getuid()}"
            ) from error
        except OSError as error:
            raise unavailable(f"{self._shown}: {error.strerror or error}") from error

    def _descriptor(self) -> int:
        root = Path(self._mount_dir).resolve()
        target = (root / self._path).resolve()
        if not target.is_relative_to(root):
            raise FetchFailed(Reason.SOURCE_FORBIDDEN, f"{self._shown} leads out of its volume")
        # O_NOFOLLOW: the last link was followed above. O_NONBLOCK: a pipe must not make us wait for a writer.
        return os.open(target, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)


async def _chunks(file: BinaryIO) -> AsyncIterator[bytes]:
    while chunk := file.read(CHUNK_BYTES):
        yield chunk
