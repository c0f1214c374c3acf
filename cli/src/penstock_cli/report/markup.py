"""Builds HTML in which nothing that data chose can be anything but text."""

from collections.abc import Iterable
from html import escape

#: Elements that hold nothing, in HTML and in the SVG inside it, which wants the slash.
_VOID = frozenset({"meta", "br", "rect", "line", "circle", "path", "col"})
_SHOWN_MAX = 2000


class Safe(str):
    """Markup that is finished; any other text is escaped when it is put in."""

    __slots__ = ()


Child = str | int | float | None | Iterable["Child"]


def element(tag: str, *children: Child, **attributes: str | float | None) -> Safe:
    """Return an element. Names of attributes lose a ``_`` at the end and have ``-`` for ``_``; None leaves one out.

    >>> element("p", "a < b", element("b", "c"), class_="x")
    '<p class="x">a &lt; b<b>c</b></p>'
    >>> element("rect", width=2.5, title=None)
    '<rect width="2.5"/>'
    """
    given = "".join(
        f' {name.rstrip("_").replace("_", "-")}="{_text(value)}"'
        for name, value in attributes.items()
        if value is not None
    )
    if tag in _VOID:
        return Safe(f"<{tag}{given}/>")
    return Safe(f"<{tag}{given}>{join(*children)}</{tag}>")


def join(*children: Child) -> Safe:
    """Return children one after the other; None is nothing.

    >>> join("<", [Safe("<br/>"), None, 3])
    '&lt;<br/>3'
    """
    return Safe("".join(_child(child) for child in children))


def _child(child: Child) -> str:
    if child is None:
        return ""
    if isinstance(child, Safe):
        return child
    if isinstance(child, (str, int, float)):
        return _text(child)
    return "".join(_child(one) for one in child)


def _text(value: str | float) -> str:
    """Return text escaped, without what a terminal, an editor or the direction of letters could be tricked with."""
    shown = f"{value:.4g}" if isinstance(value, float) else str(value)
    printable = (letter if letter.isprintable() or letter == "\n" else "\N{REPLACEMENT CHARACTER}" for letter in shown)
    return escape("".join(printable)[:_SHOWN_MAX], quote=True)
