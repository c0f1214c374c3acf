"""``kubectl penstock report``: gathers, lays out, writes."""

from datetime import datetime
from pathlib import Path

from penstock_cli.cluster import Cluster
from penstock_cli.errors import PluginError
from penstock_cli.report.gathering import gather
from penstock_cli.report.page import page


def write(cluster: Cluster, name: str, output: str, *, now: datetime) -> list[str]:
    """Write the report of a policy; return what could not be read. Raises PluginError."""
    gathered = gather(cluster, name)
    try:
        Path(output).write_text(page(gathered, now=now), encoding="utf-8")
    except OSError as error:
        raise PluginError(f"{output}: {error.strerror}") from error
    return [trouble for live in gathered.lives for trouble in live.trouble]
