"""How many pods each revision of a ModelDeployment is to have, and who sets that: the operator or an autoscaler."""

from dataclasses import dataclass

from penstock_contract.termination import Reason as Termination
from penstock_operator.core.deployment_state import Observed, RevisionPhase
from penstock_operator.core.objects import Kind, Manifest, ObjectRef
from penstock_operator.core.pod_state import OUT_OF_MEMORY

#: What the content itself is guilty of. The content is pinned by its digest, so trying again cannot help and the
#: pods are taken away. Everything else may be cured from outside (a file uploaded, a Secret made), so one pod stays
#: and the kubelet tries again with its own backoff of up to five minutes.
HOPELESS = frozenset(
    {
        OUT_OF_MEMORY,
        Termination.NOT_ONNX.value,
        Termination.TOO_LARGE.value,
        Termination.UNKNOWN_OPERATOR.value,
        Termination.UNSAFE_EXTERNAL_DATA.value,
        Termination.EXTERNAL_DATA_MISSING.value,
        Termination.EXTERNAL_DATA_UNSUPPORTED.value,
        Termination.LOAD_FAILED.value,
    }
)
#: Phases in which a revision has, or may get, requests.
_WANTED = frozenset({RevisionPhase.SERVING, RevisionPhase.READY, RevisionPhase.PENDING})


@dataclass(frozen=True, slots=True, kw_only=True)
class Scale:
    """The pods of one revision. ``autoscaled``: an autoscaler sets them, and the operator only how few there may be."""

    replicas: int
    least: int
    autoscaled: bool = False


def needed(observed: Observed, name: str, *, stable: str | None) -> int:
    """Return how many ready pods make a revision complete; 0 where none are asked for.

    What is to take all requests at once needs as many as the revision has that it takes them from: an autoscaler sees
    the load only after it has come.
    """
    autoscaling = observed.spec.autoscaling
    if autoscaling is None:
        return observed.spec.replicas
    least = max(autoscaling.min_replicas, observed.usage.least.get(name, 0))
    if observed.traffic is None and stable is not None and stable != name:
        before = observed.revisions.get(stable)
        least = max(least, before.asked if before is not None else 0)
    return min(least, autoscaling.max_replicas)


def scale_of(observed: Observed, name: str, phase: RevisionPhase, reason: str, *, stable: str | None) -> Scale:
    """Return the pods of a revision in a phase."""
    least = needed(observed, name, stable=stable)
    if phase is RevisionPhase.WITHDRAWN:
        return Scale(replicas=0, least=least)
    if phase in _WANTED:
        if observed.spec.autoscaling is None:
            return Scale(replicas=least, least=least)
        view = observed.revisions.get(name)
        # An autoscaler leaves a Deployment alone that asks for none: the first ones are the operator's to ask for.
        return Scale(replicas=(view.asked if view is not None else 0) or least, least=least, autoscaled=True)
    keeps_trying = phase is RevisionPhase.FAILED and reason not in HOPELESS
    return Scale(replicas=min(1, least) if keeps_trying else 0, least=least)


def autoscaler_of(observed: Observed, revision: str) -> Manifest | None:
    """Return the live autoscaler of a revision."""
    ref = ObjectRef(kind=Kind.HORIZONTAL_POD_AUTOSCALER, namespace=observed.namespace, name=revision)
    return observed.children.get(ref)
