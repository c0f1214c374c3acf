"""Durations as people write them in manifests: ``250ms``, ``2s``, ``1h30m``."""

import re
from datetime import timedelta
from typing import Annotated

from pydantic import BeforeValidator, PlainSerializer

_UNIT_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}
_PART = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h)")

#: The same form as the CRD schemas' ``pattern``; a test keeps the two equal.
PATTERN = r"^([0-9]+(\.[0-9]+)?(ms|s|m|h))+$"


def parse_duration(text: str) -> timedelta:
    """Return the duration that ``text`` says.

    Raises:
        ValueError: when it is not a sequence of numbers with units ms, s, m, h.

    >>> parse_duration("1h30m")
    datetime.timedelta(seconds=5400)
    >>> parse_duration("250ms").total_seconds()
    0.25
    """
    if not re.match(PATTERN, text):
        raise ValueError(f"{text!r} is not a duration; write a number with a unit, such as 250ms, 2s, 5m or 1h30m")
    return timedelta(seconds=sum(float(number) * _UNIT_SECONDS[unit] for number, unit in _PART.findall(text)))


def format_duration(value: timedelta) -> str:
    """Return the shortest manifest form of a duration, down to milliseconds.

    >>> format_duration(timedelta(seconds=5400)), format_duration(timedelta(milliseconds=250))
    ('1h30m', '250ms')
    """
    milliseconds = round(value.total_seconds() * 1000)
    if milliseconds == 0:
        return "0s"
    parts = []
    for unit, size in (("h", 3_600_000), ("m", 60_000), ("s", 1000), ("ms", 1)):
        count, milliseconds = divmod(milliseconds, size)
        if count:
            parts.append(f"{count}{unit}")
    return "".join(parts)


def _validate(value: object) -> object:
    return parse_duration(value) if isinstance(value, str) else value


Duration = Annotated[timedelta, BeforeValidator(_validate), PlainSerializer(format_duration, return_type=str)]
