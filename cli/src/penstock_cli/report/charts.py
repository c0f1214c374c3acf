"""Draws what a report shows, as SVG that needs nothing else."""

from collections.abc import Sequence
from dataclasses import dataclass

from penstock_cli.report.findings import Bar
from penstock_cli.report.markup import Child, Safe, element

_WIDTH, _HEIGHT = 320.0, 96.0
_ROW = 22.0
_LABEL_MAX = 28


def histogram(bars: Sequence[Bar], *, name: str) -> Safe:
    """Return the shares of reference (outlined) and live rows (filled) in each bin, side by side by height."""
    if not bars:
        return element("p", "No values to draw.", class_="quiet")
    top = max(max(bar.reference, bar.live) for bar in bars) or 1.0
    step = _WIDTH / len(bars)
    drawn: list[Child] = []
    for place, bar in enumerate(bars):
        left = place * step
        title = element("title", f"{bar.label}: {bar.live:.2%} of live rows, {bar.reference:.2%} of the reference")
        drawn += [
            _rect(left + step * 0.08, bar.live / top, step * 0.84, "live", title),
            _rect(left + step * 0.08, bar.reference / top, step * 0.84, "reference", title),
        ]
    ends = (_short(bars[0].label), _short(bars[-1].label))
    return element(
        "figure",
        element(
            "svg",
            element("title", f"{name}: shares of rows in {len(bars)} bins"),
            *drawn,
            element("line", x1=0, y1=_HEIGHT, x2=_WIDTH, y2=_HEIGHT, class_="axis"),
            viewBox=f"0 0 {_WIDTH:g} {_HEIGHT + 1:g}",
            role="img",
            class_="histogram",
        ),
        element("figcaption", element("span", ends[0]), element("span", ends[1]), class_="ends"),
    )


def _rect(left: float, share: float, width: float, kind: str, title: Safe) -> Safe:
    height = share * (_HEIGHT - 4)
    return element(
        "g",
        element("rect", x=round(left, 2), y=round(_HEIGHT - height, 2), width=round(width, 2), height=round(height, 2)),
        title,
        class_=kind,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Ranked:
    """One line of a ranking."""

    label: str
    value: float
    text: str


def ranking(lines: Sequence[Ranked], *, name: str, full: float) -> Safe:
    """Return horizontal bars as they come, negative values to the left of the middle.

    A bar is at its full length from ``full`` on: where all values are small, so are the bars.
    """
    top = max([full, *(abs(line.value) for line in lines)])
    return element(
        "ol",
        [
            element(
                "li",
                element("span", line.label, class_="name"),
                element(
                    "svg",
                    element("title", f"{line.label}: {line.text}"),
                    element("line", x1=100, y1=0, x2=100, y2=_ROW, class_="axis"),
                    element(
                        "rect",
                        x=round(100 + min(0.0, line.value / top) * 98, 2),
                        y=4,
                        width=round(abs(line.value / top) * 98, 2),
                        height=_ROW - 8,
                        class_="bar",
                    ),
                    viewBox=f"0 0 200 {_ROW:g}",
                    role="img",
                    preserveAspectRatio="none",
                ),
                element("span", line.text, class_="number"),
            )
            for line in lines
        ],
        class_="ranking",
        aria_label=name,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Moment:
    """Something that happened, at Unix seconds; ``until`` where it lasted."""

    at: float
    label: str
    kind: str
    until: float | None = None


def time_line(moments: Sequence[Moment], *, until: float) -> Safe:
    """Return what happened when, one line for each, over the time from the first to ``until``."""
    if not moments:
        return element("p", "Nothing has happened yet.", class_="quiet")
    begin = min(moment.at for moment in moments)
    span = max(until - begin, 1.0)

    def place(at: float) -> float:
        return round(4 + (min(max(at, begin), until) - begin) / span * (_WIDTH - 8), 2)

    lines = [
        element(
            "li",
            element("span", moment.label, class_="name"),
            element(
                "svg",
                element("title", moment.label),
                element("line", x1=0, y1=7, x2=_WIDTH, y2=7, class_="axis"),
                None
                if moment.until is None
                else element("line", x1=place(moment.at), y1=7, x2=place(moment.until), y2=7, class_="lasting"),
                # A line of no length with round ends stays a dot, however wide the drawing is stretched.
                element("line", x1=place(moment.at), y1=7, x2=place(moment.at), y2=7, class_="moment"),
                viewBox=f"0 0 {_WIDTH:g} 14",
                role="img",
                preserveAspectRatio="none",
                class_=moment.kind,
            ),
        )
        for moment in moments
    ]
    return element("ul", lines, class_="moments")


def _short(text: str) -> str:
    return text if len(text) <= _LABEL_MAX else text[: _LABEL_MAX - 1] + "…"
