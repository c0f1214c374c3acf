"""The comparison as one SVG: false alarms on the left, the delay until a bad candidate is found on the right."""

from collections.abc import Iterator, Sequence
from html import escape

from benchmarks.drawing import svg_document
from benchmarks.judge.results import Cell
from benchmarks.judge.streams import TICKS

_WIDTH, _LABEL, _BAR, _GAP, _HEAD = 860, 190, 14, 4, 30
_ROOM = 150
_OURS, _OTHERS, _LIMIT = "#0b6e99", "#b9b9b9", "#c0392b"


def svg(cells: Sequence[Cell]) -> str:
    """Return the drawing: bars of healthy rollouts taken back, and of ticks until half of the bad ones are."""
    pieces: list[str] = []
    top = 10
    for scenario in dict.fromkeys(one.scenario for one in cells):
        panel = [one for one in cells if one.scenario == scenario]
        pieces += _panel(scenario, panel, top)
        top += _HEAD + len(panel) * (_BAR + _GAP) + 12
    return svg_document(pieces, width=_WIDTH, height=top)


def _panel(scenario: str, cells: Sequence[Cell], top: int) -> Iterator[str]:
    healthy = cells[0].healthy
    kind = "healthy rollouts taken back" if healthy else f"ticks until half are taken back, of {TICKS}"
    yield f'<text x="0" y="{top + 16}" class="title">{escape(f"{scenario}: {kind}")}</text>'
    top += _HEAD
    scale = _WIDTH - _LABEL - _ROOM
    if healthy:
        x = _LABEL + 0.05 * scale
        height = len(cells) * (_BAR + _GAP)
        yield f'<line x1="{x:.1f}" x2="{x:.1f}" y1="{top - 2}" y2="{top + height}" stroke="{_LIMIT}"/>'
    for one in cells:
        part = one.failed if healthy else (TICKS if one.median is None else one.median) / TICKS
        said = f"{one.failed:.1%}" if healthy else _delay(one)
        middle = top + _BAR - 3
        width = max(1.0, part * scale)
        colour = _OURS if one.rule.startswith("Penstock") else _OTHERS
        yield f'<text x="{_LABEL - 8}" y="{middle}" class="line">{escape(one.rule)}</text>'
        yield f'<rect x="{_LABEL}" y="{top}" width="{width:.1f}" height="{_BAR}" fill="{colour}"/>'
        yield f'<text x="{_LABEL + width + 6:.1f}" y="{middle}">{escape(said)}</text>'
        top += _BAR + _GAP


def _delay(one: Cell) -> str:
    return f"never; {one.failed:.0%} found" if one.median is None else f"{one.median:.0f}; {one.failed:.0%} found"
