"""The results as one SVG: bars of requests per second, a panel for each workload."""

from collections.abc import Iterator
from html import escape

from benchmarks.serving.results import Results
from benchmarks.serving.workloads import says

_WIDTH, _LABEL, _BAR, _GAP, _HEAD = 860, 190, 16, 5, 34
_VALUE_ROOM = 190
_OURS, _BARE, _OTHERS = "#0b6e99", "#555555", "#b9b9b9"


def svg(results: Results) -> str:
    """Return the drawing. Bars of one panel share a scale; text keeps its colour on dark and light pages."""
    pieces: list[str] = []
    top = 10
    for title, bars in _panels(results):
        pieces.append(f'<text x="0" y="{top + 18}" class="title">{escape(title)}</text>')
        top += _HEAD
        longest = max(rate for _, rate, _ in bars)
        for line, rate, p99 in bars:
            width = max(1.0, rate / longest * (_WIDTH - _LABEL - _VALUE_ROOM))
            middle = top + _BAR - 4
            pieces.append(f'<text x="{_LABEL - 8}" y="{middle}" class="line">{escape(line)}</text>')
            pieces.append(f'<rect x="{_LABEL}" y="{top}" width="{width:.1f}" height="{_BAR}" fill="{_colour(line)}"/>')
            said = f"{rate:,.0f}/s, p99 {p99:.3g} ms"
            pieces.append(f'<text x="{_LABEL + width + 6:.1f}" y="{middle}">{said}</text>')
            top += _BAR + _GAP
        top += 14
    style = (
        "text{font:12px sans-serif;fill:#222}.title{font-weight:bold;font-size:14px}.line{text-anchor:end}"
        "svg{background:#fff}"
    )
    head = f'<svg xmlns="http://www.w3.org/2000/svg" width="{_WIDTH}" height="{top}" viewBox="0 0 {_WIDTH} {top}">'
    return "\n".join([head, f"<style>{style}</style>", *pieces, "</svg>", ""])


def _panels(results: Results) -> Iterator[tuple[str, list[tuple[str, float, float]]]]:
    panels = dict.fromkeys((cell.workload, cell.connections) for cell in results.cells)
    for workload, connections in panels:
        bars = [
            (cell.line, found.median.requests_per_second, found.median.p99_ms)
            for cell, found in results.cells.items()
            if (cell.workload, cell.connections) == (workload, connections)
        ]
        title = f"{says(workload)}, {connections} connection{'s' if connections > 1 else ''}"
        yield title, sorted(bars, key=lambda bar: -bar[1])


def _colour(line: str) -> str:
    if line.startswith("penstock"):
        return _OURS
    return _BARE if line == "bare" else _OTHERS
