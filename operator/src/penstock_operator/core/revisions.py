"""The revisions of one ModelDeployment as the cluster shows them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from penstock_operator.core import names
from penstock_operator.core.objects import Manifest
from penstock_operator.core.pod_state import Trouble, is_over, ready_pods, trouble_of


@dataclass(frozen=True, slots=True, kw_only=True)
class RevisionView:
    """One revision: its immutable record, and how its pods are."""

    name: str
    number: int
    record: Manifest
    recorded: bool
    """Whether ``record`` is in the cluster; somebody may have deleted it."""
    deployment: Manifest | None
    pods: tuple[Manifest, ...]
    ready: int
    trouble: Trouble | None

    @property
    def asked(self) -> int:
        """Pods that its Deployment asks for; 0 without one."""
        return self.deployment["spec"].get("replicas", 1) if self.deployment else 0

    @property
    def empty(self) -> bool:
        """Whether it asks for no pods and the last one is gone."""
        return self.asked == 0 and all(is_over(pod) for pod in self.pods)

    @property
    def template(self) -> Manifest:
        """The pod template that it was born with."""
        template: Manifest = self.record["data"]["podTemplate"]
        return template


def revision_views(
    records: Sequence[Manifest], deployments: Sequence[Manifest], pods: Sequence[Manifest]
) -> dict[str, RevisionView]:
    """Return the revisions by name, oldest first.

    One whose record somebody deleted is known by its Deployment still, so that it does not lose its traffic.
    """
    by_name: Mapping[str, Manifest] = {deployment["metadata"]["name"]: deployment for deployment in deployments}
    found = {record["metadata"]["name"] for record in records}
    lost = [_lost_record(deployment) for name, deployment in by_name.items() if name not in found]
    views = {}
    for record in sorted([*records, *lost], key=lambda record: (record["revision"], record["metadata"]["name"])):
        name = record["metadata"]["name"]
        own = tuple(pod for pod in pods if pod["metadata"].get("labels", {}).get(names.REVISION) == name)
        views[name] = RevisionView(
            name=name,
            number=record["revision"],
            record=record,
            recorded=name in found,
            deployment=by_name.get(name),
            pods=own,
            ready=ready_pods(own),
            trouble=trouble_of(by_name.get(name), own),
        )
    return views


def _lost_record(deployment: Manifest) -> Manifest:
    """Return what is left to say of a revision; its number is lost, so it counts as the oldest."""
    metadata = {field: deployment["metadata"][field] for field in ("name", "creationTimestamp")}
    return {"metadata": metadata, "revision": 0, "data": {"spec": {}, "podTemplate": deployment["spec"]["template"]}}
