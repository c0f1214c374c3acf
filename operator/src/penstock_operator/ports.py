"""The outside world as reconcilers see it, and the errors that it may raise."""

from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol

from penstock_operator.core.audit import AuditEntry
from penstock_operator.core.gateway import Attachment, Parent
from penstock_operator.core.letters import Delivery, Letter
from penstock_operator.core.objects import Kind, Manifest, ObjectRef
from penstock_operator.core.plan import EventRecord
from penstock_operator.core.questions import Answer, Question
from penstock_operator.core.routes import Acknowledgement, RouterPod, RouterSample, SplitRoute
from penstock_operator.core.serving_pods import ServingPod

if TYPE_CHECKING:  # it brings numpy along, for which an operator that watches no traffic has no use
    from penstock_operator.core.drift_sight import Sight


class ClusterUnavailable(Exception):  # noqa: N818
    """The API server could not be reached or asked us to wait; try again later."""

    def __init__(self, message: str, retry_after_seconds: float | None = None) -> None:
        super().__init__(message)
        self.retry_after_seconds = retry_after_seconds


class RequestRejected(Exception):  # noqa: N818
    """The API server refused a request for good: forbidden, invalid, quota, admission. Holds its own words."""

    def __init__(self, message: str, status: int, reason: str) -> None:
        super().__init__(message)
        self.status = status
        self.reason = reason


class NotLeading(Exception):  # noqa: N818
    """This process may not write: its lease is not certain to be its own any more."""


class Cluster(Protocol):
    """The Kubernetes API: reads come from a cache fed by watches, writes go to the server.

    Every write may raise ClusterUnavailable, RequestRejected or NotLeading.
    """

    def get(self, ref: ObjectRef) -> Manifest | None:
        """Return the object as last seen, or None. Never modify what is returned."""

    def list(self, kind: Kind, namespace: str, labels: dict[str, str] | None = None) -> Sequence[Manifest]:
        """Return the objects of a kind in a namespace whose labels contain ``labels``, by name."""

    def owned(self, kind: Kind, namespace: str, uid: str) -> Sequence[Manifest]:
        """Return the objects of a kind in a namespace that name the object of this uid as an owner, by name."""

    async def fetch_live(self, ref: ObjectRef) -> Manifest | None:
        """Return the object from the API server, also one that is not ours and so is not in the cache."""

    async def apply(self, manifest: Manifest) -> Manifest:
        """Server-side apply with force under the operator's field manager; the result is also in the cache."""

    async def write_status(self, ref: ObjectRef, status: dict[str, Any], *, resource_version: str) -> Manifest:
        """Replace the status of one of our kinds, if it still is the object of ``resource_version``.

        Else ClusterUnavailable is raised: a conflict is cured by looking again.
        """

    async def delete(self, ref: ObjectRef, *, uid: str) -> None:
        """Delete in the background if the object still has this uid; absent is fine."""

    def record(self, ref: ObjectRef, event: EventRecord) -> None:
        """Hand an Event about an object to the recorder; never blocks, never raises."""


class Router(Protocol):
    """The built-in router fleet, configured over xDS."""

    def publish(self, namespace: str, routes: Sequence[SplitRoute], pods: Sequence[RouterPod]) -> str:
        """Make ``routes`` the configuration of the namespace's fleet and return its version.

        Deterministic: the same routes give the same version, and publishing them again sends nothing.
        ``pods`` are the routers that must acknowledge it.
        """

    async def acknowledged(
        self, namespace: str, timeout_seconds: float, *, split: str | None = None
    ) -> Acknowledgement:
        """Wait until every pod has acknowledged or rejected what was last published, at most this long.

        With ``split`` only that split counts, so that one that is rejected does not hold up the others.
        """


class RouterStats(Protocol):
    """The counters that routers keep."""

    async def read(self, namespace: str, pods: Sequence[RouterPod]) -> Sequence[RouterSample]:
        """Read all pods at once; a pod that does not answer within a second is absent from the result."""


