"""The revisions of one ModelDeployment as the cluster shows them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from penstock_operator.core import names
from penstock_operator.core.objects import Manifest
from penstock_operator.core.pod_state import Trouble, ready_pods, trouble_of


@dataclass(frozen=True, slots=True, kw_only=True)
class RevisionView:
    """One revision: its immutable record, and how its pods are."""

    name: str
    number: int
    record: Manifest
    deployment: Manifest | None
    pods: tuple[Manifest, ...]
    ready: int
    trouble: Trouble | None

    @property
    def asked(self) -> int:
        """Pods that its Deployment asks for; 0 without one."""
        return self.deployment["spec"].get("replicas", 1) if self.deployment else 0

    @property
    def template(self) -> Manifest:
        """The pod template that it was born with."""
        template: Manifest = self.record["data"]["podTemplate"]
        return template


def revision_views(
    records: Sequence[Manifest], deployments: Sequence[Manifest], pods: Sequence[Manifest]
) -> dict[str, RevisionView]:
    """Return the revisions by name, oldest first."""
    by_name: Mapping[str, Manifest] = {deployment["metadata"]["name"]: deployment for deployment in deployments}
    views = {}
    for record in sorted(records, key=lambda record: (record["revision"], record["metadata"]["name"])):
        name = record["metadata"]["name"]
        own = tuple(pod for pod in pods if pod["metadata"].get("labels", {}).get(names.REVISION) == name)
        views[name] = RevisionView(
            name=name,
            number=record["revision"],
            record=record,
            deployment=by_name.get(name),
            pods=own,
            ready=ready_pods(own),
            trouble=trouble_of(by_name.get(name), own),
        )
    return views
