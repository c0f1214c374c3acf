"""The commands: ``python3 -m embedded COMMAND``."""

import argparse
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from . import binaries
from .console import say
from .control_plane import ControlPlane
from .errors import ClusterError

INTERRUPTED = 130


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit status."""
    options = _parser().parse_args(arguments)
    run: Callable[[argparse.Namespace], int] = options.run
    try:
        return run(options)
    except ClusterError as error:
        say(f"error: {error}")
        return 1
    except KeyboardInterrupt:
        say("interrupted; the same command goes on from here")
        return INTERRUPTED


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="embedded", description="A Kubernetes on this machine, without Docker.")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    tools = commands.add_parser("tools", help="build the programs and print the folder that holds them")
    tools.add_argument("module", nargs="*", choices=[[], *(module.name for module in binaries.ALL_MODULES)])
    tools.set_defaults(run=_tools)

    control_plane = commands.add_parser("control-plane", help="an API server without nodes, for tests")
    control_plane.add_argument("action", choices=["up", "down"])
    control_plane.add_argument("--dir", type=Path, required=True, help="folder for all of its state")
    control_plane.add_argument("--audit-log", type=Path, help="write one JSON line per API request to this file")
    control_plane.set_defaults(run=_control_plane)
    return parser


def _tools(options: argparse.Namespace) -> int:
    wanted = [module for module in binaries.ALL_MODULES if module.name in options.module]
    print(binaries.ensure(wanted or binaries.CLUSTER_MODULES))
    return 0


def _control_plane(options: argparse.Namespace) -> int:
    control_plane = ControlPlane(options.dir, audit_log=options.audit_log)
    if options.action == "down":
        control_plane.stop()
        return 0
    control_plane.start()
    print(control_plane.kubeconfig)
    return 0


if __name__ == "__main__":
    sys.exit(main())
