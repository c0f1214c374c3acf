"""Gives a command to a TrafficSplit and waits for the operator's answer."""

from collections.abc import Callable

from penstock_cli.cluster import SPLITS, Cluster
from penstock_cli.command import ANNOTATION, Answer, Command, answer_in
from penstock_cli.errors import PluginError
from penstock_cli.wire import Wire, items, part, text

_POLL_SECONDS = 0.2
_LOOK = "kubectl get pods -A -l app.kubernetes.io/name=penstock-operator"


def give(cluster: Cluster, name: str, command: Command) -> None:
    """Write the command into the split's annotation."""
    cluster.annotate(SPLITS, name, ANNOTATION, command.to_annotation())


def wait_for_answer(
    cluster: Cluster,
    name: str,
    command: Command,
    *,
    timeout_seconds: float,
    clock: Callable[[], float],
    sleep: Callable[[float], None],
) -> Answer:
    """Return what came of the command.

    Raises:
        PluginError: when there is no answer in time.
    """
    deadline = clock() + timeout_seconds
    while True:
        split = cluster.get(SPLITS, name)
        if answer := answer_in(split, command):
            return answer
        if clock() >= deadline:
            raise PluginError(f"no answer within {timeout_seconds:g}s; {_why_silent(split)}")
        sleep(_POLL_SECONDS)


def _why_silent(split: Wire) -> str:
    """A split that may not act takes no command; else nobody is there to take it."""
    for condition in items(part(split, "status"), "conditions"):
        if condition.get("type") == "Stalled" and condition.get("status") == "True":
            return f"the split may not act: {text(condition, 'reason')}: {text(condition, 'message')}"
    return f"the command stays until the operator sees it; is it running? {_LOOK}"
