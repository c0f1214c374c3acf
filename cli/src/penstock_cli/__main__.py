"""The commands of ``kubectl penstock``."""

import getpass
import json
import secrets
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from enum import StrEnum
from typing import Annotated, NoReturn

import typer

from penstock_cli.cluster import DEPLOYMENTS, GROUP, POLICIES, SPLITS, Cluster, LiveCluster, unknown_name
from penstock_cli.command import Command, Verb
from penstock_cli.errors import PluginError

_WATCH_SECONDS = 1.0
_PIPE_WIDTH = 10_000

app = typer.Typer(
    name="kubectl penstock",
    help="See what Penstock serves and who gets the traffic, and command a rollout.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


class Output(StrEnum):
    """How to print."""

    TREE = "tree"
    JSON = "json"


class ReplayOutput(StrEnum):
    """How to print what a file says."""

    TABLE = "table"
    JSON = "json"


Namespace = Annotated[str | None, typer.Option("-n", "--namespace", help="Default: the context's.")]
Context = Annotated[str | None, typer.Option("--context", help="Context of the kubeconfig. Default: the current one.")]
Kubeconfig = Annotated[str | None, typer.Option("--kubeconfig", help="Default: $KUBECONFIG, then ~/.kube/config.")]
SplitName = Annotated[str, typer.Argument(metavar="NAME", help="Name of the TrafficSplit.")]
Timeout = Annotated[
    float, typer.Option("--timeout", min=0.1, max=600, help="Seconds to wait for the operator's answer.")
]
CandidateName = Annotated[
    str | None,
    typer.Option("--candidate", metavar="CANDIDATE", help="One of several candidates, by its name in spec."),
]
Wait = Annotated[bool, typer.Option("--wait/--no-wait", help="Wait for the operator's answer.")]


def _connect(kubeconfig: str | None, context: str | None, namespace: str | None) -> Cluster:
    return LiveCluster(kubeconfig=kubeconfig, context=context, namespace=namespace)


@contextmanager
def _answering() -> Iterator[None]:
    """Turn what the plugin cannot do into one line on stderr."""
    try:
        yield
    except PluginError as error:
        _fail(str(error))


def _fail(message: str) -> NoReturn:
    print(f"error: {message}", file=sys.stderr)
    raise typer.Exit(1)


@app.command()
def status(
    name: Annotated[
        str | None, typer.Argument(help="A TrafficSplit, ModelDeployment or DriftPolicy. Default: everything.")
    ] = None,
    output: Annotated[Output, typer.Option("-o", "--output", help="How to print.")] = Output.TREE,
    *,
    watch: Annotated[bool, typer.Option("-w", "--watch", help="Go on until ctrl-C.")] = False,
    namespace: Namespace = None,
    context: Context = None,
    kubeconfig: Kubeconfig = None,
) -> None:
    """Show endpoints: revisions, weights, verdicts, and why something is not ready."""
    with _answering():
        cluster = _connect(kubeconfig, context, namespace)
        if watch:
            _watch(lambda: _print_status(cluster, name, output))
        else:
            _print_status(cluster, name, output)


def _print_status(cluster: Cluster, name: str | None, output: Output) -> None:
    from penstock_cli.endpoints import endpoints, named  # noqa: PLC0415 - keeps --help fast
    from penstock_cli.views import World  # noqa: PLC0415

    world = World(
        namespace=cluster.namespace,
        splits=cluster.list(SPLITS),
        deployments=cluster.list(DEPLOYMENTS),
        policies=cluster.list(POLICIES),
    )
    now = datetime.now(UTC)
    views = endpoints(world, now=now)
    if name is not None:
        views = named(name, world, views)
        if not views:
            raise unknown_name(name, "endpoint", world.namespace, list(world.names))
    if output is Output.JSON:
        print(json.dumps([view.to_json() for view in views], indent=2))
        return
    from rich.console import Console  # noqa: PLC0415

    from penstock_cli.tree import draw  # noqa: PLC0415

    # In a pipe nothing is cut or wrapped: one line for each thing, for grep.
    width = None if sys.stdout.isatty() else _PIPE_WIDTH
    Console(highlight=False, width=width).print(draw(views, namespace=world.namespace, now=now))


def _watch(show: Callable[[], None]) -> None:
    """Show again and again; a cluster that is away for a moment does not end it."""
    try:
        while True:
            if sys.stdout.isatty():
                print("\x1b[H\x1b[2J", end="")
            try:
                show()
            except PluginError as error:
                print(f"error: {error}", file=sys.stderr)
            sys.stdout.flush()
            time.sleep(_WATCH_SECONDS)
    except KeyboardInterrupt:
        return


def _command(
    verb: Verb,
    name: str,
    *,
    cluster: Callable[[], Cluster],
    wait: bool,
    timeout: float,
    full: bool = False,
    candidate: str | None = None,
    revision: str | None = None,
    alarm: str | None = None,
    model: str | None = None,
    plural: str = SPLITS,
) -> None:
    """Give a command; exit code 1 when it is refused or not answered."""
    from penstock_cli.control import give, wait_for_answer  # noqa: PLC0415

    with _answering():
        live = cluster()
        live.get(plural, name)  # a wrong name is answered with the right ones
        command = Command(
            verb=verb,
            id=secrets.token_hex(8),
            by=live.who() or getpass.getuser(),
            at=datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z"),
            full=full,
            candidate=candidate,
            revision=revision,
            alarm=alarm,
            model=model,
        )
        give(live, name, command, plural=plural)
        if not wait:
            print(f"{name}: {verb} sent")
            return
        answer = wait_for_answer(
            live, name, command, timeout_seconds=timeout, clock=time.monotonic, sleep=time.sleep, plural=plural
        )
        if answer.refused:
            _fail(f"{name}: {verb}: {answer.outcome}")
        print(f"{name}: {verb}: {answer.outcome}")


@app.command()
def promote(
    name: SplitName,
    *,
    full: Annotated[bool, typer.Option("--full", help="Skip the remaining steps and go to 100% at once.")] = False,
    candidate: CandidateName = None,
    wait: Wait = True,
    timeout: Timeout = 10.0,
    namespace: Namespace = None,
    context: Context = None,
    kubeconfig: Kubeconfig = None,
) -> None:
    """Open the pause at which a rollout waits; make a candidate of an A/B test or a shadow the stable revision."""
    _command(
        Verb.PROMOTE,
        name,
        cluster=lambda: _connect(kubeconfig, context, namespace),
        wait=wait,
        timeout=timeout,
        full=full,
        candidate=candidate,
    )


@app.command()
def abort(
    name: SplitName,
    *,
    candidate: CandidateName = None,
    wait: Wait = True,
    timeout: Timeout = 10.0,
    namespace: Namespace = None,
    context: Context = None,
    kubeconfig: Kubeconfig = None,
) -> None:
    """Take candidates back, which are remembered as rejected; or give up going back to an older revision."""
    _command(
        Verb.ABORT,
        name,
        cluster=lambda: _connect(kubeconfig, context, namespace),
        wait=wait,
        timeout=timeout,
        candidate=candidate,
    )


@app.command()
def rollback(
    name: SplitName,
    *,
    to: Annotated[
        str | None,
        typer.Option("--to", metavar="REVISION", help="Any kept revision. Default: the one before the last promotion."),
    ] = None,
    wait: Wait = True,
    timeout: Timeout = 10.0,
    namespace: Namespace = None,
    context: Context = None,
    kubeconfig: Kubeconfig = None,
) -> None:
    """Go back to an older revision: its pods start first, then all traffic moves. Ends what is on trial."""
    _command(
        Verb.ROLLBACK,
        name,
        cluster=lambda: _connect(kubeconfig, context, namespace),
        wait=wait,
        timeout=timeout,
        revision=to,
    )


@app.command()
def retry(
    name: SplitName,
    revision: Annotated[str | None, typer.Argument(help="Default: the one that was rejected last.")] = None,
    *,
    wait: Wait = True,
    timeout: Timeout = 10.0,
    namespace: Namespace = None,
    context: Context = None,
    kubeconfig: Kubeconfig = None,
) -> None:
    """Forget a rejection, so that the revision is tried again; wait once more for one that has failed to start."""
    _command(
        Verb.RETRY,
        name,
        cluster=lambda: _connect(kubeconfig, context, namespace),
        wait=wait,
        timeout=timeout,
        revision=revision,
    )


@app.command()
def pause(
    name: SplitName,
    *,
    candidate: CandidateName = None,
    wait: Wait = True,
    timeout: Timeout = 10.0,
    namespace: Namespace = None,
    context: Context = None,
    kubeconfig: Kubeconfig = None,
) -> None:
    """Hold a rollout at its present weight. Policies still take a bad candidate back."""
    _command(
        Verb.PAUSE,
        name,
        cluster=lambda: _connect(kubeconfig, context, namespace),
        wait=wait,
        timeout=timeout,
        candidate=candidate,
    )


@app.command()
def resume(
    name: SplitName,
    *,
    candidate: CandidateName = None,
    wait: Wait = True,
    timeout: Timeout = 10.0,
    namespace: Namespace = None,
    context: Context = None,
    kubeconfig: Kubeconfig = None,
) -> None:
    """Let a rollout go on that a person has paused."""
    _command(
        Verb.RESUME,
        name,
        cluster=lambda: _connect(kubeconfig, context, namespace),
        wait=wait,
        timeout=timeout,
        candidate=candidate,
    )


@app.command()
def ack(
    name: Annotated[str, typer.Argument(metavar="NAME", help="Name of the DriftPolicy.")],
    alarm: Annotated[
        str | None, typer.Argument(help="An alarm, such as inputs/amount, or a ModelDeployment. Default: all alarms.")
    ] = None,
    *,
    wait: Wait = True,
    timeout: Timeout = 10.0,
    namespace: Namespace = None,
    context: Context = None,
    kubeconfig: Kubeconfig = None,
) -> None:
    """Say that alarms have been seen: nobody else is told of them, and nothing is trained."""
    _command(
        Verb.ACK,
        name,
        cluster=lambda: _connect(kubeconfig, context, namespace),
        wait=wait,
        timeout=timeout,
        alarm=alarm,
        plural=POLICIES,
    )


@app.command()
def restore(
    name: Annotated[str, typer.Argument(metavar="NAME", help="Name of the DriftPolicy.")],
    model: Annotated[
        str | None, typer.Argument(help="A ModelDeployment, or one of its revisions. Default: all that it has retired.")
    ] = None,
    *,
    wait: Wait = True,
    timeout: Timeout = 10.0,
    namespace: Namespace = None,
    context: Context = None,
    kubeconfig: Kubeconfig = None,
) -> None:
    """Give back the pods of what a policy has retired."""
    _command(
        Verb.RESTORE,
        name,
        cluster=lambda: _connect(kubeconfig, context, namespace),
        wait=wait,
        timeout=timeout,
        model=model,
        plural=POLICIES,
    )


@app.command()
def report(
    name: Annotated[str, typer.Argument(metavar="NAME", help="Name of the DriftPolicy.")],
    output: Annotated[str, typer.Option("-o", "--output", metavar="FILE", help="Where to write it.")] = "report.html",
    *,
    namespace: Namespace = None,
    context: Context = None,
    kubeconfig: Kubeconfig = None,
) -> None:
    """Write what a policy has found as one HTML file: distributions, the ranking of causes, the decision's numbers."""
    from penstock_cli.report import command  # noqa: PLC0415 - keeps --help fast

    with _answering():
        cluster = _connect(kubeconfig, context, namespace)
        for trouble in command.write(cluster, name, output, now=datetime.now(UTC)):
            print(f"note: {trouble}", file=sys.stderr)
    print(f"{name}: wrote {output}")


@app.command()
def replay(
    ticks: Annotated[
        list[str], typer.Option("--ticks", metavar="FILE...", help="Past metrics, a JSON object per line and tick.")
    ],
    more: Annotated[list[str] | None, typer.Argument(metavar="[FILE]...", help="More files of ticks.")] = None,
    *,
    policy: Annotated[str, typer.Option("--policy", metavar="FILE", help="DriftPolicy manifests, as you apply them.")],
    output: Annotated[ReplayOutput, typer.Option("-o", "--output", help="How to print.")] = ReplayOutput.TABLE,
) -> None:
    """Say what policies would have done on past metrics, tick by tick; needs no cluster."""
    from penstock_cli.replay import judging, report  # noqa: PLC0415 - keeps --help fast
    from penstock_cli.replay.policies import read_policies  # noqa: PLC0415
    from penstock_cli.replay.ticks import read_ticks  # noqa: PLC0415

    with _answering():
        policies = read_policies(policy)
        files = [*ticks, *(more or ())]
        replays = [judging.replay(file, read_ticks(file), policies) for file in report.watched(files)]
    if output is ReplayOutput.JSON:
        print(report.as_json(replays))
    else:
        report.print_table(replays)


@app.command()
def drift(
    profile: Annotated[str, typer.Option("--profile", metavar="FILE", help="The reference, made by penstock-profile.")],
    live: Annotated[str, typer.Option("--live", metavar="FILE", help="Rows to compare: .parquet, .csv or .npz.")],
    *,
    model: Annotated[
        str | None, typer.Option("--model", metavar="FILE", help="The ONNX model that answers the rows.")
    ] = None,
    window: Annotated[int, typer.Option("--window", min=2, help="Rows in a window.")],
    false_alarm_every: Annotated[
        float,
        typer.Option(min=1, help="At most one window in so many may have a false alarm; 30 days of 5 minutes."),
    ] = 8640,
    psi_max: Annotated[
        float | None, typer.Option(min=0, help="A drift of less PSI is an alarm but no verdict Fail.")
    ] = None,
    output: Annotated[ReplayOutput, typer.Option("-o", "--output", help="How to print.")] = ReplayOutput.TABLE,
) -> None:
    """Say which columns of a file have drifted from a reference, window by window; needs no cluster."""
    from penstock_cli.drift import command  # noqa: PLC0415 - keeps --help fast

    with _answering():
        files = command.Files(profile=profile, live=live, model=model)
        found = command.run(files, window_rows=window, false_alarm_every=false_alarm_every)
        found.show(as_json=output is ReplayOutput.JSON, psi_max=psi_max)


@app.command()
def version(
    *,
    client: Annotated[bool, typer.Option("--client", help="Ask no cluster.")] = False,
    context: Context = None,
    kubeconfig: Kubeconfig = None,
) -> None:
    """Print the plugin's version and the API that the cluster serves."""
    from importlib import metadata  # noqa: PLC0415

    print(f"kubectl-penstock {metadata.version('penstock')}")
    if client:
        return
    with _answering():
        served = _connect(kubeconfig, context, None).served_versions()
        print(f"{GROUP} {', '.join(served) if served else 'is not served by this cluster: the CRDs are missing'}")


_LEADING = {"-n", "--namespace", "--context", "--kubeconfig"}


def verb_first(arguments: list[str]) -> list[str]:
    """Return the arguments with kubectl's own options behind the verb: people write them in front too.

    >>> verb_first(["-n", "shop", "status", "fraud"])
    ['status', 'fraud', '-n', 'shop']
    """
    rest: list[str] = list(arguments)
    leading: list[str] = []
    while rest and rest[0].partition("=")[0] in _LEADING:
        count = 1 if "=" in rest[0] else 2
        leading, rest = [*leading, *rest[:count]], rest[count:]
    return [*rest, *leading] if rest else leading


def main() -> None:
    """Run the plugin."""
    app(args=verb_first(sys.argv[1:]))


if __name__ == "__main__":
    main()
