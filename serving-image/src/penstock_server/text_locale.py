"""Lends ONNX Runtime the locale that its text operators ask for, where the machine does not have it."""

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

#: What StringNormalizer asks for unless the model names another one; slim images do not have it.
LOCALE = "en_US.UTF-8"
#: What the C library itself brings; upper and lower case are the same in both, and no more is used of them.
_ALWAYS_THERE = Path("/usr/lib/locale/C.utf8")
_VARIABLE = "LOCPATH"


def is_missing(message: str) -> bool:
    """Return whether ONNX Runtime failed because the machine lacks the locale that can be lent."""
    return "Failed to construct locale" in message and LOCALE in message


@contextmanager
def lent() -> Iterator[None]:
    """Make the locale be there under its name for what is done meanwhile; it is needed only while a model loads.

    Does nothing where there is nothing to lend, so that the failure stays as it is.
    """
    before = os.environ.get(_VARIABLE)
    with tempfile.TemporaryDirectory(prefix="locale-") as folder:
        (Path(folder) / LOCALE).symlink_to(_ALWAYS_THERE)
        os.environ[_VARIABLE] = folder
        try:
            yield
        finally:
            if before is None:
                del os.environ[_VARIABLE]
            else:
                os.environ[_VARIABLE] = before
