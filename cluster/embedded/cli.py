"""The commands: ``python3 -m embedded COMMAND``."""

import argparse
import os
import shlex
import shutil
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from . import binaries, images
from .cluster import Cluster, purge_cache
from .console import say
from .control_plane import ControlPlane
from .errors import ClusterError
from .layout import Layout
from .packages import SEARCH_PATH
from .paths import cache_dir, state_dir

INTERRUPTED = 130


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit status."""
    options = _parser().parse_args(arguments)
    os.environ["PATH"] = SEARCH_PATH
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

    up = commands.add_parser("up", help="bring up the whole cluster and print its kubeconfig")
    up.set_defaults(run=_up)

    down = commands.add_parser("down", help="stop it and remove every trace")
    down.add_argument("--purge-cache", action="store_true", help="delete the built programs and images too")
    down.set_defaults(run=_down)

    status = commands.add_parser("status", help="say what runs")
    status.set_defaults(run=_status)

    environment = commands.add_parser("env", help='print what a shell needs: eval "$(python3 -m embedded env)"')
    environment.set_defaults(run=_env)

    logs = commands.add_parser("logs", help="print the log of one component")
    logs.add_argument("component")
    logs.set_defaults(run=_logs)

    built = commands.add_parser("images", help="build the project's images and import them; prints NAME KEY")
    built.add_argument("image", nargs="*", choices=[[], *(image.name for image in images.IMAGES)])
    built.add_argument("--engine", choices=["embedded", "docker"], default="embedded", help="docker: loads into kind")
    built.set_defaults(run=_images)

    tools = commands.add_parser("tools", help="build the programs and print the folder that holds them")
    tools.add_argument("module", nargs="*", choices=[[], *(module.name for module in binaries.ALL_MODULES)])
    tools.set_defaults(run=_tools)

    gateway = commands.add_parser("gateway", help="install Envoy Gateway, which runs HTTPRoutes, in the cluster")
    gateway.set_defaults(run=_gateway)

    control_plane = commands.add_parser("control-plane", help="an API server without nodes, for tests")
    control_plane.add_argument("action", choices=["up", "down"])
    control_plane.add_argument("--dir", type=Path, required=True, help="folder for all of its state")
    control_plane.add_argument("--audit-log", type=Path, help="write one JSON line per API request to this file")
    control_plane.set_defaults(run=_control_plane)
    return parser


def _cluster() -> Cluster:
    return Cluster(Layout(state=state_dir()))


def _up(_options: argparse.Namespace) -> int:
    cluster = _cluster()
    cluster.up()
    print(cluster.layout.kubeconfig)
    return 0


def _down(options: argparse.Namespace) -> int:
    _cluster().down()
    if options.purge_cache:
        purge_cache(cache_dir())
    return 0


def _status(_options: argparse.Namespace) -> int:
    cluster = _cluster()
    for name, state in cluster.status():
        print(f"{name:<26}{state}")
    return 0 if cluster.is_healthy() else 1


def _env(_options: argparse.Namespace) -> int:
    print(f"export KUBECONFIG={shlex.quote(str(_cluster().layout.kubeconfig))}")
    print(f"export PATH={shlex.quote(str(binaries.bin_dir()))}:$PATH")
    return 0


def _logs(options: argparse.Namespace) -> int:
    run_dir = _cluster().layout.run
    known = sorted(path.stem for path in run_dir.glob("*.log"))
    if options.component not in known:
        raise ClusterError(f"no log of {options.component!r}; there are: {', '.join(known) or 'none, run `up` first'}")
    with (run_dir / f"{options.component}.log").open("rb") as log:
        shutil.copyfileobj(log, sys.stdout.buffer)
    return 0


def _images(options: argparse.Namespace) -> int:
    wanted = [image for image in images.IMAGES if image.name in options.image] or images.IMAGES
    uses_docker = options.engine == "docker"
    keys = images.load_into_kind(wanted) if uses_docker else _cluster().import_images(wanted)
    for name, key in keys.items():
        print(f"penstock/{name} {key}")
    return 0


def _tools(options: argparse.Namespace) -> int:
    wanted = [module for module in binaries.ALL_MODULES if module.name in options.module]
    print(binaries.ensure(wanted or binaries.CLUSTER_MODULES))
    return 0


def _gateway(_options: argparse.Namespace) -> int:
    _cluster().install_gateway()
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
