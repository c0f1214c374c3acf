"""A file that grows while it is fetched, with the SHA-256 of what is in it so far."""

import contextlib
import errno
import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from penstock_contract.termination import Reason
from penstock_server.fetch.failure import FetchFailed


class PartialFile:
    """Written from its start to its end; an error of our own disk never looks like one of the source."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._digest = hashlib.sha256()
        self.bytes = 0

    def write(self, chunk: bytes) -> None:
        """Append a chunk."""
        try:
            self._file.write(chunk)
        except OSError as error:
            raise _storage(Path(self._file.name), error) from error
        self._digest.update(chunk)
        self.bytes += len(chunk)

    def restart(self) -> None:
        """Forget what was written."""
        if self.bytes == 0:
            return
        try:
            self._file.seek(0)
            self._file.truncate()
        except OSError as error:
            raise _storage(Path(self._file.name), error) from error
        self._digest = hashlib.sha256()
        self.bytes = 0

    def flush(self) -> None:
        """Hand everything to the system."""
        try:
            self._file.flush()
        except OSError as error:
            raise _storage(Path(self._file.name), error) from error

    @property
    def sha256(self) -> str:
        """The digest of what was written, in hex."""
        return self._digest.hexdigest()


@contextlib.contextmanager
def created(path: Path) -> Iterator[PartialFile]:
    """Open a new, empty file; never one that somebody else left there, or a link."""
    try:
        path.unlink(missing_ok=True)
        file = path.open("xb")
    except OSError as error:
        raise _storage(path, error) from error
    try:
        yield PartialFile(file)
    finally:
        # What is still buffered when something failed is of no use; that it does not fit either is no second failure.
        with contextlib.suppress(OSError):
            file.close()


def _storage(path: Path, error: OSError) -> FetchFailed:
    if error.errno in {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}:
        return FetchFailed(Reason.STORAGE_FULL, f"the model does not fit into the pod's volume at {path.parent}")
    return FetchFailed(Reason.INVALID_CONFIGURATION, f"cannot write {path}: {error.strerror or error}")
