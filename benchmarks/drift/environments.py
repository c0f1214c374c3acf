"""The environments of the tools that are compared, each with nothing but what its requirements name."""

import sysconfig
from collections.abc import Iterable
from pathlib import Path

from cluster.environments import ROOT, python_of

#: The environment of packages that hold data sets.
DATA = "data"
_REQUIREMENTS = Path(__file__).parent / "peers" / "requirements"


def python_for(tool: str) -> Path:
    """Return the Python that has this tool; installed first if it is not there."""
    file = _file(tool)
    requirements: tuple[str, ...] = ("-r", str(file.relative_to(ROOT)))
    if tool == DATA:
        # Nothing of them is run.
        requirements = ("--no-deps", *requirements)
    return python_of(f"drift-{tool.replace('_', '-')}", requirements, also=file.read_text())


def packages_of(tool: str) -> Path:
    """Return where the packages of an environment lie."""
    home = python_for(tool).parents[1]
    return Path(sysconfig.get_path("purelib", vars={"base": str(home), "platbase": str(home)}))


def versions(tools: Iterable[str]) -> dict[str, str]:
    """Return the version of each tool, as its requirements pin it."""
    pinned = {}
    for tool in tools:
        first = _file(tool).read_text(encoding="utf-8").splitlines()[0]
        name, _, version = first.partition("==")
        pinned[name.partition("[")[0]] = version
    return pinned


def _file(tool: str) -> Path:
    return _REQUIREMENTS / f"{tool.replace('_', '-')}.txt"
