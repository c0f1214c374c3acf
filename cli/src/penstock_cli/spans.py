"""Time spans as people read them."""

from datetime import UTC, datetime, timedelta


def short(span: timedelta) -> str:
    """Return a time span in its two largest units; a negative one as 0s.

    >>> short(timedelta(seconds=72)), short(timedelta(hours=25)), short(timedelta(seconds=-3))
    ('1m12s', '1d1h', '0s')
    """
    seconds = max(0, int(span.total_seconds()))
    units = (("d", 86400), ("h", 3600), ("m", 60), ("s", 1))
    first = next((place for place, (_, size) in enumerate(units) if seconds >= size), len(units) - 1)
    words: list[str] = []
    for unit, size in units[first : first + 2]:
        count, seconds = divmod(seconds, size)
        if count or not words:
            words.append(f"{count}{unit}")
    return "".join(words)


def instant(timestamp: str) -> datetime:
    """Return the moment that a Kubernetes timestamp names."""
    return datetime.fromisoformat(timestamp).astimezone(UTC)
