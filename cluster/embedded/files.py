"""Write files whole or not at all."""

from pathlib import Path


def write(path: Path, content: str, *, mode: int = 0o600) -> None:
    """Write ``content`` to ``path``, unless that is what it holds.

    Never seen half written, and an unchanged file is not touched: kube-proxy ends when its configuration is.
    """
    if path.exists() and path.read_text() == content:
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f"{path.name}.partial")
    partial.touch(mode=mode)
    partial.write_text(content)
    partial.rename(path)
