"""Tables of a report, and how numbers stand in them."""

from collections.abc import Sequence

from penstock_cli.report.markup import Child, Safe, element

NONE = "-"
_FULL = 100


def table(heads: Sequence[str], rows: Sequence[Sequence[Child]], *, numbers: Sequence[int] = ()) -> Safe:
    """Return a table that scrolls by itself where the screen is narrow; columns ``numbers`` stand right."""

    def cell(tag: str, place: int, child: Child) -> Safe:
        # On a phone each cell is a line of its own, and says itself what it is.
        label = heads[place] if tag == "td" else None
        return element(tag, child, class_="number" if place in numbers else None, data_label=label)

    return element(
        "div",
        element(
            "table",
            element("thead", element("tr", [cell("th", place, head) for place, head in enumerate(heads)])),
            element(
                "tbody",
                [element("tr", [cell("td", place, child) for place, child in enumerate(row)]) for row in rows],
            ),
        ),
        class_="scroll",
    )


def shown(value: float | None) -> str:
    """Return a number as it is read, or a dash."""
    return NONE if value is None else f"{value:.3f}" if abs(value) < _FULL else f"{value:.3g}"
