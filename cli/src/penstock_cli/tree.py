"""Draws endpoints as a tree for a terminal."""

from collections.abc import Sequence
from datetime import datetime

from rich.console import Group, RenderableType
from rich.text import Text
from rich.tree import Tree

from penstock_cli.spans import instant, short
from penstock_cli.views import CandidateView, EndpointView, FindingView, Readiness, RevisionView

_GOOD = frozenset({"Pass", "True", "Promoted", "Serving", "Ready", "Idle"})
_BAD = frozenset({"Fail", "Error", "False", "RolledBack", "Aborted", "Failed", "Rejected", "Stalled", "Lost"})
_HISTORY_SHOWN = 3


def draw(views: Sequence[EndpointView], *, namespace: str, now: datetime) -> RenderableType:
    """Return one tree for each endpoint."""
    if not views:
        return Text(
            f"Nothing of Penstock in namespace {namespace}. Serve a model: kubectl apply -f modeldeployment.yaml"
        )
    return Group(*(_endpoint(view, now=now) for view in views))


def _styled(word: str) -> Text:
    if word in _GOOD:
        return Text(word, style="green")
    return Text(word, style="red" if word in _BAD else "yellow")


def _endpoint(view: EndpointView, *, now: datetime) -> Tree:
    state = _styled(view.state)
    tree = Tree(Text.assemble((view.name, "bold"), "  ", state, ("  namespace ", "dim"), (view.namespace, "dim")))
    tree.add(Text.assemble("endpoint  ", view.url or "none yet"))
    if view.rollout is not None:
        _add_rollout(tree, view)
    revisions = tree.add(f"revisions of {view.model_deployment}")
    for revision in view.revisions:
        _add_revision(revisions, revision)
    if not view.revisions:
        revisions.add(Text("none", style="dim"))
    for finding in _sorted_policies(view):
        tree.add(finding)
    _add_readiness(tree, view.readiness)
    _add_past(tree, view, now=now)
    return tree


def _add_rollout(tree: Tree, view: EndpointView) -> None:
    rollout = view.rollout
    assert rollout is not None
    line = Text.assemble("split  ", _styled(rollout.phase))
    if len(rollout.candidates) == 1:
        line.append(_place(rollout.candidates[0]))
    node = tree.add(line)
    if len(rollout.candidates) > 1:
        for candidate in rollout.candidates:
            words = Text.assemble((candidate.name, "bold"), f"  {candidate.revision}  ", _styled(candidate.phase))
            node.add(words.append(_place(candidate)))


def _place(candidate: CandidateView) -> str:
    words = f"  step {candidate.step} of {candidate.steps}"
    return f"{words}: {candidate.doing}" if candidate.doing else words


def _add_revision(tree: Tree, revision: RevisionView) -> None:
    line = Text.assemble(
        f"{revision.weight:>3}%  ",
        (revision.name, "bold"),
        f"  {revision.role}",
        f"  {revision.ready}/{revision.wanted} pods ready",
    )
    if revision.version:
        line.append(f"  model {revision.version}")
    if revision.phase:
        line.append("  ").append_text(_styled(revision.phase))
    node = tree.add(line)
    if revision.message and (revision.phase in _BAD or revision.ready < revision.wanted or revision.role == "rejected"):
        node.add(Text(f"{revision.reason}: {revision.message}"))


def _sorted_policies(view: EndpointView) -> list[RenderableType]:
    """One branch for each policy, with its metrics below, worst first; of several candidates each says of whom."""
    branches: dict[str, Tree] = {}
    several = len({finding.revision for finding in view.findings}) > 1
    for finding in view.findings:
        branch = branches.setdefault(finding.policy, Tree(f"policy {finding.policy}"))
        of = f" of {finding.revision}" if several else ""
        dry = " (dry run)" if finding.dry_run else ""
        branch.add(Text.assemble(f"{finding.metric}{of}  ", _styled(finding.verdict), f"{dry}  {_numbers(finding)}"))
    return list(branches.values())


def _numbers(finding: FindingView) -> str:
    if finding.message:
        return finding.message
    if finding.evidence is None or finding.limit is None:
        return ""
    return f"evidence {finding.evidence:.3g} of {finding.limit:.3g}"


def _add_readiness(tree: Tree, readiness: Sequence[Readiness]) -> None:
    """Say why it is not ready; and what a ready part has to say."""
    for entry in readiness:
        line = Text.assemble(f"{entry.kind} {entry.name}  Ready=", _styled(entry.status))
        line.append(f"  {entry.reason}: {entry.message}")
        if not entry.current:
            line.append("  (of an earlier spec; the operator has not acted on the last change yet)", style="yellow")
        tree.add(line)


def _add_past(tree: Tree, view: EndpointView, *, now: datetime) -> None:
    if view.last_command is not None:
        last = view.last_command
        tree.add(f"last command  {last.verb} by {last.by}{_ago(last.at, now)}: {last.outcome}")
    if view.history:
        past = tree.add("history")
        for entry in view.history[:_HISTORY_SHOWN]:
            words = Text.assemble(entry.revision, "  ", _styled(entry.outcome), f" by {entry.by}")
            past.add(words.append(f"{_ago(entry.finished_at, now)}: {entry.message}"))


def _ago(timestamp: str, now: datetime) -> str:
    if not timestamp:
        return ""
    return f" {short(now - instant(timestamp))} ago"
