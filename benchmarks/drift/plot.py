"""The comparison as one SVG: rows until a change is named, for each change a panel, beside false alarms."""

from collections.abc import Iterator, Sequence
from html import escape
from math import log10
from typing import Any

from benchmarks.drawing import svg_document
from benchmarks.drift import streams

_WIDTH, _LABEL, _BAR, _GAP, _HEAD, _ROOM = 860, 230, 14, 4, 30, 190
_OURS, _OTHERS, _LIMIT = "#0b6e99", "#b9b9b9", "#c0392b"
#: Bars of false alarms are on a scale of orders of magnitude: from one in 5,000,000 rows on.
_LEAST, _DECADES = 0.1, 5
Document = dict[str, Any]


def svg(document: Document) -> str:
    """Return the drawing."""
    pieces: list[str] = []
    top = 10
    alarms = [one for one in document["falseAlarms"] if one["every"] != 50]
    panels = [("no drift: alarms in 500,000 rows (each step ten times as many; red: one)", alarms, _alarm)]
    for scenario in streams.SCENARIOS:
        cells = [one for one in document["delays"] if one["scenario"] == scenario.name]
        if cells:
            panels.append((f"{scenario.name}: rows until the column is named, of {streams.AFTER_ROWS}", cells, _delay))
    for title, cells, bar in panels:
        pieces += _panel(title, cells, bar, top)
        top += _HEAD + len(cells) * (_BAR + _GAP) + 12
    return svg_document(pieces, width=_WIDTH, height=top)


def _panel(title: str, cells: Sequence[Document], bar: Any, top: int) -> Iterator[str]:
    yield f'<text x="0" y="{top + 16}" class="title">{escape(title)}</text>'
    top += _HEAD
    scale = _WIDTH - _LABEL - _ROOM
    if bar is _alarm:
        x = _LABEL + scale * log10(1 / _LEAST) / _DECADES
        yield (f'<line x1="{x:.1f}" x2="{x:.1f}" y1="{top - 2}" y2="{top + len(cells) * (_BAR + _GAP)}" '
               f'stroke="{_LIMIT}"/>')  # fmt: skip
    for one in cells:
        part, said = bar(one)
        width, middle = max(1.0, part * scale), top + _BAR - 3
        colour = _OURS if one["contender"].startswith("Penstock") else _OTHERS
        name = f"{one['contender']}, {one['size']}"
        yield f'<text x="{_LABEL - 8}" y="{middle}" class="line">{escape(name)}</text>'
        yield f'<rect x="{_LABEL}" y="{top}" width="{width:.1f}" height="{_BAR}" fill="{colour}"/>'
        yield f'<text x="{_LABEL + width + 6:.1f}" y="{middle}">{escape(said)}</text>'
        top += _BAR + _GAP


def _alarm(one: Document) -> tuple[float, str]:
    rate = one["per500000Rows"]
    part = max(0.0, log10(max(rate, _LEAST) / _LEAST)) / _DECADES
    said = f"{rate:,.0f}" if rate else f"none in {one['windows'] * one['size']:,} rows"
    return min(part, 1.0), said


def _delay(one: Document) -> tuple[float, str]:
    rows = one["medianRows"]
    if rows is None:
        return 1.0, f"never; {one['found']:.0%} found" if one["found"] else "never"
    return rows / streams.AFTER_ROWS, f"{rows:,}" if one["found"] == 1 else f"{rows:,}; {one['found']:.0%} found"
