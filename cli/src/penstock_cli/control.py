"""Gives a command to a TrafficSplit or a DriftPolicy and waits for the operator's answer."""

from collections.abc import Callable

from penstock_cli.cluster import SPLITS, Cluster
from penstock_cli.command import ANNOTATION, Answer, Command, answer_in
from penstock_cli.errors import PluginError
from penstock_cli.wire import Wire, items, part, text

_POLL_SECONDS = 0.2
_LOOK = "kubectl get pods -A -l app.kubernetes.io/name=penstock-operator"


def give(cluster: Cluster, name: str, command: Command, *, plural: str = SPLITS) -> None:
    """Write the command into the object's annotation."""
    cluster.annotate(plural, name, ANNOTATION, command.to_annotation())


def wait_for_answer(
    cluster: Cluster,
    name: str,
    command: Command,
    *,
    timeout_seconds: float,
    clock: Callable[[], float],
    sleep: Callable[[float], None],
    plural: str = SPLITS,
) -> Answer:
    """Return what came of the command.

    Raises:
        PluginError: when there is no answer in time.
    """
    deadline = clock() + timeout_seconds
    while True:
        commanded = cluster.get(plural, name)
        if answer := answer_in(commanded, command):
            return answer
        if clock() >= deadline:
            raise PluginError(f"no answer within {timeout_seconds:g}s; {_why_silent(commanded)}")
        sleep(_POLL_SECONDS)


def _why_silent(commanded: Wire) -> str:
    """A split that may not act takes no command; else nobody is there to take it."""
    what = {"DriftPolicy": "policy"}.get(text(commanded, "kind"), "split")
    for condition in items(part(commanded, "status"), "conditions"):
        if condition.get("type") == "Stalled" and condition.get("status") == "True":
            return f"the {what} may not act: {text(condition, 'reason')}: {text(condition, 'message')}"
    return f"the command stays until the operator sees it; is it running? {_LOOK}"