class GatewayApi(Protocol):
    """The objects of the Gateway API that a split needs; nothing of it is in the cache, or need be in the cluster.

    Every method may raise ClusterUnavailable and RequestRejected, those that write NotLeading too.
    """

    async def route(self, namespace: str, name: str) -> Manifest | None:
        """Return the HTTPRoute of this name, whoever owns it."""

    async def apply(self, manifest: Manifest) -> Manifest:
        """Server-side apply of an HTTPRoute with force; a field that the cluster does not know is RequestRejected.

        So is the whole where the API server has no HTTPRoutes, with status 404.
        """

    async def delete(self, namespace: str, name: str, *, uid: str) -> None:
        """Delete the HTTPRoute if it still has this uid; absent is fine."""

    async def attachment(self, parents: Collection[Parent]) -> Attachment:
        """Return the Gateways of ``parents`` as they were some seconds ago; those that may not be read are left out."""

    async def features(self, gateway_class: str) -> frozenset[str]:
        """Return the features that a GatewayClass publishes; empty where it publishes none or may not be read."""


class ServingPods(Protocol):
    """What serving pods publish about themselves; ``core.serving_pods.ready_serving_pods`` tells which there are."""

    async def get(self, namespace: str, pod: ServingPod, path: str) -> bytes | None:
        """Return what one pod answers to GET, or None where it does not: in time, of bounded size, with status 200."""


class RolloutObserver(Protocol):
    """Counts what rollouts do, for people who watch the operator."""

    def weights_acknowledged(self, seconds: float) -> None:
        """All routers took this long to acknowledge new weights."""


class LetterBox(Protocol):
    """Sends to endpoints that people name, in the background."""

    def hold(self, owner: ObjectRef, letters: Mapping[str, Letter]) -> Mapping[str, Delivery]:
        """Make ``letters`` all that is sent for an owner; return how sending goes, by the same keys. Never blocks."""


class Trainer(Protocol):
    """Begins trainings from CronJobs. Every call may raise ClusterUnavailable, RequestRejected or NotLeading."""

    async def cron_job(self, namespace: str, name: str) -> Manifest | None:
        """Return a CronJob, or None."""

    async def job(self, namespace: str, name: str) -> Manifest | None:
        """Return a Job, or None."""

    async def start(self, job: Manifest, report: Manifest) -> bool:
        """Make a Job after its report; what is there already stays. Return False where the Job is another's."""

    async def said(self, namespace: str, job: str) -> Sequence[str]:
        """Return the termination messages of a Job's containers that ended well, the newest pod's first."""

    async def model_deployment(self, namespace: str, name: str) -> Manifest | None:
        """Return a ModelDeployment with the managers of its fields, or None."""

    async def update(self, model_deployment: Manifest) -> None:
        """Apply fields of a ModelDeployment under a field manager of their own, if it still is as it was seen."""


class ActionObserver(Protocol):
    """Counts what policies do."""

    def alerted(self, namespace: str, policy: str, metric: str) -> None:
        """A policy raised an alert about a metric, or about a class of signals."""

    def acted(self, namespace: str, policy: str, action: str, *, dry_run: bool) -> None:
        """Something has followed from an alarm of a policy."""


class MetricSource(Protocol):
    """A source of numbers that is asked now and then: Prometheus, or a document on the web."""

    async def answer(self, question: Question) -> Answer:
        """Return what the source says now, within a few seconds. Never raises: what goes wrong is an answer too."""


class DriftObserver(Protocol):
    """Shows what live traffic says, for people who watch the operator."""

    def watched(self, policy: ObjectRef, sights: "Sequence[Sight]") -> None:
        """All that a policy knows now; it knows nothing more of what is not in it."""


class AuditLog(Protocol):
    """Keeps who moved traffic, for people who must account for it."""

    def record(self, entry: AuditEntry) -> None:
        """Take one entry; never raises."""


class Clock(Protocol):
    """Wall-clock time, for what is written into status."""

    def now(self) -> float:
        """Return Unix time in seconds."""
