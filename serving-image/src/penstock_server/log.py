"""One line per thing that happened: JSON where machines read it, words where a person does."""

import json
import sys
import time
from collections.abc import Callable
from typing import Any, Protocol, TextIO

_LINE_END = "\n"


class Log(Protocol):
    """Writes one line."""

    def __call__(self, event: str, **fields: Any) -> None:
        """``event`` is a constant; what varies goes into the fields."""


def json_log(stream: TextIO | None = None, *, clock: Callable[[], float] = time.time, **constant: Any) -> Log:
    """Return a log of JSON objects that all carry the constant fields."""

    def write(event: str, **fields: Any) -> None:
        line = {"time": _timestamp(clock()), "event": event, **constant, **fields}
        print(json.dumps(line, default=str, ensure_ascii=False), file=stream or sys.stdout, flush=True)

    return write


def text_log(stream: TextIO | None = None) -> Log:
    """Return a log for a terminal."""

    def write(event: str, **fields: Any) -> None:
        details = "  ".join(f"{key}={printable(str(value))}" for key, value in fields.items())
        print(f"{printable(event, but=_LINE_END)}  {details}".rstrip(), file=stream or sys.stderr, flush=True)

    return write


def printable(text: str, *, but: str = "") -> str:
    """Return a text that cannot move the cursor, or look like a line of ours: it may be a stranger's."""
    return "".join(one if one.isprintable() or one in but else one.encode("unicode_escape").decode() for one in text)


def _timestamp(seconds: float) -> str:
    whole = int(seconds)
    return f"{time.strftime('%Y-%m-%dT%H:%M:%S', time.gmtime(whole))}.{int((seconds - whole) * 1000):03d}Z"
