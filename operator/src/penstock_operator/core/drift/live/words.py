"""Numbers and names as people read them."""

#: Names of columns are a model author's; a status is no place for a novel.
_NAME_MAX = 80


def rate(per_second: float | None) -> str:
    """Return how often rows come.

    >>> rate(12.0), rate(0.25)
    ('12 rows/s', '15 rows/min')
    """
    number = per_second or 0.0
    return f"{number:.3g} rows/s" if number >= 1 else f"{number * 60:.3g} rows/min"


def span(seconds: float) -> str:
    """Return a time in the largest unit of which there is one.

    >>> span(45.0), span(700.0), span(9000.0), span(200_000.0)
    ('45 s', '12 min', '2.5 h', '2.3 days')
    """
    for size, unit in ((86_400.0, "days"), (3600.0, "h"), (60.0, "min")):
        if seconds >= size:
            return f"{seconds / size:.2g} {unit}"
    return f"{seconds:.0f} s"


def share(number: float) -> str:
    """Return a share in percent, with as many digits as it needs.

    >>> share(0.5), share(0.0123), share(0.0004), share(0.0), share(1.0)
    ('50%', '1.2%', '0.04%', '0%', '100%')
    """
    return f"{number * 100:.2g}%" if number < 1 else f"{number:.0%}"


def short(name: str) -> str:
    """Return a name of bounded length without what a terminal might obey."""
    text = "".join(letter if letter.isprintable() else "?" for letter in name)
    return text if len(text) <= _NAME_MAX else text[: _NAME_MAX - 1] + "…"


def named(signal: str, segment: str) -> str:
    """Return the name of a signal of a segment, which no other segment's has.

    >>> named("inputs/amount", "de"), named("inputs/amount", "")
    ('inputs/amount [de]', 'inputs/amount')
    """
    return f"{signal} [{segment}]" if segment else signal


def told(message: str, segment: str) -> str:
    """Return what is said of a segment.

    >>> told("amount: PSI 0.31 over 500 rows", "de")
    'de: amount: PSI 0.31 over 500 rows'
    """
    return f"{short(segment)}: {message}" if segment else message
