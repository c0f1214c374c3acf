"""The SVG document around the bars of a benchmark's drawing."""

from collections.abc import Iterable

_STYLE = (
    "text{font:12px sans-serif;fill:#222}.title{font-weight:bold;font-size:14px}.line{text-anchor:end}"
    "svg{background:#fff}"
)


def svg_document(pieces: Iterable[str], *, width: int, height: int) -> str:
    """Return the file with ``pieces`` in it; sizes are in pixels."""
    head = f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" viewBox="0 0 {width} {height}">'
    return "\n".join([head, f"<style>{_STYLE}</style>", *pieces, "</svg>", ""])
